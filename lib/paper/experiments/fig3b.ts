import type { Cell, TrainedExperiment } from '../experiment';
import { operators, type PaperOperator, softmax } from '../operators';

function cellOf(name: string, operator: PaperOperator, title: string, training?: Cell['training']): Cell {
  const { convolution } = operators[operator];
  return {
    name,
    labels: { network: title },
    model: { network: 'cnn', depth: 9, convolution, head: softmax },
    training,
    baseline: 'cnn',
  };
}

const cells = [
  cellOf('cnn', 'original', 'CNN-9'),
  cellOf('cosine-without-orthogonality', 'cosine', 'SphereNet-9, cosine, no orth.', { regularizer: null }),
  cellOf('cosine', 'cosine', 'SphereNet-9, cosine'),
  cellOf('linear', 'linear', 'SphereNet-9, linear'),
  cellOf('sigmoid-0.3', 'sigmoid-0.3', 'SphereNet-9, sigmoid (0.3)'),
];

export const fig3b: TrainedExperiment = {
  kind: 'trained',
  name: 'fig3b',
  title: 'Figure 3(b): convergence of CNN-9 and SphereNet-9',
  shows: 'Plain CNN-9 and SphereNet-9 with softmax on CIFAR-10, with and without orthogonality. In the paper SphereNets learn faster and end higher.',
  presets: {
    paper: { cells, widths: [64, 96, 128], iterations: 64_000, seeds: [0] },
    mini: { cells, widths: [16, 32, 48], iterations: 600, batchSize: 64, seeds: [0, 1, 2], images: 10_000, testImages: 2000, minutes: 8 },
  },
};
