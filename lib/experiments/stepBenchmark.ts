import { requireNumber } from '../errors';
import { type Classifier, cnn9, sphereNet9 } from '../models';
import type { AngularOperator } from '../ops';
import { Adam } from '../optim';
import { type Tensor, tensor } from '../tensor';
import { type BenchmarkRow, type Contender, measure, type MeasureOptions, timed } from './measure';
import { variedTensor } from './variedTensor';

export interface StepBenchmarkOptions extends MeasureOptions {
  widths: readonly number[];
  batchSize: number;
  operators: readonly AngularOperator[];
}

interface Images {
  images: Tensor;
  labels: Tensor;
}

const classes = 10;
const size = 32;

/** Times whole training steps (forward, backward, Adam) of SphereNet-9 against its plain twin, on synthetic images. */
export async function benchmarkStep(settings: StepBenchmarkOptions): Promise<BenchmarkRow[]> {
  const { operators } = settings;
  const widths = settings.widths as [number, number, number];
  const batchSize = requireNumber('batchSize', settings.batchSize, { min: 1, integer: true });
  using images = variedTensor([batchSize, size, size, 3], 0);
  using labels = tensor(Int32Array.from({ length: batchSize }, (_, i) => i % classes));
  const options = { widths, classes };
  const batch = { images, labels };
  const contenders = [
    trainingStep('plain', cnn9(options), batch),
    ...operators.map((operator) => trainingStep(operator, sphereNet9({ ...options, convolution: { operator } }), batch)),
  ];
  return await measure(`step spherenet9 ${widths.join('/')} b${batchSize}`, contenders, settings);
}

function trainingStep(operator: AngularOperator | 'plain', model: Classifier, { images, labels }: Images): Contender {
  const optimizer = new Adam(model.parameters());
  const run = (): void => {
    const { loss, logits, theta } = model.forward(images, labels);
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    for (const output of [loss, logits, theta]) output?.dispose();
  };
  return { operator, engine: 'spherenet', run: () => ({ step: timed(run)[0] }) };
}
