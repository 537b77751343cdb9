import { cpus, totalmem, type as systemName, release } from 'node:os';
import { arch, constrainedMemory, versions } from 'node:process';
import { deviceInfo } from '../device';

/** What a measurement was taken on. */
export interface Machine {
  processor: string;
  /** Hardware threads that this process may use. */
  cores: number;
  /** Threads that the operators use. */
  threads: number;
  /** Instruction set of our own loops; oneDNN picks its own. */
  instructionSet: string;
  memoryBytes: number;
  system: string;
  node: string;
  onednn: string;
}

/** This machine, as reports name it. */
export function describeMachine(): Machine {
  const { onednn, isa, threads } = deviceInfo();
  return {
    processor: processorName(),
    cores: cpus().length,
    threads,
    instructionSet: isa.replace('isa_', ''),
    memoryBytes: usableMemory(),
    system: `${systemName()} ${release()} ${arch}`,
    node: versions.node,
    onednn: onednn.replace('oneDNN ', ''),
  };
}

/** The machine in one line: "AMD EPYC, 2 threads, avx2, oneDNN 2.6.3". */
export function machineLine({ processor, threads, instructionSet, onednn }: Machine): string {
  return `${processor}, ${threads} ${threads === 1 ? 'thread' : 'threads'}, ${instructionSet}, oneDNN ${onednn}`;
}

function processorName(): string {
  return cpus()[0]?.model.trim() ?? 'unknown processor';
}

/** The container's limit where there is one below the machine's memory. */
function usableMemory(): number {
  return Math.min(totalmem(), constrainedMemory());
}
