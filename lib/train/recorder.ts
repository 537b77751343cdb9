import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Device, deviceInfo, matmulPrecision, memoryStats, resetPeakMemory, synchronize } from '../device';
import { packageRoot } from '../native';
import type { LogEntry } from '../report/log';
import { warn } from '../warnings';
import { saveCheckpoint } from './checkpoint';
import type { Difference } from './differences';
import type { Evaluation } from './evaluate';
import type { CheckedOptions } from './options';
import { type Progress, startProgress } from './progress';
import type { CheckpointRecord, EvalRecord, FitResult, TrainRecord } from './records';
import { RunFolder } from './runFolder';
import type { Measures } from './step';

/**
 * Keeps the history of a training and times it; writes log, checkpoints and progress where this process is the writer.
 * Every `iteration` is the number of steps taken.
 */
export class Recorder {
  readonly #options: CheckedOptions;
  /** Where log and checkpoints are written; null where neither is. */
  readonly #folder: RunFolder | null;
  readonly #progressMode: boolean | 'auto';
  readonly #clock = new TrainingClock();
  readonly #history: FitResult['history'] = { train: [], eval: [] };
  #device: Device = 'cpu';
  #run: RunDescription | null = null;
  #bestAccuracy: number | null = null;
  #lastCheckpoint: string | null = null;
  /** Steps after which the last evaluation was made, and the last checkpoint written by this trainer. */
  #evaluatedAt: number | null = null;
  #savedAt: number | null = null;
  #hasLog = false;
  #progress: Progress | null = null;

  constructor(options: CheckedOptions) {
    const { writer, output, progress } = options;
    this.#options = options;
    // The only place that asks who writes.
    this.#folder = writer && output !== undefined ? new RunFolder(output) : null;
    this.#progressMode = writer && progress;
  }

  /** The last one written, or else the one resumed from. */
  get lastCheckpoint(): string | null {
    return this.#lastCheckpoint;
  }

  /** Whether an evaluation was made after the steps taken so far. */
  isEvaluated(iteration: number): boolean {
    return this.#evaluatedAt === iteration;
  }

  /** Whether a checkpoint was written after the steps taken so far. */
  isSaved(iteration: number): boolean {
    return this.#savedAt === iteration;
  }

  /**
   * Before a fit(): keeps other runs out of the folder.
   * @throws {DataError | OptionError} when they are there, or a run which is neither to be resumed nor replaced.
   */
  async hold(): Promise<void> {
    await this.#folder?.hold(this.#options);
  }

  /** After a fit(), also when it has failed. */
  async release(): Promise<void> {
    await this.#folder?.release();
  }

  /** Goes on from what the checkpoint at `path` says of the run. */
  restore(path: string, iteration: number, training: Record<string, unknown>): void {
    this.#bestAccuracy = training['bestAccuracy'] as number | null;
    this.#clock.secondsBefore = training['seconds'] as number;
    // Where it does not say so, the evaluation came before the checkpoint.
    const { evaluatedAt = iteration } = training;
    this.#evaluatedAt = evaluatedAt as number | null;
    this.#lastCheckpoint = path;
  }

  /**
   * Before the first step of a fit().
   * @param run Kept in log and checkpoints.
   * @param changes What the user has changed on purpose in a run that is resumed.
   * @throws {DataError} when the log cannot be written.
   */
  async begin(iteration: number, device: Device, run: RunDescription, changes: readonly Difference[]): Promise<void> {
    this.#device = device;
    this.#run = run;
    resetPeakMemory(device);
    const damagedLine = await this.#openLog(iteration);
    await this.#write({ event: 'start', iteration, ...run });
    if (damagedLine !== null) await this.#write({ event: 'damaged', iteration, line: damagedLine });
    if (changes.length > 0) {
      await this.#write({ event: 'change', iteration, changes: changes.map(({ path, theirs, ours }) => ({ option: path, from: theirs, to: ours })) });
    }
    this.#progress = startProgress(this.#progressMode, iteration, this.#options.iterations);
    this.#clock.start();
  }

  /** Returns the line from which on the log was damaged and has been cut off, or null. */
  async #openLog(iteration: number): Promise<number | null> {
    if (!this.#folder) return null;
    const { log } = this.#folder;
    await this.#folder.begin();
    if (this.#hasLog) {
      await log.reopen();
      return null;
    }
    // What a killed run has written beyond its last checkpoint comes again.
    const { entries, damagedLine } = await log.open(({ event, iteration: at }) => {
      return (at as number) < iteration || (at === iteration && (event !== 'eval' || this.isEvaluated(iteration)));
    });
    this.#hasLog = true;
    if (damagedLine === null) return null;
    warn(
      'SPHERENET_DAMAGED_LOG',
      `${log.path} was damaged from line ${damagedLine} on, and has been cut off there; the rest is in ${log.damagedPath}; training goes on`,
    );
    if (!entries.some(({ event, iteration: at }) => event === 'eval' && at === iteration)) this.#evaluatedAt = null;
    return damagedLine;
  }

  async #write(entry: LogEntry): Promise<void> {
    await this.#folder?.log.write(entry);
  }

  /** After each step. @param measures What the step has measured; null where it was no log step. */
  async recordStep(iteration: number, images: number, measures: Measures | null): Promise<void> {
    this.#clock.count(images);
    if (measures) await this.pausing(() => this.#recordMeasures(iteration, measures));
    const shown = this.#history.train.at(-1);
    if (shown) this.#progress?.update({ ...shown, iteration });
  }

  async #recordMeasures(iteration: number, { loss, penalty, accuracy, theta, gradientNorm }: Measures): Promise<void> {
    const { optimizer, model, callbacks } = this.#options;
    const { lambda } = model.head;
    const record: TrainRecord = {
      iteration,
      seconds: this.#clock.seconds,
      loss,
      ...(penalty === undefined ? {} : { penalty }),
      accuracy,
      learningRate: optimizer.learningRate,
      gradientNorm,
      imagesPerSecond: this.#clock.nextRecord(),
      ...(lambda === null ? {} : { lambda }),
      ...(theta === undefined ? {} : { meanThetaRadians: theta, meanThetaDegrees: (theta * 180) / Math.PI }),
    };
    this.#history.train.push(record);
    await this.#write({ event: 'train', ...record });
    await callbacks.onLog?.(record);
  }

  async recordEvaluation(iteration: number, evaluation: Evaluation): Promise<void> {
    const record: EvalRecord = { iteration, seconds: this.#clock.seconds, ...evaluation };
    this.#bestAccuracy = Math.max(this.#bestAccuracy ?? 0, evaluation.accuracy);
    this.#evaluatedAt = iteration;
    this.#history.eval.push(record);
    await this.#write({ event: 'eval', ...record });
    await this.#options.callbacks.onEval?.(record);
  }

  /**
   * Where this process writes. A second one after the same step, when it has been evaluated, takes the place of the first
   * without a word.
   * @throws {CheckpointError} when the checkpoint cannot be written.
   */
  async writeCheckpoint(iteration: number): Promise<void> {
    if (!this.#folder) return;
    const { model, optimizer, callbacks } = this.#options;
    const { checkpoint: path } = this.#folder;
    const standing = { bestAccuracy: this.#bestAccuracy, evaluatedAt: this.#evaluatedAt, seconds: this.#clock.seconds };
    await saveCheckpoint(path, { model, optimizer, iteration, training: { ...this.#run, ...standing } });
    this.#lastCheckpoint = path;
    if (this.isSaved(iteration)) return;
    this.#savedAt = iteration;
    await this.#folder.dropFormer();
    const record: CheckpointRecord = { iteration, path };
    await this.#write({ event: 'checkpoint', ...record });
    await callbacks.onCheckpoint?.(record);
  }

  /** Runs what is no training, its time left out. What the device has still to do before it counts as training. */
  async pausing(action: () => Promise<void>): Promise<void> {
    synchronize(this.#device);
    this.#clock.count(0);
    try {
      await action();
    } finally {
      this.#clock.start();
    }
  }

  /** After the last step of a fit(), also when it has failed. */
  stopProgress(): void {
    this.#progress?.stop();
  }

  /** After a fit() that has not failed. */
  async end(iteration: number, interrupted: boolean): Promise<FitResult> {
    synchronize(this.#device);
    this.#clock.count(0);
    const result: FitResult = {
      iterations: iteration,
      history: this.#history,
      bestAccuracy: this.#bestAccuracy,
      interrupted,
      checkpoint: this.#lastCheckpoint,
      imagesPerSecond: this.#clock.imagesPerSecond,
      peakMemory: memoryStats(this.#device).peak,
    };
    const { bestAccuracy, imagesPerSecond, peakMemory } = result;
    const event = interrupted ? 'interrupted' : 'end';
    await this.#write({ event, iteration, seconds: this.#clock.seconds, bestAccuracy, imagesPerSecond, peakMemory });
    return result;
  }
}

/** Counts images and the time of training. */
class TrainingClock {
  /** Of training in former runs. */
  secondsBefore = 0;
  readonly #total = { images: 0, seconds: 0 };
  #sinceRecord = { images: 0, seconds: 0 };
  /** Until when time has been counted, in milliseconds. */
  #countedUntil = 0;

  /** From now on time is training. */
  start(): void {
    this.#countedUntil = performance.now();
  }

  /** Counts images, and as training the time up to now. */
  count(images: number): void {
    const now = performance.now();
    for (const sum of [this.#sinceRecord, this.#total]) {
      sum.images += images;
      sum.seconds += (now - this.#countedUntil) / 1000;
    }
    this.#countedUntil = now;
  }

  /** Returns the images per second since the call before. */
  nextRecord(): number {
    const { images, seconds } = this.#sinceRecord;
    this.#sinceRecord = { images: 0, seconds: 0 };
    return images / seconds;
  }

  get seconds(): number {
    return this.secondsBefore + this.#total.seconds;
  }

  /** Without former runs. */
  get imagesPerSecond(): number {
    const { images, seconds } = this.#total;
    return seconds > 0 ? images / seconds : 0;
  }
}

/** The run and all that decides its result, for the log and the checkpoint. */
export function describeRun(options: CheckedOptions, device: Device) {
  const { model, optimizer, schedule, regularizer, loader, iterations, maxGradNorm, cudaGraph, note } = options;
  const { onednn, isa, threads, cuda } = deviceInfo();
  return {
    config: model.config,
    optimizer: optimizer.constructor.name,
    dataset: loader.dataset.name,
    images: loader.dataset.count,
    classes: loader.dataset.classes,
    seed: loader.seed,
    batchSize: loader.batchSize,
    iterations,
    settings: {
      optimizer: optimizer.settings(),
      schedule: schedule.settings?.(),
      regularizer: regularizer ? regularizer.settings?.() : null,
      loader: loader.settings?.(),
      maxGradNorm: maxGradNorm ?? null,
    },
    ...(note && { note }),
    device,
    ...(device === 'cuda' ? { gpu: cuda.name, precision: matmulPrecision(), cudaGraph } : {}),
    versions: { spherenet: packageVersion(), node: process.versions.node, onednn },
    isa,
    threads,
  };
}

export type RunDescription = ReturnType<typeof describeRun>;

function packageVersion(): string {
  const description = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string };
  return description.version;
}
