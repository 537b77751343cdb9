import { fork } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { DeviceError } from '../errors';
import type { ConvolutionShape } from './layerShapes';
import type { BenchmarkOperator } from './measure';
import type { BenchmarkNetwork } from './networks';

/** Memory of a process that did one thing, as the system counts it. */
export interface Resident {
  /** Most that was resident while it ran. */
  residentBytes: number;
  /** What was resident before it had any operands: the language's runtime and the libraries. */
  residentBaseBytes: number;
}

/** One contender of ours, for a process of its own on the cpu. */
export type ResidentTask =
  | { kind: 'convolution'; shape: ConvolutionShape; batchSize: number; operator: BenchmarkOperator }
  | { kind: 'step'; network: BenchmarkNetwork; batchSize: number; operator: BenchmarkOperator };

/** How often a contender runs before its memory is read. */
export const residentRuns = 3;

/**
 * The memory that a contender of ours takes by itself; null where the system does not tell.
 * @throws {DeviceError} when the process fails, saying how.
 */
export function residentMemory(task: ResidentTask): Promise<Resident | null> {
  if (ownMemory('VmHWM') === null) return Promise.resolve(null);
  const child = fork(join(__dirname, `residentProcess${extname(__filename)}`), {
    execArgv: [...process.execArgv, '--expose-gc'],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  return new Promise((settle, reject) => {
    let [complaint, result] = ['', null as Resident | null];
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (complaint += text));
    child.on('message', (message) => { result = message as Resident; });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (result) settle(result);
      else reject(new DeviceError('memory', `the process that measures memory ended by ${signal ?? `exit code ${code}`}: ${complaint.trim().split('\n')[0]}`));
    });
    child.send(task);
  });
}

/** Bytes resident in this process: now (`VmRSS`), or at most so far (`VmHWM`); null where there is no /proc. */
export function ownMemory(name: 'VmRSS' | 'VmHWM'): number | null {
  try {
    const line = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(readFileSync('/proc/self/status', 'utf8'));
    return line && Number(line[1]) * 1024;
  } catch {
    return null;
  }
}

/** Lets `VmHWM` begin anew, at what is resident now. Where that is not allowed, it is of the whole life of the process. */
export function resetOwnPeak(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    // Nothing to be done about it.
  }
}
