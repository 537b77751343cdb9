import type { HeadConfig } from '../../models';
import type { Cell, TrainedExperiment } from '../experiment';
import { cosineWSoftmax, operators, type PaperOperator, softmax } from '../operators';

interface Row {
  name: string;
  title: string;
  operator: PaperOperator;
  head: HeadConfig;
  accuracies: { cifar10: number; cifar100: number };
}

const rows: readonly Row[] = [
  { name: 'baseline', title: 'ResNet-32 (softmax)', operator: 'original', head: softmax, accuracies: { cifar10: 93.26, cifar100: 72.85 } },
  {
    name: 's-sw', title: 'SphereResNet-32 (S-SW)', operator: 'sigmoid-0.3', head: { loss: 'w-softmax', operator: 'sigmoid', k: 0.3 },
    accuracies: { cifar10: 94.47, cifar100: 76.02 },
  },
  {
    name: 'l-lw', title: 'SphereResNet-32 (L-LW)', operator: 'linear', head: { loss: 'w-softmax', operator: 'linear' },
    accuracies: { cifar10: 94.33, cifar100: 75.62 },
  },
  { name: 'c-cw', title: 'SphereResNet-32 (C-CW)', operator: 'cosine', head: cosineWSoftmax, accuracies: { cifar10: 94.64, cifar100: 74.92 } },
  {
    name: 's-g', title: 'SphereResNet-32 (S-G)', operator: 'sigmoid-0.3', head: { loss: 'ga-softmax', operator: 'linear', margin: 4 },
    accuracies: { cifar10: 95.01, cifar100: 76.39 },
  },
];

const titles = { cifar10: 'CIFAR-10+', cifar100: 'CIFAR-100' };

const cells = (['cifar10', 'cifar100'] as const).flatMap((data) => rows.map(({ name, title, operator, head, accuracies }): Cell => ({
  name: `${data}/${name}`,
  labels: { network: title, data: titles[data] },
  model: { network: 'resnet32', convolution: operators[operator].convolution, head },
  training: { augment: 'full' },
  data,
  paper: accuracies[data],
  baseline: `${data}/baseline`,
  panel: titles[data],
})));

// CIFAR-100 is in no package registry: it needs a --source.
const chosen = cells.filter(({ data }) => data === 'cifar10').map(({ name }) => name);

export const table4: TrainedExperiment = {
  kind: 'trained',
  name: 'table4',
  title: 'Table 4: ResNet-32 on CIFAR-10+ and CIFAR-100',
  shows: 'ResNet-32 with full augmentation. In the paper every SphereResNet-32 ends above the plain one, that with GA-Softmax highest.',
  presets: {
    paper: { cells, chosen, widths: [16, 32, 64], iterations: 64_000, seeds: [0] },
    mini: { cells, chosen, widths: [8, 16, 32], iterations: 800, batchSize: 64, seeds: [0], images: 10_000, testImages: 2000, minutes: 5 },
  },
  notes: [
    'Without --cells, CIFAR-10+ alone. For CIFAR-100, --cells all --source FOLDER, with the .bin files of both data sets in the folder.',
    'Left-right flips and crops; the paper flips vertically too. GA-Softmax is the linear one. The paper does not name the filters.',
  ],
};
