import type { RegularizerConfig } from '../losses';
import { type CrossEntropyOptions, officialNormGuard } from '../ops';
import type { TrainingConfig } from './trainingRun';

/** How the paper's networks are trained on CIFAR-10, but for what an experiment varies. */
export interface Recipe {
  /** L2 penalty on gamma and beta of BatchNorm. */
  normDecay: number;
  /** Of the SphereConvs. */
  regularizer: RegularizerConfig;
  /** Of the softmax loss; its defaults where it is not given. */
  crossEntropy?: CrossEntropyOptions;
  /** Of the SphereConvs; theirs by default. */
  normGuard?: { kind: 'max' | 'add'; eps: number };
  /** Its defaults where it is not given. */
  batchNorm?: { momentum: number; eps: number };
}

/**
 * `paper` is what came closest to the paper's numbers (docs/results). `official` is the authors' released code; their
 * BatchNorm's 0.999 is a momentum of 1e-3 here.
 */
export const recipes = {
  // On raw filters the penalty also holds their lengths near 1: that is worth more than a point (docs/results).
  paper: { normDecay: 5e-4, regularizer: { regularizer: 'orthogonality' } },
  official: {
    normDecay: 5e-4, regularizer: { regularizer: 'orthogonality' }, crossEntropy: { labelSmoothing: 0.01, logGuard: 1e-4 },
    normGuard: officialNormGuard, batchNorm: { momentum: 1e-3, eps: 1e-3 },
  },
} as const satisfies Record<string, Recipe>;

/** What the recipes have in common. */
export const commonTraining = {
  learningRate: 1e-3, optimizer: 'adam', weightDecay: 5e-4, augment: 'flip',
} as const satisfies Partial<TrainingConfig>;

export type RecipeName = keyof typeof recipes;
export const recipeNames = Object.keys(recipes) as RecipeName[];

/** What an experiment says of a cell. */
export type CellTraining = Pick<TrainingConfig, 'model' | 'iterations' | 'batchSize' | 'seed'> & Partial<TrainingConfig>;

/** The cell as the recipe trains it. What the cell says itself goes before the recipe. */
export function withRecipe(recipe: Recipe, { model, ...cell }: CellTraining): TrainingConfig {
  const { normDecay, regularizer, crossEntropy, normGuard, batchNorm } = recipe;
  const { convolution = 'plain', head = { loss: 'softmax' } } = model;
  const isPlain = convolution === 'plain';
  return {
    ...commonTraining,
    normDecay,
    regularizer: isPlain ? null : regularizer,
    ...cell,
    model: {
      batchNorm,
      ...model,
      convolution: isPlain ? 'plain' : { normGuard, ...convolution },
      head: head.loss === 'softmax' ? { ...crossEntropy, ...head } : head,
    },
  };
}
