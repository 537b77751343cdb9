import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Batch, DataLoader } from '../data/loader';
import {
  type Device, type DeviceChoice, deviceInfo, matmulPrecision, memoryStats, resetPeakMemory, resolveDevice, synchronize,
} from '../device';
import { CheckpointError, DataError, describe, OptionError, requireKnownKeys, requireNumber, requireOneOf } from '../errors';
import type { Classifier } from '../models';
import { native, packageRoot } from '../native';
import type { Module } from '../nn';
import { deviceOf } from '../nn/module';
import { add, countCorrect } from '../ops';
import { requireBoolean } from '../ops/checks';
import { clipGradNorm, gradientNorm, type Optimizer, type Schedule } from '../optim';
import { Tensor, tidy } from '../tensor';
import { CapturedStep, type StepResults } from './capturedStep';
import { loadCheckpoint, saveCheckpoint, type Standing } from './checkpoint';
import { evaluate, type Evaluation } from './evaluate';
import { TrainingLog } from './log';
import { type Progress, startProgress } from './progress';

/** What is measured at a log step, on the batch of that step and before its update. */
export interface TrainRecord {
  /** Steps taken, this one included. */
  iteration: number;
  /** Of training, former runs included; without evaluation and checkpoints. */
  seconds: number;
  loss: number;
  /** What the regularizer adds to the loss. */
  penalty?: number;
  /** 0 to 1. */
  accuracy: number;
  learningRate: number;
  gradientNorm: number;
  /** Since the record before. */
  imagesPerSecond: number;
  /** Weight of the logit without margin, where an angular loss anneals its margin. */
  lambda?: number;
  /** Mean angle between features and the weights of their true class, where the loss is angular. */
  meanThetaRadians?: number;
  meanThetaDegrees?: number;
}

export interface EvalRecord extends Evaluation {
  iteration: number;
  seconds: number;
}

export interface CheckpointRecord {
  iteration: number;
  path: string;
}

/** Called, and awaited, between two steps. */
export interface TrainerCallbacks {
  onStep?: (iteration: number) => void | Promise<void>;
  onLog?: (record: TrainRecord) => void | Promise<void>;
  onEval?: (record: EvalRecord) => void | Promise<void>;
  onCheckpoint?: (record: CheckpointRecord) => void | Promise<void>;
}

/** Adds a penalty on the model's parameters to the loss, as OrthogonalityRegularizer does. */
export interface Regularizer {
  forward(model: Module): Tensor;
}

export interface TrainerOptions {
  model: Classifier;
  optimizer: Optimizer;
  schedule: Schedule;
  regularizer?: Regularizer;
  loader: DataLoader;
  evalLoader?: DataLoader;
  /** Steps of the whole run. */
  iterations: number;
  /** Steps from one evaluation to the next. Default: one evaluation at the end. */
  evalEvery?: number;
  /** Steps from one record to the next. Default 50. */
  logEvery?: number;
  /** Steps from one checkpoint to the next. Default: one checkpoint at the end. */
  checkpointEvery?: number;
  /** Folder for `log.jsonl` and `last.safetensors`. Default: neither is written. */
  output?: string;
  /** Checkpoint to go on from. */
  resume?: string;
  /** Where to train: the model is moved there at once, and the loaders make their batches there. Default: where it is. */
  device?: DeviceChoice;
  /**
   * Gradients are scaled so that their norm is at most this, greater than 0. Default: they are not. On cuda every step
   * then waits for the norm.
   */
  maxGradNorm?: number;
  /**
   * Captures forward and backward into a CUDA graph and replays it with each batch, which spares the host its work of
   * submitting them: for cuda, without maxGradNorm, and for batches of one size. Each fit() captures after two ordinary
   * steps, and releases the graph together with the gradients. docs/cuda.md tells the limits. Default false.
   */
  cudaGraph?: boolean;
  callbacks?: TrainerCallbacks;
  /** Ends the run after the current step, with a checkpoint. */
  signal?: AbortSignal;
  /** A bar on stderr where that is a terminal. Elsewhere true writes lines, 'auto' nothing. Default 'auto'. */
  progress?: boolean | 'auto';
}

export interface FitResult {
  /** Steps taken, those of resumed runs included. */
  iterations: number;
  /** The records of this trainer. */
  history: { train: TrainRecord[]; eval: EvalRecord[] };
  /** Of all evaluations, former runs included; null without any. */
  bestAccuracy: number | null;
  /** Whether the signal ended the run before all its steps. */
  interrupted: boolean;
  /** The last checkpoint written; null without one. */
  checkpoint: string | null;
  /** Of training, without evaluation and checkpoints. */
  imagesPerSecond: number;
  /** Most bytes that live tensors held at one time on the device of training. */
  peakMemory: number;
}

const optionKeys = [
  'model', 'optimizer', 'schedule', 'regularizer', 'loader', 'evalLoader', 'iterations', 'evalEvery', 'logEvery',
  'checkpointEvery', 'output', 'resume', 'device', 'maxGradNorm', 'cudaGraph', 'callbacks', 'signal', 'progress',
] as const;

const DEFAULT_LOG_EVERY = 50;
/** Ordinary steps before a capture: what is made on first use is there then. */
const STEPS_BEFORE_CAPTURE = 2;

type CheckedOptions = TrainerOptions & Required<Pick<TrainerOptions, 'logEvery' | 'cudaGraph' | 'callbacks' | 'progress'>>;

function checkOptions(options: TrainerOptions): CheckedOptions {
  requireKnownKeys('Trainer', options, optionKeys);
  const { evalLoader, evalEvery, checkpointEvery, output, maxGradNorm, progress = 'auto', callbacks = {} } = options;
  const logEvery = options.logEvery ?? DEFAULT_LOG_EVERY;
  const cudaGraph = requireBoolean('cudaGraph', options.cudaGraph ?? false);
  for (const name of ['model', 'optimizer', 'schedule', 'loader'] as const) {
    if (typeof options[name] !== 'object') throw new OptionError(name, `Trainer needs a ${name}, but got ${describe(options[name])}`);
  }
  requireNumber('iterations', options.iterations, { min: 1, integer: true });
  for (const [name, value] of Object.entries({ evalEvery, logEvery, checkpointEvery })) {
    if (value !== undefined) requireNumber(name, value, { min: 1, integer: true });
  }
  if (maxGradNorm !== undefined) requireNumber('maxGradNorm', maxGradNorm, { above: 0 });
  if (evalEvery !== undefined && !evalLoader) throw new OptionError('evalEvery', 'evalEvery needs an evalLoader');
  if (checkpointEvery !== undefined && output === undefined) {
    throw new OptionError('checkpointEvery', 'checkpointEvery needs an output folder');
  }
  if (typeof progress !== 'boolean') requireOneOf('progress', progress, ['auto']);
  requireKnownKeys('callbacks', callbacks, ['onStep', 'onLog', 'onEval', 'onCheckpoint']);
  if (cudaGraph) requireCapturable(options);
  return { ...options, logEvery, cudaGraph, progress, callbacks };
}

/** @throws {OptionError} when forward and backward cannot be a CUDA graph. */
function requireCapturable({ model, device, loader, maxGradNorm }: TrainerOptions): void {
  requireCuda(device === undefined ? deviceOf(model) : resolveDevice(device));
  if (maxGradNorm !== undefined) {
    throw new OptionError('cudaGraph', 'cudaGraph cannot be combined with maxGradNorm, for which the host reads a norm at every step');
  }
  if (loader.batchesPerEpoch * loader.batchSize > loader.dataset.count) {
    throw new OptionError('cudaGraph', 'cudaGraph needs batches of one size; with dropLast false the last one of an epoch is smaller');
  }
}

function requireCuda(device: Device): void {
  if (device !== 'cuda') throw new OptionError('cudaGraph', `cudaGraph needs a model that trains on cuda, but it trains on ${device}`);
}

/**
 * Trains a classifier: `await new Trainer({ model, optimizer, schedule, loader, iterations }).fit()`.
 *
 * Every step runs in a `tidy()` scope, and the event loop gets its turn between steps. The same seeds and thread count
 * give the same weights bit for bit, also when the run was interrupted and resumed.
 *
 * On cuda a step is submitted, not waited for, but for the steps that measure: the device works while the next steps
 * come in.
 */
export class Trainer {
  readonly #options: CheckedOptions;
  readonly #history: FitResult['history'] = { train: [], eval: [] };
  /** Of all training since the last record. */
  #sinceRecord = { images: 0, seconds: 0 };
  /** Of all training by this trainer. */
  #total = { images: 0, seconds: 0 };
  #secondsBefore = 0;
  /** Until when time has been counted, in milliseconds. */
  #countedUntil = 0;
  #device: Device = 'cpu';
  #iteration = 0;
  #bestAccuracy: number | null = null;
  #lastFiniteLoss: { iteration: number; loss: number } | null = null;
  #checkpoint: string | null = null;
  #restored = false;
  #running = false;
  #log: TrainingLog | null = null;
  /** Infinity where no step is captured. */
  #stepsBeforeCapture = Infinity;
  #captured: CapturedStep | null = null;

  /** @throws {OptionError | DeviceError} naming the option at fault. */
  constructor(options: TrainerOptions) {
    this.#options = checkOptions(options);
    const { device, model } = this.#options;
    if (device !== undefined) model.to(device);
  }

  /** Steps taken. */
  get iteration(): number {
    return this.#iteration;
  }

  /**
   * Trains up to `iterations`, from where the checkpoint to resume or a former call has left off.
   * @throws {DataError} when the loss is no longer finite, or the log cannot be written.
   * @throws {CheckpointError} when a checkpoint cannot be written or restored; calling fit() again goes on.
   * @throws {DeviceError | ShapeError} with cudaGraph, when a step needs memory of the host, or a batch has another shape.
   */
  async fit(): Promise<FitResult> {
    if (this.#running) throw new OptionError('fit', 'fit() is already running');
    this.#running = true;
    try {
      return await this.#run();
    } finally {
      this.#running = false;
      this.#releaseCapture();
      this.#options.loader.close();
    }
  }

  async #run(): Promise<FitResult> {
    const { iterations, signal, progress: mode } = this.#options;
    await this.#begin();
    const progress = startProgress(mode, this.#iteration, iterations);
    this.#countedUntil = performance.now();
    try {
      while (this.#iteration < iterations && !signal?.aborted) {
        await this.#advance(progress);
        await nextTurn();
      }
    } finally {
      progress.stop();
    }
    return this.#end(this.#iteration < iterations);
  }

  async #begin(): Promise<void> {
    const { resume, output, model, cudaGraph } = this.#options;
    this.#device = deviceOf(model);
    if (cudaGraph) {
      requireCuda(this.#device);
      this.#stepsBeforeCapture = STEPS_BEFORE_CAPTURE;
    }
    if (resume !== undefined && !this.#restored) await this.#restore(resume);
    resetPeakMemory(this.#device);
    if (output === undefined) return;
    await mkdir(output, { recursive: true }).catch((cause: unknown) => {
      throw new DataError('output', `cannot make the output folder ${output}: ${(cause as Error).message}`, { cause });
    });
    this.#log = await TrainingLog.open(join(output, 'log.jsonl'), this.#iteration);
    await this.#log.write({ event: 'start', iteration: this.#iteration, ...this.#description() });
  }

  /** One step, and what is due after it. */
  async #advance(progress: Progress): Promise<void> {
    const { loader, logEvery, evalEvery, checkpointEvery, evalLoader, output, callbacks } = this.#options;
    const batch = await loader.to(this.#device).batch(this.#iteration);
    const measured = this.#step(batch, this.#isDue(this.#iteration + 1, logEvery) || this.#iteration === 0);
    this.#count(batch.indices.length);
    if (measured) await this.#pausing(() => this.#record(measured));
    const shown = this.#history.train.at(-1);
    if (shown) progress.update({ ...shown, iteration: this.#iteration });
    await callbacks.onStep?.(this.#iteration);
    if (evalLoader && this.#isDue(this.#iteration, evalEvery)) await this.#pausing(() => this.#recordEvaluation(evalLoader));
    if (output !== undefined && this.#isDue(this.#iteration, checkpointEvery)) await this.#pausing(() => this.#save(output));
  }

  #isDue(iteration: number, every: number | undefined): boolean {
    return iteration === this.#options.iterations || (every !== undefined && iteration % every === 0);
  }

  /** Counts images, and as training the time up to now. */
  #count(images: number): void {
    const now = performance.now();
    for (const sum of [this.#sinceRecord, this.#total]) {
      sum.images += images;
      sum.seconds += (now - this.#countedUntil) / 1000;
    }
    this.#countedUntil = now;
  }

  /** Runs what is no training, its time left out. What the device has still to do before it counts as training. */
  async #pausing(action: () => Promise<void>): Promise<void> {
    synchronize(this.#device);
    this.#count(0);
    await action();
    this.#countedUntil = performance.now();
  }

  get #seconds(): number {
    return this.#secondsBefore + this.#total.seconds;
  }

  /** Forward, backward and update. Reading results costs time, hence only at log steps. */
  #step(batch: Batch, measure: boolean): Measures | null {
    const { model, optimizer, schedule, maxGradNorm } = this.#options;
    return tidy(() => {
      model.train();
      model.head.atIteration(this.#iteration);
      optimizer.learningRate = schedule.learningRateAt(this.#iteration);
      const results = this.#forwardAndBackward(batch);
      const parameters = model.parameters();
      const clipped = maxGradNorm === undefined ? null : clipGradNorm(parameters, maxGradNorm);
      const measures = measure ? measuresOf(results, batch, clipped ?? gradientNorm(parameters)) : null;
      if (measures) this.#requireFinite(measures);
      optimizer.step();
      this.#iteration++;
      return measures;
    });
  }

  /** As a graph, once it has been captured. */
  #forwardAndBackward(batch: Batch): StepResults {
    if (this.#stepsBeforeCapture > 0) {
      this.#stepsBeforeCapture--;
      return this.#compute(batch);
    }
    if (!this.#captured?.fits) {
      this.#releaseCapture();
      this.#captured = new CapturedStep(this.#options.model, batch, (inputs) => this.#compute(inputs));
    }
    return this.#captured.run(batch);
  }

  #releaseCapture(): void {
    this.#captured?.dispose();
    this.#captured = null;
  }

  #compute({ images, labels }: Pick<Batch, 'images' | 'labels'>): StepResults {
    const { model, regularizer } = this.#options;
    const { loss, logits, theta } = model.forward(images, labels);
    const penalty = regularizer?.forward(model) ?? null;
    // Detached: backward() releases what it has used.
    const results = { loss: loss.detach(), penalty: penalty?.detach() ?? null, logits, theta };
    model.zeroGrad();
    (penalty ? add(loss, penalty) : loss).backward();
    return results;
  }

  #requireFinite({ loss, penalty, gradientNorm: norm }: Measures): void {
    const iteration = this.#iteration + 1;
    if (!Number.isFinite(loss)) throw this.#divergence(`loss is ${loss}`, iteration, norm);
    if (penalty !== undefined && !Number.isFinite(penalty)) throw this.#divergence(`the penalty is ${penalty}`, iteration, norm);
    if (!Number.isFinite(norm)) throw this.#divergence('the gradient is no longer finite', iteration, norm);
    this.#lastFiniteLoss = { iteration, loss };
  }

  #divergence(what: string, iteration: number, norm: number): DataError {
    const { optimizer, model, maxGradNorm } = this.#options;
    const last = this.#lastFiniteLoss;
    const remedies = [
      'a lower learning rate',
      maxGradNorm === undefined ? 'maxGradNorm' : 'a lower maxGradNorm',
      ...(model.head.lambda === null ? [] : ['a slower annealing of the margin']),
    ];
    return new DataError(
      'loss',
      [
        `${what} at iteration ${iteration} (learning rate ${optimizer.learningRate}, gradient norm ${norm};`,
        last ? `the last finite loss was ${last.loss} at iteration ${last.iteration}).` : 'it never was finite).',
        `Try ${remedies.slice(0, -1).join(', ')} or ${remedies.at(-1)}.`,
        this.#checkpoint === null ? '' : `The last checkpoint is ${this.#checkpoint}.`,
      ].join(' ').trimEnd(),
    );
  }

  async #record({ loss, penalty, accuracy, theta, gradientNorm: norm }: Measures): Promise<void> {
    const { optimizer, model, callbacks } = this.#options;
    const { lambda } = model.head;
    const { images, seconds } = this.#sinceRecord;
    this.#sinceRecord = { images: 0, seconds: 0 };
    const record: TrainRecord = {
      iteration: this.#iteration,
      seconds: this.#seconds,
      loss,
      ...(penalty === undefined ? {} : { penalty }),
      accuracy,
      learningRate: optimizer.learningRate,
      gradientNorm: norm,
      imagesPerSecond: images / seconds,
      ...(lambda === null ? {} : { lambda }),
      ...(theta === undefined ? {} : { meanThetaRadians: theta, meanThetaDegrees: (theta * 180) / Math.PI }),
    };
    this.#history.train.push(record);
    await this.#log?.write({ event: 'train', ...record });
    await callbacks.onLog?.(record);
  }

  async #recordEvaluation(loader: DataLoader): Promise<void> {
    const evaluation = await evaluate(this.#options.model, loader);
    const record: EvalRecord = { iteration: this.#iteration, seconds: this.#seconds, ...evaluation };
    this.#bestAccuracy = Math.max(this.#bestAccuracy ?? 0, evaluation.accuracy);
    this.#history.eval.push(record);
    await this.#log?.write({ event: 'eval', ...record });
    await this.#options.callbacks.onEval?.(record);
  }

  /**
   * Evaluates the model on all images of `evalLoader`.
   * @throws {OptionError} without an evalLoader.
   */
  async evaluate(): Promise<Evaluation> {
    const { model, evalLoader } = this.#options;
    if (!evalLoader) throw new OptionError('evalLoader', 'evaluate() needs an evalLoader');
    return evaluate(model, evalLoader);
  }

  async #save(output: string): Promise<void> {
    const { model, optimizer, callbacks } = this.#options;
    const parameters = model.parameters();
    if (!areFinite(parameters)) throw this.#divergence('weights are no longer finite', this.#iteration, gradientNorm(parameters));
    const path = join(output, 'last.safetensors');
    const training = { ...this.#description(), bestAccuracy: this.#bestAccuracy, seconds: this.#seconds };
    await saveCheckpoint(path, { model, optimizer, iteration: this.#iteration, training });
    this.#checkpoint = path;
    const record: CheckpointRecord = { iteration: this.#iteration, path };
    await this.#log?.write({ event: 'checkpoint', ...record });
    await callbacks.onCheckpoint?.(record);
  }

  async #restore(path: string): Promise<void> {
    const { model, optimizer } = this.#options;
    const { iteration, training } = await loadCheckpoint(path, { model, optimizer }, (standing) => {
      this.#requireSameRun(standing);
    });
    this.#iteration = iteration;
    this.#bestAccuracy = training['bestAccuracy'] as number | null;
    this.#secondsBefore = training['seconds'] as number;
    this.#checkpoint = path;
    this.#restored = true;
  }

  /** Another order of the images would be another run. */
  #requireSameRun({ iteration, training }: Standing): void {
    const own: Record<string, unknown> = this.#description();
    for (const key of ['dataset', 'seed', 'batchSize']) {
      if (training[key] === own[key]) continue;
      throw new CheckpointError(key, `${key} is ${describe(training[key])} in the checkpoint, but ${describe(own[key])} in this run`);
    }
    if (iteration > this.#options.iterations) {
      throw new CheckpointError('iterations', `it has taken ${iteration} steps, but iterations is ${this.#options.iterations}`);
    }
  }

  /** The run, for the log and the checkpoint. */
  #description() {
    const { model, optimizer, loader, iterations, cudaGraph } = this.#options;
    const { onednn, isa, threads, cuda } = deviceInfo();
    return {
      config: model.config,
      optimizer: optimizer.constructor.name,
      dataset: loader.dataset.name,
      seed: loader.seed,
      batchSize: loader.batchSize,
      iterations,
      device: this.#device,
      ...(this.#device === 'cuda' ? { gpu: cuda.name, precision: matmulPrecision(), cudaGraph } : {}),
      versions: { spherenet: packageVersion(), node: process.versions.node, onednn },
      isa,
      threads,
    };
  }

  async #end(interrupted: boolean): Promise<FitResult> {
    const { output } = this.#options;
    await this.#pausing(async () => {
      if (interrupted && output !== undefined) await this.#save(output);
    });
    const { images, seconds } = this.#total;
    const result: FitResult = {
      iterations: this.#iteration,
      history: this.#history,
      bestAccuracy: this.#bestAccuracy,
      interrupted,
      checkpoint: this.#checkpoint,
      imagesPerSecond: seconds > 0 ? images / seconds : 0,
      peakMemory: memoryStats(this.#device).peak,
    };
    const { iterations: iteration, bestAccuracy, imagesPerSecond, peakMemory } = result;
    const event = interrupted ? 'interrupted' : 'end';
    await this.#log?.write({ event, iteration, seconds: this.#seconds, bestAccuracy, imagesPerSecond, peakMemory });
    return result;
  }
}

/** Numbers read at a log step. */
interface Measures {
  loss: number;
  penalty: number | undefined;
  theta: number | undefined;
  accuracy: number;
  gradientNorm: number;
}

function measuresOf({ loss, penalty, logits, theta }: StepResults, { labels }: Batch, norm: number): Measures {
  return {
    loss: loss.item(),
    penalty: penalty?.item(),
    theta: theta?.item(),
    accuracy: countCorrect(logits, labels) / labels.size,
    gradientNorm: norm,
  };
}

function areFinite(tensors: readonly Tensor[]): boolean {
  using norm = tensors[0].newEmpty([]);
  native.globalNorm(tensors.map((each) => each.handle), norm.handle);
  return Number.isFinite(norm.item());
}

function packageVersion(): string {
  const description = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string };
  return description.version;
}
