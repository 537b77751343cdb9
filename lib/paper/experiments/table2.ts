import type { Cell, TrainedExperiment } from '../experiment';
import { type ByOperator, headOf, operators, paperOperators, valueOf } from '../operators';

const cnns: readonly { depth: 3 | 9 | 18 | 45 | 60; accuracies: ByOperator }[] = [
  { depth: 3, accuracies: [82.08, 81.92, 82.4, 82.31, 82.23, 81.19] },
  { depth: 9, accuracies: [91.13, 91.28, 91.18, 91.15, 90.99, 90.68] },
  { depth: 18, accuracies: [91.43, 91.55, 91.69, 91.24, 91.23, 90.62] },
  { depth: 45, accuracies: [89.34, 89.73, 89.85, 90.15, 90.05, 88.23] },
  { depth: 60, accuracies: [87.67, 87.85, 88.42, 89.91, 89.28, 88.15] },
];
const resNetAccuracies: ByOperator = [90.94, 91.7, 91.19, 91.25, 91.38, 90.40];

function cellsOf(resNetWidths: [number, number, number]): Cell[] {
  return paperOperators.flatMap((operator) => {
    const { title, convolution } = operators[operator];
    const model = { convolution, head: headOf(operator) };
    const cell = (name: string, network: string, accuracies: ByOperator) => ({
      name: `${operator}/${name}`,
      labels: { operator: title, network },
      paper: valueOf(accuracies, operator),
      baseline: `original/${name}`,
      panel: network,
    });
    return [
      ...cnns.map(({ depth, accuracies }): Cell => ({
        ...cell(`cnn-${depth}`, `CNN-${depth}`, accuracies), model: { network: 'cnn', depth, ...model },
      })),
      { ...cell('resnet-32', 'ResNet-32', resNetAccuracies), model: { network: 'resnet32', widths: resNetWidths, ...model } },
    ];
  });
}

const mini = cellsOf([8, 16, 32]);

export const table2: TrainedExperiment = {
  kind: 'trained',
  name: 'table2',
  title: 'Table 2: depth, and ResNet-32',
  shows: 'CNNs of 3 to 60 layers and ResNet-32 on CIFAR-10 with every operator. In the paper SphereConvs end above the plain convolution in each.',
  presets: {
    paper: { cells: cellsOf([16, 32, 64]), widths: [64, 96, 128], iterations: 64_000, seeds: [0] },
    mini: {
      cells: mini,
      chosen: mini.map(({ name }) => name).filter((name) => /^(linear|original)/.test(name)),
      widths: [8, 16, 24],
      iterations: 500,
      batchSize: 64,
      seeds: [0],
      images: 10_000,
      testImages: 2000,
      minutes: 7,
    },
  },
  notes: [
    'The number of plain CNN-9 is Table 2\'s, 90.68; Table 1 has 90.58 for the same network and loss, and 90.68 for cosine W-Softmax.',
    'The paper does not name the filters of ResNet-32: 16/32/64, as in the original one (preset mini: 8/16/32).',
  ],
};
