import type { HeadConfig } from '../../models';
import type { Cell, TrainedExperiment } from '../experiment';
import { type ByOperator, cosineWSoftmax, operators, type PaperOperator, paperOperators, softmax, valueOf } from '../operators';

interface LossColumn {
  title: string;
  head: HeadConfig;
  accuracies: ByOperator;
}

// GA-Softmax is the linear one, as the text below the table says.
const losses = {
  'softmax': {
    title: 'Softmax', head: softmax, accuracies: [90.97, 91.08, 91.05, 91.10, 90.89, 90.58],
  },
  'sigmoid-0.1-w-softmax': {
    title: 'Sigmoid (0.1) W-Softmax', head: { loss: 'w-softmax', operator: 'sigmoid', k: 0.1 },
    accuracies: [90.91, 91.44, 91.16, 90.93, 90.88, 90.58],
  },
  'sigmoid-0.3-w-softmax': {
    title: 'Sigmoid (0.3) W-Softmax', head: { loss: 'w-softmax', operator: 'sigmoid', k: 0.3 },
    accuracies: [90.89, 91.37, 91.47, 91.42, 91.08, 90.73],
  },
  'sigmoid-0.7-w-softmax': {
    title: 'Sigmoid (0.7) W-Softmax', head: { loss: 'w-softmax', operator: 'sigmoid', k: 0.7 },
    accuracies: [90.88, 91.21, 91.07, 90.96, 91.22, 90.78],
  },
  'linear-w-softmax': {
    title: 'Linear W-Softmax', head: { loss: 'w-softmax', operator: 'linear' },
    accuracies: [91.07, 91.34, 90.99, 90.95, 91.17, 91.08],
  },
  'cosine-w-softmax': {
    title: 'Cosine W-Softmax', head: cosineWSoftmax, accuracies: [91.13, 91.28, 91.18, 91.24, 90.99, 90.68],
  },
  'a-softmax': {
    title: 'A-Softmax (m=4)', head: { loss: 'a-softmax', margin: 4 }, accuracies: [91.87, 92.13, 92.22, 92.21, 91.94, 91.78],
  },
  'ga-softmax': {
    title: 'GA-Softmax (m=4)', head: { loss: 'ga-softmax', operator: 'linear', margin: 4 },
    accuracies: [91.99, 92.38, 92.36, 92.32, 92.19, 91.80],
  },
} as const satisfies Record<string, LossColumn>;

type PaperLoss = keyof typeof losses;

const authorsLogs: Partial<Record<PaperOperator, Cell['authors']>> = {
  'original': { best: 90.86, last: 90.61 },
  'cosine': { best: 91.31, last: 91.29 },
  'linear': { best: 91.65, last: 91.16 },
  'sigmoid-0.3': { best: 91.81, last: 91.40 },
};

const cells = paperOperators.flatMap((operator) => (Object.keys(losses) as PaperLoss[]).map((loss): Cell => {
  const { title, convolution } = operators[operator];
  return {
    name: `${operator}/${loss}`,
    labels: { operator: title, loss: losses[loss].title },
    model: { network: 'cnn', depth: 9, convolution, head: losses[loss].head },
    paper: valueOf(losses[loss].accuracies, operator),
    authors: authorsLogs[operator],
    baseline: 'original/softmax',
  };
}));

/** What tells most soonest: baseline, the operator, the best of the table, and two more operators. */
const chosen = ['original/softmax', 'sigmoid-0.3/softmax', 'sigmoid-0.3/ga-softmax', 'cosine/cosine-w-softmax', 'linear/softmax'];

export const table1: TrainedExperiment = {
  kind: 'trained',
  name: 'table1',
  title: 'Table 1: operators and losses',
  shows: 'CNN-9 on CIFAR-10 with every operator and loss. In the paper SphereConvs end above the plain convolution, and margins above the rest.',
  presets: {
    paper: { cells, chosen, widths: [64, 96, 128], iterations: 64_000, seeds: [0] },
    mini: {
      cells, chosen, widths: [16, 32, 48], iterations: 600, batchSize: 64, seeds: [0, 1, 2],
      images: 10_000, testImages: 2000, minutes: 8,
    },
  },
  notes: ['A cell is OPERATOR/LOSS. "authors" is the same operator in the logs that the authors published.'],
};
