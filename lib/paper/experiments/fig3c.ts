import type { Cell, TrainedExperiment } from '../experiment';
import { operators, softmax } from '../operators';

type Widths = [number, number, number];

function cellsOf(widths: readonly Widths[]): Cell[] {
  return widths.flatMap((each) => (['original', 'sigmoid-0.3'] as const).map((operator): Cell => {
    const [network, name] = operator === 'original' ? ['CNN-9', 'cnn'] : ['SphereNet-9', 'spherenet'];
    return {
      name: `${name}-${each.join('-')}`,
      labels: { network, filters: each.join('/') },
      model: { network: 'cnn', depth: 9, widths: each, convolution: operators[operator].convolution, head: softmax },
      baseline: `cnn-${each.join('-')}`,
    };
  }));
}

export const fig3c: TrainedExperiment = {
  kind: 'trained',
  name: 'fig3c',
  title: 'Figure 3(c): width',
  shows: 'CNN-9 and SphereNet-9 of several widths on CIFAR-10. In the paper a SphereNet is the more ahead, the wider it is.',
  presets: {
    paper: { cells: cellsOf([[16, 32, 48], [64, 96, 128], [128, 192, 256], [256, 384, 512]]), iterations: 64_000, seeds: [0] },
    mini: {
      cells: cellsOf([[8, 16, 24], [16, 32, 48], [32, 48, 64]]), iterations: 600, batchSize: 64, seeds: [0, 1],
      images: 10_000, testImages: 2000, minutes: 9,
    },
  },
  notes: ['The paper does not name the operator: sigmoid (0.3).'],
};
