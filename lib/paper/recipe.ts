import type { TrainingConfig } from './trainingRun';

/** How the paper trains on CIFAR-10, but for what an experiment varies. */
export function paperRecipe(convolution: TrainingConfig['model']['convolution']) {
  return {
    learningRate: 1e-3,
    optimizer: 'adam',
    weightDecay: 5e-4,
    orthogonality: convolution === 'plain' ? 0 : 1e-4,
    augment: 'flip',
  } as const satisfies Partial<TrainingConfig>;
}
