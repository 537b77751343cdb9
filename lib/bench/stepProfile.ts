import { performance } from 'node:perf_hooks';
import { DataLoader, imageDataset } from '../data';
import { defaultDevice, type Device, matmulPrecision, type MatmulPrecision, synchronize } from '../device';
import { requireNumber } from '../errors';
import { Adam } from '../optim';
import type { BenchmarkOperator } from './measure';
import { NativeProfiler, type OperatorTime } from './nativeProfiler';
import { type BenchmarkNetwork, buildNetwork } from './networks';
import { stepCase } from './step';

export type ProfilePhase = 'data' | 'forward' | 'loss' | 'backward' | 'optimizer';

/** Where the time of a training step goes; every number is of one step, the mean of several. */
export interface StepProfile {
  /** Such as `step spherenet9 64/96/128 b128`. */
  case: string;
  operator: BenchmarkOperator;
  device: Device;
  precision: MatmulPrecision;
  /** How many were measured. */
  steps: number;
  ms: number;
  /** `share` is of the step, here and below. */
  phases: { phase: ProfilePhase; ms: number; share: number }[];
  /** Native operators, the longest first; together with `rest` they make up the step. */
  operators: (OperatorTime & { share: number })[];
  /** JavaScript, the tape, and waiting for the batch. */
  rest: { ms: number; share: number };
}

export interface ProfileOptions {
  network: BenchmarkNetwork;
  batchSize: number;
  operator: BenchmarkOperator;
  device?: Device;
}

const warmUpSteps = 2;
const profiledSteps = 5;

/** Runs a few training steps, data loader included, and tells where their time went. */
export async function profileStep(options: ProfileOptions): Promise<StepProfile> {
  const { network, operator, device = defaultDevice() } = options;
  const batchSize = requireNumber('batchSize', options.batchSize, { min: 1, integer: true });
  using model = buildNetwork(network, operator).to(device);
  using optimizer = new Adam(model.parameters());
  const loader = syntheticLoader(network, batchSize, device);
  const clock = new PhaseClock(device);
  const step = async (iteration: number): Promise<void> => {
    const { images, labels } = await clock.wait('data', loader.batch(iteration));
    const features = clock.time('forward', () => model.features.forward(images));
    const { loss, logits, theta } = clock.time('loss', () => model.head.forward(features, labels));
    clock.time('backward', () => { loss.backward(); });
    clock.time('optimizer', () => {
      optimizer.step();
      optimizer.zeroGrad();
    });
    for (const output of [loss, logits, theta]) output?.dispose();
  };
  try {
    for (let i = 0; i < warmUpSteps; i++) await step(i);
    clock.reset();
    using profiler = new NativeProfiler(device);
    const start = performance.now();
    for (let i = 0; i < profiledSteps; i++) await step(warmUpSteps + i);
    const total = performance.now() - start;
    return {
      case: stepCase(network, batchSize),
      operator,
      device,
      precision: device === 'cpu' ? 'fp32' : matmulPrecision(),
      ...perStep(total, clock.times, profiler.times, profiledSteps),
    };
  } finally {
    loader.close();
  }
}

/** Totals of several steps as those of one. @internal */
export function perStep(
  total: number,
  phases: ReadonlyMap<ProfilePhase, number>,
  operators: readonly OperatorTime[],
  steps: number,
): Pick<StepProfile, 'steps' | 'ms' | 'phases' | 'operators' | 'rest'> {
  const share = (ms: number) => ({ ms: ms / steps, share: ms / total });
  return {
    steps,
    ms: total / steps,
    phases: [...phases].map(([phase, ms]) => ({ phase, ...share(ms) })),
    operators: operators.map(({ operator, calls, ms }) => ({ operator, calls: calls / steps, ...share(ms) })),
    rest: share(total - operators.reduce((sum, { ms }) => sum + ms, 0)),
  };
}

/** Adds up the time of each phase; on cuda to the end of its work. */
class PhaseClock {
  readonly #device: Device;
  readonly #times = new Map<ProfilePhase, number>();

  constructor(device: Device) {
    this.#device = device;
  }

  get times(): ReadonlyMap<ProfilePhase, number> {
    return this.#times;
  }

  reset(): void {
    this.#times.clear();
  }

  time<R>(phase: ProfilePhase, work: () => R): R {
    const start = performance.now();
    const result = work();
    this.#add(phase, start);
    return result;
  }

  async wait<R>(phase: ProfilePhase, work: Promise<R>): Promise<R> {
    const start = performance.now();
    const result = await work;
    this.#add(phase, start);
    return result;
  }

  #add(phase: ProfilePhase, start: number): void {
    synchronize(this.#device);
    this.#times.set(phase, (this.#times.get(phase) ?? 0) + performance.now() - start);
  }
}

/** Batches of made-up images, flipped as in training. */
function syntheticLoader({ config }: BenchmarkNetwork, batchSize: number, device: Device): DataLoader {
  const { imageSize, inputChannels, classes } = config;
  const count = 2 * batchSize;
  const dataset = imageDataset({
    name: 'synthetic',
    images: Uint8Array.from({ length: count * imageSize ** 2 * inputChannels }, (_, i) => (i * 97) % 251),
    labels: Int32Array.from({ length: count }, (_, i) => i % classes),
    height: imageSize,
    width: imageSize,
    channels: inputChannels,
    classes: Array.from({ length: classes }, (_, i) => String(i)),
  });
  return new DataLoader(dataset, { batchSize, augment: { flipHorizontal: true }, device });
}
