import type { DatasetSplits, ImageDataset } from '../data';
import { type Augmentation, DataLoader } from '../data/loader';
import { requireOneOf } from '../errors';
import { OrthogonalityRegularizer } from '../losses';
import { type Classifier, plainNetwork, type PlainNetworkOptions } from '../models';
import { Adam, type Optimizer, parameterGroups, SGD, StepSchedule } from '../optim';
import { Trainer, type TrainerOptions } from '../train';

/** `full` is CIFAR-10+: 4 pixels of padding, a random crop and a random left-right flip. */
export type AugmentationName = 'none' | 'flip' | 'full';
export type OptimizerName = 'adam' | 'sgd';

/** What decides the result of a training run, and nothing else. */
export interface TrainingConfig {
  /** The network; what follows from the images and the seed is filled in. */
  model: Omit<PlainNetworkOptions, 'classes' | 'inputChannels' | 'imageSize' | 'seed'>;
  iterations: number;
  batchSize: number;
  learningRate: number;
  /** Iterations from which on the learning rate is a tenth. Default: {@link paperMilestones}. */
  milestones?: readonly number[];
  optimizer: OptimizerName;
  /** L2 penalty on the weights of plain layers. */
  weightDecay: number;
  /** Coefficient of the orthogonality penalty on SphereConv filters; 0 for none. */
  orthogonality: number;
  augment: AugmentationName;
  seed: number;
}

/** A trainer with all that it needs. */
export interface TrainingRun {
  model: Classifier;
  trainer: Trainer;
  /** Releases model and optimizer. */
  dispose: () => void;
}

type TrainerExtras = Omit<TrainerOptions, 'model' | 'optimizer' | 'schedule' | 'regularizer' | 'loader' | 'iterations'>;

const augmentations: Record<AugmentationName, Augmentation> = {
  none: {},
  flip: { flipHorizontal: true },
  full: { padding: 4, flipHorizontal: true },
};

/** The paper divides the learning rate at 34,000 and 54,000 of 64,000 iterations; here in proportion. */
export function paperMilestones(iterations: number): number[] {
  const milestones = [34, 54].map((thousands) => Math.round((iterations * thousands) / 64));
  return [...new Set(milestones)].filter((milestone) => milestone > 0);
}

/**
 * Builds network, optimizer, schedule and loader. Two configs that differ in the network alone see the same batches.
 * @throws {OptionError} naming the option at fault.
 */
export function prepareTraining(config: TrainingConfig, { train }: DatasetSplits, extras: TrainerExtras = {}): TrainingRun {
  const { iterations, learningRate, milestones = paperMilestones(iterations), seed, batchSize } = config;
  requireOneOf('augment', config.augment, Object.keys(augmentations) as AugmentationName[]);
  const { channels, height, classes } = train;
  const model = plainNetwork({ ...config.model, classes: classes.length, inputChannels: channels, imageSize: height, seed });
  const optimizer = makeOptimizer(config, model);
  const trainer = new Trainer({
    model,
    optimizer,
    schedule: new StepSchedule({ learningRate, milestones }),
    regularizer: config.orthogonality > 0 ? new OrthogonalityRegularizer({ coefficient: config.orthogonality }) : undefined,
    loader: new DataLoader(train, { batchSize, seed, augment: augmentations[config.augment] }),
    iterations,
    ...extras,
  });
  const dispose = (): void => {
    optimizer.dispose();
    model.dispose();
  };
  return { model, trainer, dispose };
}

/** Batches of all images of a test set, in order. */
export function evaluationLoader(dataset: ImageDataset, batchSize: number): DataLoader {
  return new DataLoader(dataset, { batchSize: Math.min(batchSize, dataset.count) });
}

function makeOptimizer({ optimizer, learningRate, weightDecay }: TrainingConfig, model: Classifier): Optimizer {
  const groups = parameterGroups(model, { weightDecay });
  return requireOneOf('optimizer', optimizer, ['adam', 'sgd']) === 'adam'
    ? new Adam(groups, { learningRate })
    : new SGD(groups, { learningRate, momentum: 0.9 });
}
