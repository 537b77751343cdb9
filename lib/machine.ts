import { cpus, type as systemName, release } from 'node:os';
import { arch, versions } from 'node:process';
import { defaultDevice, type Device, deviceInfo, hostMemory, matmulPrecision, type MatmulPrecision } from './device';

/** A CUDA device, as a report names it. */
export interface Gpu {
  name: string;
  computeCapability: string;
  memoryBytes: number;
  /** The file of cuBLAS. */
  cublas: string;
  /** Of matrix products. */
  precision: MatmulPrecision;
}

/** What a measurement was taken on. */
export interface Machine {
  processor: string;
  /** Hardware threads of the machine. */
  cores: number;
  /** Threads that the operators use. */
  threads: number;
  /** Instruction set of our own loops; oneDNN picks its own. */
  instructionSet: string;
  memoryBytes: number;
  system: string;
  node: string;
  onednn: string;
  /** What the operators ran on, where that is not the processor. */
  gpu?: Gpu;
}

/** This machine, as reports name it, with the GPU where `device` is one. */
export function describeMachine(device: Device = defaultDevice()): Machine {
  const { onednn, isa, threads } = deviceInfo();
  return {
    processor: processorName(),
    cores: cpus().length,
    threads,
    instructionSet: isa.replace('isa_', ''),
    memoryBytes: hostMemory(),
    system: `${systemName()} ${release()} ${arch}`,
    node: versions.node,
    onednn: onednn.replace('oneDNN ', ''),
    ...(device === 'cuda' ? { gpu: describeGpu() } : {}),
  };
}

function describeGpu(): Gpu {
  const { name, computeCapability, memoryBytes, cublas } = deviceInfo().cuda;
  const unknown = 'unknown';
  return {
    name: name ?? unknown,
    computeCapability: computeCapability ?? unknown,
    memoryBytes,
    cublas: cublas ?? unknown,
    precision: matmulPrecision(),
  };
}

/** What computes in one line: "NVIDIA H100, tf32 products" or "AMD EPYC, 2 threads, avx2, oneDNN 2.6.3". */
export function machineLine({ processor, threads, instructionSet, onednn, gpu }: Machine): string {
  if (gpu) return `${gpu.name}, ${gpu.precision} products`;
  return `${processor}, ${threads} ${threads === 1 ? 'thread' : 'threads'}, ${instructionSet}, oneDNN ${onednn}`;
}

function processorName(): string {
  return cpus()[0]?.model.trim() ?? 'unknown processor';
}
