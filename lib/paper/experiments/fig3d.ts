import type { TrainedExperiment } from '../experiment';
import { headOf, operators } from '../operators';

const cells = (['original', 'cosine'] as const).map((operator) => {
  const [network, name] = operator === 'original' ? ['CNN-69', 'cnn'] : ['SphereNet-69', 'spherenet'];
  return {
    name,
    labels: { network },
    model: { network: 'cnn', depth: 69, convolution: operators[operator].convolution, head: headOf(operator) },
    baseline: 'cnn',
  } as const;
});

export const fig3d: TrainedExperiment = {
  kind: 'trained',
  name: 'fig3d',
  title: 'Figure 3(d): 69 layers without shortcuts',
  shows: '69 plain convolutions, and 69 SphereConvs (cosine, with cosine W-Softmax) on CIFAR-10. In the paper only those train well.',
  presets: {
    // The figure ends at 40,000 of 64,000 iterations.
    paper: { cells: cells.map((cell) => ({ ...cell, milestones: [34 / 40] })), widths: [64, 96, 128], iterations: 40_000, seeds: [0] },
    mini: { cells, widths: [16, 32, 48], iterations: 500, batchSize: 32, seeds: [0, 1], images: 10_000, testImages: 2000, minutes: 9 },
  },
  notes: ['The paper\'s SphereNet ends at "nearly 90%".'],
};
