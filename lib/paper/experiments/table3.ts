import type { Cell, TrainedExperiment } from '../experiment';
import { headOf, operators, paperOperators, valueOf } from '../operators';

const accuracies = [86.29, 85.67, 85.51, 85.34, 85.25, 80.73] as const;

const cells = paperOperators.map((operator): Cell => {
  const { title, convolution } = operators[operator];
  return {
    name: operator,
    labels: { operator: title },
    model: { network: 'cnn', depth: 18, relu: false, convolution, head: headOf(operator) },
    paper: valueOf(accuracies, operator),
    baseline: 'original',
  };
});

export const table3: TrainedExperiment = {
  kind: 'trained',
  name: 'table3',
  title: 'Table 3: without ReLU',
  shows: 'CNN-18 on CIFAR-10 without ReLU. In the paper SphereConvs, which are not linear, lose far less than plain convolutions.',
  presets: {
    paper: { cells, widths: [64, 96, 128], iterations: 64_000, seeds: [0] },
    mini: {
      cells, chosen: ['sigmoid-0.1', 'linear', 'original'], widths: [16, 32, 48], iterations: 500, batchSize: 64, seeds: [0, 1, 2], images: 10_000, testImages: 2000, minutes: 9,
    },
  },
  notes: ['The paper does not name the losses: cosine W-Softmax for SphereConvs and softmax for plain convolutions, as in Table 2.'],
};
