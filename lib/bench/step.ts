import { defaultDevice, type Device } from '../device';
import { requireNumber } from '../errors';
import type { AngularOperator } from '../ops';
import { Adam } from '../optim';
import { type Tensor, tensor } from '../tensor';
import { stepCost } from './cost';
import { type BenchmarkOperator, type BenchmarkRow, contest, type Contender, type ContestOptions, timed } from './measure';
import { type BenchmarkNetwork, buildNetwork } from './networks';
import type { Peer } from './peers/peer';
import { residentMemory } from './residentMemory';
import { variedTensor } from './variedTensor';

export interface StepBenchmarkOptions extends Omit<ContestOptions, 'cost'> {
  network: BenchmarkNetwork;
  batchSize: number;
  operators: readonly AngularOperator[];
  /** Other libraries, which come after ours. */
  peers?: readonly Peer[];
}

interface Images {
  images: Tensor;
  labels: Tensor;
}

/** Times whole training steps (forward, backward, Adam) of a SphereNet against its plain twin, on synthetic images. */
export async function benchmarkStep(settings: StepBenchmarkOptions): Promise<BenchmarkRow[]> {
  const { network, operators, device = defaultDevice(), peers = [] } = settings;
  const batchSize = requireNumber('batchSize', settings.batchSize, { min: 1, integer: true });
  const batch = makeBatch(network, batchSize, device);
  using _images = batch.images;
  using _labels = batch.labels;
  const contenders: Contender[] = (['plain', ...operators] as const).map((operator) => ({
    ...ownStep(operator, network, batch),
    resident: () => residentMemory({ kind: 'step', network, batchSize, operator }),
  }));
  for (const peer of peers) contenders.push(...(await peer.step({ network, batchSize, operators, device })));
  return await contest(stepCase(network, batchSize), contenders, { ...settings, cost: costOf(network, batchSize) });
}

/** Such as `step spherenet9 64/96/128 b128`. */
export function stepCase({ sphereName, config }: BenchmarkNetwork, batchSize: number): string {
  return `step ${sphereName} ${config.widths.join('/')} b${batchSize}`;
}

/** Synthetic images with labels of all classes in turn. */
export function makeBatch({ config }: BenchmarkNetwork, batchSize: number, device: Device): Images {
  const { imageSize, inputChannels, classes } = config;
  return {
    images: variedTensor([batchSize, imageSize, imageSize, inputChannels], 0, device),
    labels: tensor(Int32Array.from({ length: batchSize }, (_, i) => i % classes), [batchSize], { device }),
  };
}

/** Forward, backward and update of a network with one kind of convolution. */
export function ownStep(operator: BenchmarkOperator, network: BenchmarkNetwork, batch: Images): Contender {
  const { images, labels } = batch;
  const model = buildNetwork(network, operator).to(images.device);
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

function costOf(network: BenchmarkNetwork, batchSize: number) {
  const { imageSize, inputChannels } = network.config;
  using model = buildNetwork(network, 'plain');
  return stepCost(model, [imageSize, imageSize, inputChannels], batchSize);
}
