import { type AugmentationName, type DatasetSplits, trainingLoader } from '../data';
import { requireOneOf } from '../errors';
import { createRegularizer, type RegularizerConfig } from '../losses';
import { type Classifier, createModel, type ModelOptions } from '../models';
import { Adam, type Optimizer, type ParameterGroup, parameterGroups, SGD, StepSchedule } from '../optim';
import { Trainer, type TrainerOptions } from '../train';

const optimizers = {
  adam: (groups, learningRate) => new Adam(groups, { learningRate }),
  sgd: (groups, learningRate) => new SGD(groups, { learningRate, momentum: 0.9 }),
} satisfies Record<string, (groups: ParameterGroup[], learningRate: number) => Optimizer>;

export type OptimizerName = keyof typeof optimizers;
export const optimizerNames = Object.keys(optimizers) as OptimizerName[];

/** Of each network, what does not follow from the images and the seed. */
type WithoutData<Options> = Options extends unknown ? Omit<Options, 'classes' | 'inputChannels' | 'imageSize' | 'seed'> : never;

/** What decides the result of a training run, and nothing else. */
export interface TrainingConfig {
  /** The network; what follows from the images and the seed is filled in. */
  model: WithoutData<ModelOptions>;
  iterations: number;
  batchSize: number;
  learningRate: number;
  /** Iterations from which on the learning rate is a tenth. Default: {@link paperMilestones}. */
  milestones?: readonly number[];
  optimizer: OptimizerName;
  /** L2 penalty on the weights of plain layers. */
  weightDecay: number;
  /** L2 penalty on gamma and beta of BatchNorm. */
  normDecay: number;
  /** Penalty on the filters of SphereConvs; null for none. */
  regularizer: RegularizerConfig | null;
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

/** The paper divides the learning rate at 34,000 and 54,000 of 64,000 iterations; here in proportion. */
export function paperMilestones(iterations: number): number[] {
  return milestonesAt([34 / 64, 54 / 64], iterations);
}

/** Shares of the iterations as steps; those that fall together or before the first step count once or not at all. */
export function milestonesAt(shares: readonly number[], iterations: number): number[] {
  return [...new Set(shares.map((share) => Math.round(share * iterations)))].filter((milestone) => milestone > 0);
}

/**
 * Builds network, optimizer, schedule and loader. Two configs that differ in the network alone see the same batches.
 * @throws {OptionError} naming the option at fault.
 */
export function prepareTraining(config: TrainingConfig, { train }: DatasetSplits, extras: TrainerExtras = {}): TrainingRun {
  const { iterations, learningRate, milestones = paperMilestones(iterations), seed, batchSize, augment, regularizer } = config;
  const { channels, height, classes } = train;
  const model = createModel({ ...config.model, classes: classes.length, inputChannels: channels, imageSize: height, seed });
  const optimizer = makeOptimizer(config, model);
  const trainer = new Trainer({
    model,
    optimizer,
    schedule: new StepSchedule({ learningRate, milestones }),
    regularizer: regularizer ? createRegularizer(regularizer) : undefined,
    loader: trainingLoader(train, { batchSize, seed, augment }),
    iterations,
    ...extras,
  });
  const dispose = (): void => {
    optimizer.dispose();
    model.dispose();
  };
  return { model, trainer, dispose };
}

function makeOptimizer({ optimizer, learningRate, weightDecay, normDecay }: TrainingConfig, model: Classifier): Optimizer {
  const groups = parameterGroups(model, { weightDecay, normDecay });
  return optimizers[requireOneOf('optimizer', optimizer, optimizerNames)](groups, learningRate);
}
