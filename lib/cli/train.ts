import { dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { type AugmentationName, augmentationNames, evaluationLoader } from '../data';
import { isAddress } from '../data/download';
import { OptionError } from '../errors';
import { type ConvolutionConfig, learnables, networkNames } from '../models';
import { networkDescriptions, networkPreset } from '../models/registry';
import { type AngularOperator, angularOperators } from '../ops';
import { commonTraining, recipes } from '../paper/recipe';
import { type OptimizerName, optimizerNames, paperMilestones, prepareTraining, type TrainingConfig } from '../paper/trainingRun';
import { formatBytes, formatCount, formatPercent, formatSignificant } from '../report';
import { type FitResult, loadWeights } from '../train';
import { readStanding } from '../train/checkpoint';
import { warn } from '../warnings';
import { addDataOptions, type DataOptions, loadData, sourceFlags } from './dataOptions';
import { addTrainingDeviceOptions, type TrainingDeviceOptions, useTrainingDevice } from './deviceOptions';
import { abortOnInterrupt, interruptedCode, resumeCommand } from './interrupt';
import { addLossOptions, headConfig, lossFlags, type LossOptions } from './lossOptions';
import { atLeastOne, choiceOption, jsonOption, listOption, numberIn, numberOption } from './options';
import { printResult } from './output';
import { addRegularizerOptions, regularizerConfig, regularizerFlags, type RegularizerOptions } from './regularizerOptions';

const convolutions = ['sphere', 'plain'] as const;

interface TrainOptions extends DataOptions, TrainingDeviceOptions {
  network: string;
  convolution: (typeof convolutions)[number];
  widths?: number[];
  operator?: AngularOperator;
  k?: number;
  learnable?: (typeof learnables)[number];
  batchNorm: boolean;
  sphereNorm?: ('learned' | number)[];
  relu: boolean;
  iterations: number;
  batchSize: number;
  learningRate: number;
  milestones?: number[];
  optimizer: OptimizerName;
  weightDecay: number;
  normDecay: number;
  augment: AugmentationName;
  seed: number;
  evalEvery: number;
  logEvery: number;
  checkpointEvery: number;
  output?: string;
  overwrite?: boolean;
  finetune?: string;
  resume?: string;
  change?: string[];
  json?: boolean;
}

/** What a command line says for itself; a resumed run takes all else that it does not say from the checkpoint. */
const ofOneCommand: readonly string[] = [
  'device', 'precision', 'cudaGraph', 'cache', 'output', 'overwrite', 'finetune', 'resume', 'change', 'json',
] satisfies (keyof TrainOptions)[];

type AllOptions = TrainOptions & LossOptions & RegularizerOptions;

/** Options that only a SphereNet has. */
const sphereOptions = ['operator', 'k', 'learnable', 'regularizer'] as const;

const examples = `
The defaults are the paper's for CIFAR-10, but for the iterations: the paper takes 64000.

Examples:
  $ spherenet train
  $ spherenet train --loss ga-softmax --margin 4 --output runs/ga
  $ spherenet train --convolution plain --widths 16,32,48 --iterations 2000
  $ spherenet train --data mnist --network cnn3 --learnable layer --augment none
  $ spherenet train --data folder --source ~/pets --image-size 64 --augment random-resized
  $ spherenet train --loss s-softmax --radius 30 --learning-rate 1e-4 --finetune runs/softmax/last.safetensors
  $ spherenet train --resume runs/ga/last.safetensors
  $ spherenet train --resume runs/ga/last.safetensors --learning-rate 1e-4 --change learning-rate`;

export function define(command: Command): void {
  addNetworkOptions(command);
  addLossOptions(command);
  addRegularizerOptions(command);
  addDataOptions(command);
  addOptimizationOptions(command);
  addRunOptions(command).addOption(jsonOption()).addHelpText('after', examples).action(run);
}

function addNetworkOptions(command: Command): void {
  command
    .addOption(choiceOption('--network <name>', networkDescriptions.join('; '), networkNames, 'cnn9'))
    .addOption(choiceOption('--convolution <kind>', 'sphere: SphereConvs, which make a SphereNet; plain: its twin', convolutions, 'sphere'))
    .addOption(listOption('--widths <list>', 'filters of each stage (default: those of the network)', numberIn(atLeastOne)))
    .addOption(choiceOption('--operator <name>', 'angular function of the SphereConvs (default: sigmoid)', angularOperators))
    .addOption(numberOption('--k <number>', 'curvature of the sigmoid (default: 0.3)', { above: 0 }))
    .addOption(choiceOption('--learnable <scope>', 'learn one k for each of these (default: none)', learnables))
    .option('--no-batch-norm', 'leave out BatchNorm; with SphereConvs, SphereNorm alone (cnn only)')
    .addOption(listOption('--sphere-norm <beta,gamma>', 'rescale SphereConvs; each "learned" or a number (cnn only)', coefficient))
    .option('--no-relu', 'leave out the ReLUs (cnn only)');
}

function addOptimizationOptions(command: Command): void {
  command
    .addOption(numberOption('--iterations <count>', 'steps', atLeastOne, 10_000))
    .addOption(numberOption('--batch-size <count>', 'images a step', atLeastOne, 128))
    .addOption(choiceOption('--optimizer <name>', 'sgd has a momentum of 0.9', optimizerNames, commonTraining.optimizer))
    .addOption(numberOption('--learning-rate <number>', 'at first', { above: 0 }, commonTraining.learningRate))
    .addOption(
      listOption('--milestones <list>', 'steps that divide the rate by 10 (default: at 53 and 84 %)', numberIn(atLeastOne)),
    )
    .addOption(numberOption('--weight-decay <number>', 'L2 penalty on weights of plain layers', { min: 0 }, commonTraining.weightDecay))
    .addOption(numberOption('--norm-decay <number>', 'L2 penalty on gamma and beta of BatchNorm', { min: 0 }, recipes.paper.normDecay))
    .addOption(choiceOption(
      '--augment <name>', 'flip: left-right; full: also random crops; random-resized: of any size', augmentationNames, commonTraining.augment,
    ))
    .addOption(numberOption('--seed <number>', 'of weights, order and augmentation', { min: 0, integer: true }, 0));
}

function addRunOptions(command: Command): Command {
  command
    .addOption(numberOption('--eval-every <count>', 'steps between evaluations', atLeastOne, 1000))
    .addOption(numberOption('--log-every <count>', 'steps between lines of the log', atLeastOne, 50))
    .addOption(numberOption('--checkpoint-every <count>', 'steps between checkpoints', atLeastOne, 500))
    .option('--output <folder>', 'for log.jsonl and last.safetensors (default: runs/<time>, or that of --resume)')
    .option('--finetune <checkpoint>', 'begin with the weights of this file; the loss may be another')
    .option('--overwrite', 'replace the run that is in the output folder')
    .option('--resume <checkpoint>', 'go on from this file, with its options where none are given')
    .addOption(listOption('--change <list>', 'options that may differ from those of the run that is resumed', (_, text) => camelCase(text)));
  return addTrainingDeviceOptions(command);
}

async function run(given: AllOptions, command: Command): Promise<void> {
  const options = given.resume === undefined ? given : await resumedOptions(given, given.resume, command);
  const config = trainingConfig(options);
  const output = options.output ?? (options.resume ? dirname(options.resume) : join('runs', timestamp()));
  const device = useTrainingDevice(options);
  const { evalEvery, logEvery, checkpointEvery, finetune, overwrite, resume, change, cudaGraph } = options;
  const splits = await loadData(options);
  // Until here there is nothing to save.
  const signal = abortOnInterrupt();
  const { model, trainer } = prepareTraining(config, splits, {
    evalLoader: evaluationLoader(splits.test, config.batchSize),
    evalEvery,
    logEvery,
    checkpointEvery,
    output,
    overwrite,
    resume,
    change,
    note: { options: keptOptions(options, config) },
    device,
    cudaGraph,
    signal,
    progress: true,
  });
  // A resumed run has its own weights.
  if (finetune !== undefined && resume === undefined) await loadWeights(finetune, model);
  process.stderr.write(`Training on ${device} for ${formatCount(config.iterations)} steps; log and checkpoints in ${output}\n`);
  const result = await trainer.fit();
  report(result, output, options);
  if (result.interrupted) process.exitCode = interruptedCode(signal);
}

/** What the checkpoint keeps of the command line. The milestones follow from the iterations of the first run. */
function keptOptions(options: AllOptions, { milestones }: TrainingConfig): object {
  const { source } = options;
  const kept = { ...options, milestones, source: source && !isAddress(source) ? resolve(source) : source };
  return Object.fromEntries(Object.entries(kept).filter(([name]) => !ofOneCommand.includes(name)));
}

/** What belongs to a choice: where another one is made, the checkpoint's options of the former one are left out. */
const ofChoice: Record<string, readonly string[]> = {
  data: sourceFlags, loss: lossFlags, regularizer: regularizerFlags, convolution: [...sphereOptions, ...regularizerFlags],
};

/** What is given, and of the rest what the checkpoint keeps. */
async function resumedOptions(given: AllOptions, checkpoint: string, command: Command): Promise<AllOptions> {
  const { training } = await readStanding(checkpoint);
  const kept = (training as { note?: { options?: Record<string, unknown> } }).note?.options ?? ofFormerVersion(checkpoint, training);
  const own = Object.fromEntries(Object.entries(given).filter(([name]) => command.getOptionValueSource(name) === 'cli'));
  const replaced = Object.keys(ofChoice).filter((choice) => choice in own && own[choice] !== kept[choice]);
  const dropped = new Set(replaced.flatMap((choice) => ofChoice[choice]));
  return { ...given, ...Object.fromEntries(Object.entries(kept).filter(([name]) => !dropped.has(name))), ...own };
}

function ofFormerVersion(checkpoint: string, { iterations, batchSize, seed }: Record<string, unknown>): Record<string, unknown> {
  warn('SPHERENET_UNKNOWN_OPTIONS', `${checkpoint} does not tell all options of its run: those that are not given now are the defaults`);
  return { iterations, batchSize, seed };
}

/** `learning-rate` as the checkpoint has it. */
function camelCase(name: string): string {
  return name.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function report(result: FitResult, output: string, { json }: TrainOptions): void {
  const { history, interrupted, checkpoint } = result;
  const resume = interrupted && checkpoint !== null ? resumeCommand(checkpoint) : undefined;
  printResult({ ...result, history: undefined, evaluation: history.eval.at(-1) ?? null, output, resume }, json, () => asText(result));
  if (resume === undefined) return;
  process.stderr.write(`Interrupted after ${formatCount(result.iterations)} steps. To go on:\n  ${resume}\n`);
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

function trainingConfig(options: AllOptions): TrainingConfig {
  requireFitting(options);
  const { network, widths, iterations, batchSize, learningRate, optimizer, weightDecay, normDecay, augment, seed } = options;
  const { milestones = paperMilestones(iterations) } = options;
  // Of a plain network there is nothing to regularise, and a flag of a regularizer is refused.
  const regularizer = regularizerConfig(options.convolution === 'sphere' ? options : { ...options, regularizer: 'none' });
  return {
    model: {
      ...networkPreset(network).options,
      widths,
      convolution: convolutionConfig(options),
      ...normalizationConfig(options),
      head: headConfig(options),
      // The network itself says so where there are not as many widths as it has stages.
    } as TrainingConfig['model'],
    iterations, batchSize, learningRate, milestones, optimizer, weightDecay, normDecay, regularizer, augment, seed,
  };
}

function convolutionConfig({ convolution, operator, k, learnable }: TrainOptions): ConvolutionConfig {
  return convolution === 'plain' ? 'plain' : { operator, k, learnable };
}

/** What was asked for, so that networks without these options refuse them. */
function normalizationConfig({ batchNorm, sphereNorm, relu }: TrainOptions): object {
  return {
    ...(!batchNorm && { batchNorm }),
    ...(sphereNorm && { sphereNorm: sphereNormConfig(sphereNorm) }),
    ...(!relu && { relu }),
  };
}

function sphereNormConfig(coefficients: ('learned' | number)[]): object {
  if (coefficients.length !== 2) {
    throw new OptionError('sphereNorm', `--sphere-norm must be beta and gamma, such as learned,0, but got ${coefficients.length} of them`);
  }
  const [beta, gamma] = coefficients;
  return { beta, gamma };
}

/** `learned`, or a fixed number. */
function coefficient(flag: string, text: string): 'learned' | number {
  return text === 'learned' ? text : numberIn({})(flag, text);
}

/** Options that would have no effect are refused. */
function requireFitting(options: AllOptions): void {
  if (options.convolution === 'sphere') return;
  for (const name of sphereOptions) {
    if (options[name] === undefined) continue;
    throw new OptionError(name, `--${name} belongs to --convolution sphere, but the convolution is ${options.convolution}`);
  }
}

/** Such as 2026-11-23T23-30-00. */
function timestamp(): string {
  return new Date().toISOString().slice(0, 19).replaceAll(':', '-');
}
