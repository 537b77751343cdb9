import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type DatasetSplits, evaluationLoader, subset } from '../data';
import type { Device } from '../device';
import { DataError } from '../errors';
import type { HeadConfig } from '../models';
import type { Point } from '../report';
import { evaluate, type FitResult, type TrainRecord } from '../train';
import { type ConvergenceSummary, type Evaluation, type NetworkCurve, saveConvergence } from './convergenceReport';
import { describeMachine } from '../machine';
import { recipes, withRecipe } from './recipe';
import { prepareTraining, type TrainingConfig } from './trainingRun';

/** A twin: all but the convolutions is the same. */
interface Twin {
  name: string;
  folder: string;
  convolution: TrainingConfig['model']['convolution'];
}

const twins: readonly Twin[] = [
  { name: 'plain CNN-9', folder: 'cnn9', convolution: 'plain' },
  { name: 'SphereNet-9', folder: 'spherenet9', convolution: { operator: 'sigmoid', k: 0.3 } },
];

/** Where a run of several networks stands. */
export interface RunProgress {
  network: string;
  /** Steps of all networks together. */
  step: number;
  steps: number;
  /** The last measured numbers of this network. */
  train: TrainRecord;
  /** A guess at what is left of the whole run. */
  secondsLeft: number;
}

export interface ConvergenceOptions {
  data: DatasetSplits;
  widths: [number, number, number];
  iterations: number;
  batchSize: number;
  evalEvery: number;
  /** Test images of the evaluations on the way; all of them are used at the end. */
  evalImages: number;
  loss: Extract<HeadConfig['loss'], 'softmax' | 'ga-softmax'>;
  seed: number;
  /** Where both networks are trained. Default: the default device. */
  device?: Device;
  /** Folder for logs, checkpoints, `summary.json`, `convergence.svg` and `convergence.png`. */
  output: string;
  /** Ends the run after the current step. */
  signal?: AbortSignal;
  onStep?: (progress: RunProgress) => void;
  onEvaluation?: (network: string, evaluation: Evaluation) => void;
}

/** The guess, until it is measured, at what the second network costs compared with the first. */
const guessedCost = 1.3;
const logEvery = 10;

/**
 * Trains plain CNN-9 and SphereNet-9 one after the other, from the same seed and on the same batches, and writes how
 * they converge. Returns null when the signal ended the run early.
 * @throws {OptionError | DataError} naming the option or file at fault.
 */
export async function runConvergence(options: ConvergenceOptions): Promise<ConvergenceSummary | null> {
  const { data, output, iterations, batchSize, widths, seed, loss, device } = options;
  await mkdir(output, { recursive: true }).catch((cause: unknown) => {
    throw new DataError('output', `cannot make the output folder ${output}: ${(cause as Error).message}`, { cause });
  });
  const networks: NetworkCurve[] = [];
  for (const [index, twin] of twins.entries()) {
    const curve = await trainTwin(twin, index, options);
    if (!curve) return null;
    networks.push(curve);
  }
  const dataset = data.train.name.replace(/ train$/, '');
  const summary = { machine: describeMachine(device), dataset, iterations, batchSize, widths, seed, loss, networks };
  await saveConvergence(summary, output);
  return summary;
}

async function trainTwin(twin: Twin, index: number, options: ConvergenceOptions): Promise<NetworkCurve | null> {
  const { data, iterations, batchSize, evalEvery, evalImages, output, device, signal, onEvaluation } = options;
  const started = performance.now();
  const images = Math.min(evalImages, data.test.count);
  const { model, trainer, dispose } = prepareTraining(twinConfig(twin, options), data, {
    evalLoader: evaluationLoader(subset(data.test, 0, images), batchSize),
    evalEvery,
    logEvery,
    output: join(output, twin.folder),
    device,
    signal,
    progress: false,
    callbacks: {
      ...stepReporter(twin.name, index, options),
      onEval: ({ iteration, loss, accuracy }) => {
        if (iteration < iterations) onEvaluation?.(twin.name, { iteration, loss, accuracy, images });
      },
    },
  });
  try {
    const result = await trainer.fit();
    if (result.interrupted) return null;
    const final = { iteration: iterations, images: data.test.count, ...(await evaluate(model, evaluationLoader(data.test, batchSize))) };
    onEvaluation?.(twin.name, final);
    return curveOf(twin.name, result, images, final, (performance.now() - started) / 1000);
  } finally {
    dispose();
  }
}

function twinConfig({ convolution }: Twin, { widths, loss, iterations, batchSize, seed }: ConvergenceOptions): TrainingConfig {
  return withRecipe(recipes.paper, {
    model: { network: 'cnn', depth: 9, widths, convolution, head: { loss } },
    iterations,
    batchSize,
    seed,
  });
}

/** Callbacks that tell where the whole run stands. */
function stepReporter(network: string, index: number, { iterations, onStep }: ConvergenceOptions) {
  const started = performance.now();
  let train: TrainRecord;
  return {
    onLog: (record: TrainRecord) => { train = record; },
    onStep: (iteration: number) => {
      const secondsPerStep = (performance.now() - started) / 1000 / iteration;
      const later = twins.length - 1 - index;
      onStep?.({
        network,
        step: index * iterations + iteration,
        steps: twins.length * iterations,
        train,
        secondsLeft: secondsPerStep * (iterations - iteration + later * guessedCost * iterations),
      });
    },
  };
}

function curveOf(
  name: string,
  { history, imagesPerSecond, peakMemory }: FitResult,
  images: number,
  final: Evaluation,
  seconds: number,
): NetworkCurve {
  const onTheWay = history.eval.filter(({ iteration }) => iteration < final.iteration);
  return {
    name,
    evaluations: [...onTheWay.map(({ iteration, loss, accuracy }) => ({ iteration, loss, accuracy, images })), final],
    trainingLoss: history.train.map(({ iteration, loss }): Point => [iteration, loss]),
    imagesPerSecond,
    peakBytes: peakMemory,
    seconds,
  };
}
