import { OptionError } from '../errors';
import type { ConvolutionConfig, HeadConfig } from '../models';
import { type Recipe, withRecipe } from './recipe';
import type { TrainingConfig } from './trainingRun';

// Table 1 of the paper: CNN-9 on CIFAR-10, the operator of its convolutions by the loss.

const operators = {
  'sigmoid-0.1': { title: 'Sigmoid (0.1)', convolution: { operator: 'sigmoid', k: 0.1 } },
  'sigmoid-0.3': { title: 'Sigmoid (0.3)', convolution: { operator: 'sigmoid', k: 0.3 } },
  'sigmoid-0.7': { title: 'Sigmoid (0.7)', convolution: { operator: 'sigmoid', k: 0.7 } },
  'linear': { title: 'Linear', convolution: { operator: 'linear' } },
  'cosine': { title: 'Cosine', convolution: { operator: 'cosine' } },
  'original': { title: 'Original Conv', convolution: 'plain' },
} as const satisfies Record<string, { title: string; convolution: ConvolutionConfig }>;

export type PaperOperator = keyof typeof operators;

export const paperOperators = Object.keys(operators) as PaperOperator[];

interface LossColumn {
  title: string;
  head: HeadConfig;
  /** Accuracy in percent by operator, in the order above. */
  accuracies: readonly [number, number, number, number, number, number];
}

// GA-Softmax is the linear one, as the text below the table says.
const losses = {
  'softmax': {
    title: 'Softmax', head: { loss: 'softmax' }, accuracies: [90.97, 91.08, 91.05, 91.10, 90.89, 90.58],
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
    title: 'Cosine W-Softmax', head: { loss: 'w-softmax', operator: 'cosine' },
    accuracies: [91.13, 91.28, 91.18, 91.24, 90.99, 90.68],
  },
  'a-softmax': {
    title: 'A-Softmax (m=4)', head: { loss: 'a-softmax', margin: 4 }, accuracies: [91.87, 92.13, 92.22, 92.21, 91.94, 91.78],
  },
  'ga-softmax': {
    title: 'GA-Softmax (m=4)', head: { loss: 'ga-softmax', operator: 'linear', margin: 4 },
    accuracies: [91.99, 92.38, 92.36, 92.32, 92.19, 91.80],
  },
} as const satisfies Record<string, LossColumn>;

export type PaperLoss = keyof typeof losses;

export const paperLosses = Object.keys(losses) as PaperLoss[];

/** Such as `sigmoid-0.3/ga-softmax`; its folder is called the same. */
export type CellName = `${PaperOperator}/${PaperLoss}`;

const allCells = paperOperators.flatMap((operator) => paperLosses.map((loss): CellName => `${operator}/${loss}`));

/** What tells most soonest: baseline, the operator, the best of the table, and two more operators. */
export const defaultCells: readonly CellName[] = [
  'original/softmax', 'sigmoid-0.3/softmax', 'sigmoid-0.3/ga-softmax', 'cosine/cosine-w-softmax', 'linear/softmax',
];

/** In the logs that the authors published, with filters 128/192/256; percent, the best one and that at 64k. */
const authorsLogs: Partial<Record<PaperOperator, { best: number; last: number }>> = {
  'original': { best: 90.86, last: 90.61 },
  'cosine': { best: 91.31, last: 91.29 },
  'linear': { best: 91.65, last: 91.16 },
  'sigmoid-0.3': { best: 91.81, last: 91.40 },
};

/** A cell of the table. */
export interface PaperCell {
  name: CellName;
  operator: string;
  loss: string;
  /** Accuracies in percent: the table's, and of the same operator in the authors' logs. */
  paper: number;
  authors: { best: number; last: number } | null;
}

/** @throws {OptionError} naming `argument`, when the table has no such cell. */
export function requireCellName(argument: string, text: string): CellName {
  const name = allCells.find((cell) => cell === text);
  if (name) return name;
  throw new OptionError(
    argument,
    `${argument} must list cells of Table 1 as OPERATOR/LOSS, with one of ${paperOperators.join(', ')} and one of ` +
    `${paperLosses.join(', ')}, but got ${JSON.stringify(text)}`,
  );
}

export function paperCell(name: CellName): PaperCell {
  const [operator, loss] = partsOf(name);
  return {
    name,
    operator: operators[operator].title,
    loss: losses[loss].title,
    paper: losses[loss].accuracies[paperOperators.indexOf(operator)],
    authors: authorsLogs[operator] ?? null,
  };
}

/** How the paper trains a cell; the schedule is in proportion where the iterations are not its 64,000. */
export function cellConfig(
  name: CellName,
  recipe: Recipe,
  { widths, iterations, seed }: { widths: readonly [number, number, number]; iterations: number; seed: number },
): TrainingConfig {
  const [operator, loss] = partsOf(name);
  const { convolution } = operators[operator];
  return withRecipe(recipe, {
    model: { network: 'cnn', depth: 9, widths: [...widths], convolution, head: losses[loss].head },
    iterations,
    batchSize: 128,
    seed,
  });
}

function partsOf(name: CellName): [PaperOperator, PaperLoss] {
  return name.split('/') as [PaperOperator, PaperLoss];
}
