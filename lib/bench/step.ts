import { defaultDevice, type Device } from '../device';
import { requireNumber } from '../errors';
import type { AngularOperator } from '../ops';
import { Adam } from '../optim';
import { type Tensor, tensor } from '../tensor';
import { benchmarkNetwork, type BenchmarkNetwork, widthsOf } from './networks';
import { type BenchmarkRow, contest, type Contender, type ContestOptions, timed } from './measure';
import type { Peer } from './peers/peer';
import { residentMemory } from './residentMemory';
import { variedTensor } from './variedTensor';
import { stepWork } from './cost';

export interface StepBenchmarkOptions extends Omit<ContestOptions, 'work'> {
  /** Default `plain-9`, that is CNN-9 and SphereNet-9. */
  network?: string;
  /** Filters of each stage. Default: those of the network. */
  widths?: readonly number[];
  batchSize: number;
  operators: readonly AngularOperator[];
  /** Other libraries, which come after ours. */
  peers?: readonly Peer[];
}

interface Images {
  images: Tensor;
  labels: Tensor;
}

/** The network of a step where none was asked for. */
export const defaultNetwork = 'plain-9';

/** Times whole training steps (forward, backward, Adam) of a SphereNet against its plain twin, on synthetic images. */
export async function benchmarkStep(settings: StepBenchmarkOptions): Promise<BenchmarkRow[]> {
  const { operators, device = defaultDevice(), peers = [] } = settings;
  const network = benchmarkNetwork(settings.network ?? defaultNetwork);
  const widths = widthsOf(network, settings.widths);
  const batchSize = requireNumber('batchSize', settings.batchSize, { min: 1, integer: true });
  const batch = makeBatch(network, batchSize, device);
  using _images = batch.images;
  using _labels = batch.labels;
  const contenders: Contender[] = (['plain', ...operators] as const).map((operator) => ({
    ...ownStep(operator, network, widths, batch),
    resident: () => residentMemory({ kind: 'step', network: network.name, widths, batchSize, operator }),
  }));
  for (const peer of peers) contenders.push(...(await peer.step({ network, widths, batchSize, operators, device })));
  return await contest(stepCase(network, widths, batchSize), contenders, { ...settings, work: workOf(network, widths, batchSize) });
}

/** Such as `step spherenet9 64/96/128 b128`. */
export function stepCase({ label }: BenchmarkNetwork, widths: readonly number[], batchSize: number): string {
  return `step ${label} ${widths.join('/')} b${batchSize}`;
}

/** Synthetic images with labels of all classes in turn. */
export function makeBatch({ image, classes }: BenchmarkNetwork, batchSize: number, device: Device): Images {
  const { size, channels } = image;
  return {
    images: variedTensor([batchSize, size, size, channels], 0, device),
    labels: tensor(Int32Array.from({ length: batchSize }, (_, i) => i % classes), [batchSize], { device }),
  };
}

/** Forward, backward and update of a network with one kind of convolution. */
export function ownStep(operator: AngularOperator | 'plain', network: BenchmarkNetwork, widths: readonly number[], batch: Images): Contender {
  const { images, labels } = batch;
  const model = network.build(widths, operator === 'plain' ? 'plain' : { operator }).to(images.device);
  const optimizer = new Adam(model.parameters());
  const step = (): void => {
    const { loss, logits, theta } = model.forward(images, labels);
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    for (const output of [loss, logits, theta]) output?.dispose();
  };
  return {
    operator,
    engine: 'spherenet',
    run: () => ({ step: timed(images.device, step)[0] }),
    dispose: () => {
      optimizer.dispose();
      model.dispose();
    },
  };
}

function workOf(network: BenchmarkNetwork, widths: readonly number[], batchSize: number) {
  const { size, channels } = network.image;
  using model = network.build(widths, 'plain');
  return stepWork(model, [size, size, channels], batchSize);
}
