import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { OptionError } from '../errors';
import type { AugmentationName, OptimizerName, TrainingConfig } from '../paper/trainingRun';
import type { Annealing } from '../losses';
import type { ConvolutionConfig, HeadConfig } from '../models';
import type { AngularOperator } from '../ops';
import { formatBytes, formatCount, formatPercent, formatSignificant } from '../report';
import type { FitResult } from '../train';
import { addDataOptions, type DataOptions } from './dataOptions';
import { addTrainingDeviceOptions, type TrainingDeviceOptions, useTrainingDevice } from './deviceOptions';
import { abortOnInterrupt, interruptedCode, resumeCommand } from './interrupt';
import { showLoadProgress } from './loadProgress';
import { atLeastOne, choiceOption, jsonOption, listOption, numberIn, numberOption } from './options';
import { printResult } from './output';

type Loss = HeadConfig['loss'];
type Learnable = 'filter' | 'layer' | 'network';

interface TrainOptions extends DataOptions, TrainingDeviceOptions {
  network: 'plain' | 'sphere';
  depth: (typeof depths)[number];
  widths: number[];
  operator?: AngularOperator;
  k?: number;
  learnable?: Learnable;
  loss: Loss;
  lossOperator?: AngularOperator;
  margin?: number;
  annealing?: Extract<Annealing, string>;
  radius?: number;
  iterations: number;
  batchSize: number;
  learningRate: number;
  milestones?: number[];
  optimizer: OptimizerName;
  weightDecay: number;
  orthogonality?: number;
  augment: AugmentationName;
  seed: number;
  evalEvery: number;
  logEvery: number;
  checkpointEvery: number;
  output?: string;
  resume?: string;
  json?: boolean;
}

const depths = ['3', '9', '18', '45', '60', '69'] as const;
const operators = ['linear', 'cosine', 'sigmoid'] as const satisfies readonly AngularOperator[];
const losses = ['softmax', 'w-softmax', 'a-softmax', 'ga-softmax', 's-softmax'] as const satisfies readonly Loss[];
const annealings = ['sphereface', 'lsoftmax', 'none'] as const;
const learnables = ['filter', 'layer', 'network'] as const satisfies readonly Learnable[];
const augmentations = ['none', 'flip', 'full'] as const satisfies readonly AugmentationName[];

/** Options that only a SphereNet has. */
const sphereOptions = ['operator', 'k', 'learnable', 'orthogonality'] as const;
/** Options that only some losses have. */
const lossOptions = {
  lossOperator: ['w-softmax', 'ga-softmax', 's-softmax'],
  margin: ['a-softmax', 'ga-softmax'],
  annealing: ['a-softmax', 'ga-softmax'],
  radius: ['s-softmax'],
} as const satisfies Partial<Record<keyof TrainOptions, readonly Loss[]>>;

const examples = `
The defaults are the paper's for CIFAR-10, but for the iterations: the paper takes 64000.

Examples:
  $ spherenet train
  $ spherenet train --loss ga-softmax --margin 4 --output runs/ga
  $ spherenet train --network plain --widths 16,32,48 --iterations 2000
  $ spherenet train --data mnist --depth 3 --learnable layer --augment none
  $ spherenet train --output runs/ga --resume runs/ga/last.safetensors`;

export function addTrainCommand(program: Command): void {
  const command = program.command('train').description('Trains a SphereNet or its plain twin.');
  addNetworkOptions(command);
  addDataOptions(command);
  addOptimizationOptions(command);
  addRunOptions(command).addOption(jsonOption()).addHelpText('after', examples).action(run);
}

function addNetworkOptions(command: Command): void {
  command
    .addOption(choiceOption('--network <kind>', 'convolutions', ['sphere', 'plain'] as const, 'sphere'))
    .addOption(choiceOption('--depth <count>', 'number of convolutions', depths, '9'))
    .addOption(listOption('--widths <list>', 'filters of the three stages', numberIn(atLeastOne), '64,96,128'))
    .addOption(choiceOption('--operator <name>', 'angular function of the SphereConvs (default: sigmoid)', operators))
    .addOption(numberOption('--k <number>', 'curvature of the sigmoid (default: 0.3)', { above: 0 }))
    .addOption(choiceOption('--learnable <scope>', 'learn one k for each of these (default: none)', learnables))
    .addOption(choiceOption('--loss <name>', 'loss', losses, 'softmax'))
    .addOption(choiceOption('--loss-operator <name>', 'angular function of the loss (default: sigmoid)', operators))
    .addOption(numberOption('--margin <number>', 'm of A- and GA-Softmax (default: 4)', { min: 1 }))
    .addOption(choiceOption('--annealing <name>', 'how the margin comes in (default: sphereface)', annealings))
    .addOption(numberOption('--radius <number>', 'length of the features of S-Softmax', { above: 0 }));
}

function addOptimizationOptions(command: Command): void {
  command
    .addOption(numberOption('--iterations <count>', 'steps', atLeastOne, 10_000))
    .addOption(numberOption('--batch-size <count>', 'images a step', atLeastOne, 128))
    .addOption(choiceOption('--optimizer <name>', 'sgd has a momentum of 0.9', ['adam', 'sgd'] as const, 'adam'))
    .addOption(numberOption('--learning-rate <number>', 'at first', { above: 0 }, 1e-3))
    .addOption(
      listOption('--milestones <list>', 'steps that divide the rate by 10 (default: at 53 and 84 %)', numberIn(atLeastOne)),
    )
    .addOption(numberOption('--weight-decay <number>', 'L2 penalty on weights of plain layers', { min: 0 }, 5e-4))
    .addOption(numberOption('--orthogonality <number>', 'penalty on SphereConv filters (default: 1e-4)', { min: 0 }))
    .addOption(choiceOption('--augment <name>', 'flip: left-right; full: also random crops', augmentations, 'flip'))
    .addOption(numberOption('--seed <number>', 'of weights, order and augmentation', { min: 0, integer: true }, 0));
}

function addRunOptions(command: Command): Command {
  command
    .addOption(numberOption('--eval-every <count>', 'steps between evaluations', atLeastOne, 1000))
    .addOption(numberOption('--log-every <count>', 'steps between lines of the log', atLeastOne, 50))
    .addOption(numberOption('--checkpoint-every <count>', 'steps between checkpoints', atLeastOne, 500))
    .option('--output <folder>', 'for log.jsonl and last.safetensors (default: runs/<time>, or that of --resume)')
    .option('--resume <checkpoint>', 'go on from this file; give the same options as before');
  return addTrainingDeviceOptions(command);
}

async function run(options: TrainOptions): Promise<void> {
  const config = trainingConfig(options);
  const output = options.output ?? (options.resume ? dirname(options.resume) : join('runs', timestamp()));
  const [{ loadDataset }, { evaluationLoader, prepareTraining }] = await Promise.all([
    import('../data/datasets'),
    import('../paper/trainingRun'),
  ]);
  const device = await useTrainingDevice(options);
  const { data, source, cache, evalEvery, logEvery, checkpointEvery, resume, cudaGraph } = options;
  const splits = await loadDataset(data, { source, cache, onProgress: showLoadProgress() });
  const { trainer } = prepareTraining(config, splits, {
    evalLoader: evaluationLoader(splits.test, config.batchSize),
    evalEvery,
    logEvery,
    checkpointEvery,
    output,
    resume,
    device,
    cudaGraph,
    signal: abortOnInterrupt(),
    progress: true,
  });
  process.stderr.write(`Training on ${device} for ${formatCount(config.iterations)} steps; log and checkpoints in ${output}\n`);
  report(await trainer.fit(), output, options);
}

function report(result: FitResult, output: string, { json }: TrainOptions): void {
  const { history, interrupted, checkpoint } = result;
  const resume = interrupted && checkpoint !== null ? resumeCommand(checkpoint) : undefined;
  printResult({ ...result, history: undefined, evaluation: history.eval.at(-1) ?? null, output, resume }, json, () => asText(result));
  if (resume === undefined) return;
  process.stderr.write(`Interrupted after ${formatCount(result.iterations)} steps. To go on:\n  ${resume}\n`);
  process.exitCode = interruptedCode;
}

function asText({ history, iterations, bestAccuracy, imagesPerSecond, peakMemory, checkpoint }: FitResult): string {
  const evaluation = history.eval.at(-1);
  const quality = evaluation
    ? `test accuracy ${formatPercent(evaluation.accuracy)} (best ${formatPercent(bestAccuracy!)}), loss ${formatSignificant(evaluation.loss, 4)}`
    : 'not evaluated yet';
  return [
    `${formatCount(iterations)} steps: ${quality}`,
    `${formatSignificant(imagesPerSecond)} images a second, ${formatBytes(peakMemory)} of tensors at most`,
    ...(checkpoint === null ? [] : [`checkpoint: ${checkpoint}`]),
  ].join('\n');
}

function trainingConfig(options: TrainOptions): TrainingConfig {
  requireFitting(options);
  const { depth, widths, iterations, batchSize, learningRate, milestones, optimizer, weightDecay, augment, seed } = options;
  const orthogonality = options.network === 'sphere' ? (options.orthogonality ?? 1e-4) : 0;
  return {
    model: {
      depth: Number(depth) as TrainingConfig['model']['depth'],
      widths: widths as [number, number, number],
      convolution: convolutionConfig(options),
      head: headConfig(options),
    },
    iterations, batchSize, learningRate, milestones, optimizer, weightDecay, orthogonality, augment, seed,
  };
}

function convolutionConfig({ network, operator, k, learnable }: TrainOptions): ConvolutionConfig {
  return network === 'plain' ? 'plain' : { operator, k, learnable };
}

function headConfig({ loss, lossOperator: operator, margin, annealing, radius }: TrainOptions): HeadConfig {
  switch (loss) {
    case 'softmax':
      return { loss };
    case 'w-softmax':
      return { loss, operator };
    case 'a-softmax':
      return { loss, margin, annealing };
    case 'ga-softmax':
      return { loss, operator, margin, annealing };
    case 's-softmax':
      if (radius === undefined) throw new OptionError('radius', '--loss s-softmax needs --radius');
      return { loss, operator, radius };
  }
}

/** Options that would have no effect are refused. */
function requireFitting(options: TrainOptions): void {
  const { network, loss } = options;
  for (const name of sphereOptions) {
    if (network === 'plain' && options[name] !== undefined) {
      throw new OptionError(name, `--${name} belongs to --network sphere, but the network is plain`);
    }
  }
  for (const [name, owners] of Object.entries(lossOptions) as [keyof typeof lossOptions, readonly Loss[]][]) {
    if (options[name] === undefined || owners.includes(loss)) continue;
    const flag = name === 'lossOperator' ? '--loss-operator' : `--${name}`;
    throw new OptionError(name, `${flag} belongs to --loss ${owners.join(' or ')}, but the loss is ${loss}`);
  }
}

/** Such as 2026-11-23T23-30-00. */
function timestamp(): string {
  return new Date().toISOString().slice(0, 19).replaceAll(':', '-');
}
