import { availableMemory, env } from 'node:process';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import nodeGypBuild from 'node-gyp-build';
import type { NativeCudaInfo } from '../../typings/native';
import { deviceInfo } from '../device';
import { describeMachine, type Machine } from '../machine';
import { type ThreadLimit, usableProcessors } from '../processors';
import { formatBytes } from '../report/format';
import { jsonOption } from './options';
import { printResult } from './output';

type DeviceState = 'available' | 'detected but unusable' | 'not there';

interface Diagnosis extends Machine {
  /** The file that was loaded. */
  addon: string;
  ompNumThreads: string | null;
  /** What set the number of threads: null where each of the machine's processors has one. */
  threadsLimitedBy: ThreadLimit | null;
  /** Processors that affinity mask and cgroup quota leave this process. */
  usableProcessors: number;
  availableMemoryBytes: number;
  devices: { name: string; state: DeviceState; detail: string }[];
  /** All that is known of CUDA. */
  cuda: NativeCudaInfo;
}

export function define(command: Command): void {
  command
    .addOption(jsonOption())
    .addHelpText('after', '\nExamples:\n  $ spherenet doctor\n  $ OMP_NUM_THREADS=1 spherenet doctor --json')
    .action(({ json }: { json?: boolean }) => {
      printResult(diagnose(), json, asText);
    });
}

function diagnose(): Diagnosis {
  const machine = describeMachine('cpu');
  const { cuda, threadsLimitedBy } = deviceInfo();
  return {
    ...machine,
    addon: addonPath(),
    ompNumThreads: env['OMP_NUM_THREADS'] ?? null,
    threadsLimitedBy,
    usableProcessors: usableProcessors().count,
    availableMemoryBytes: availableMemory(),
    devices: [
      { name: 'cpu', state: 'available', detail: `${machine.processor}, ${machine.instructionSet}` },
      { name: 'cuda', state: stateOf(cuda), detail: cuda.available ? gpuText(cuda) : cuda.reason },
    ],
    cuda,
  };
}

function stateOf({ available, driver }: NativeCudaInfo): DeviceState {
  if (available) return 'available';
  return driver ? 'detected but unusable' : 'not there';
}

function gpuText({ name, computeCapability, memoryBytes, cublas, library, emulated, reason }: NativeCudaInfo): string {
  if (emulated) return reason;
  const memory = formatBytes(memoryBytes);
  return `${name ?? reason}, compute capability ${computeCapability ?? 'unknown'}, ${memory}, ${library ?? 'unknown libraries'} (${cublas ?? 'no cuBLAS'})`;
}

/** Where the loader of the addon has found it, from `lib/` and from `dist/` alike. */
function addonPath(): string {
  const { resolve: find } = nodeGypBuild as unknown as { resolve: (root: string) => string };
  return find(resolve(__dirname, '..', '..'));
}

function asText(diagnosis: Diagnosis): string {
  const free = formatBytes(diagnosis.availableMemoryBytes);
  return [
    'Devices',
    ...diagnosis.devices.map(({ name, state, detail }) => field(name, `${state}${state === 'detected but unusable' ? ', because' : ':'} ${detail}`)),
    '',
    'Processor',
    field('model', diagnosis.processor),
    field('instruction set', `${diagnosis.instructionSet} (our kernels; oneDNN picks its own)`),
    field('threads', threadsText(diagnosis)),
    field('memory', `${free} free of ${formatBytes(diagnosis.memoryBytes)}`),
    '',
    'Software',
    field('oneDNN', diagnosis.onednn),
    field('Node', diagnosis.node),
    field('system', diagnosis.system),
    field('addon', diagnosis.addon),
  ].join('\n');
}

function threadsText({ threads, cores, ompNumThreads, threadsLimitedBy: limit, usableProcessors: usable }: Diagnosis): string {
  if (limit !== 'OMP_NUM_THREADS') return `${threads} of ${cores} (${limit ? `limited by the ${limit}; ` : ''}OMP_NUM_THREADS sets them)`;
  const tooMany = threads > usable ? `; affinity and cgroup quota leave ${usable}: more threads wait for each other` : '';
  return `${threads} of ${cores} (OMP_NUM_THREADS=${ompNumThreads}${tooMany})`;
}

function field(name: string, value: string): string {
  return `  ${name.padEnd(16)} ${value}`;
}
