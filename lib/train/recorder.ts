import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Device, deviceInfo, matmulPrecision, memoryStats, resetPeakMemory, synchronize } from '../device';
import { DataError } from '../errors';
import { packageRoot } from '../native';
import { saveCheckpoint } from './checkpoint';
import type { Evaluation } from './evaluate';
import { TrainingLog } from './log';
import type { CheckedOptions } from './options';
import { type Progress, startProgress } from './progress';
import type { CheckpointRecord, EvalRecord, FitResult, TrainRecord } from './records';
import type { Measures } from './step';

/**
 * Keeps the history of a training and times it; writes log, checkpoints and progress where this process is the writer.
 * Every `iteration` is the number of steps taken.
 */
export class Recorder {
  readonly #options: CheckedOptions;
  /** Where log and checkpoints are written; undefined where neither is. */
  readonly #output: string | undefined;
  readonly #progressMode: boolean | 'auto';
  readonly #clock = new TrainingClock();
  readonly #history: FitResult['history'] = { train: [], eval: [] };
  #device: Device = 'cpu';
  #bestAccuracy: number | null = null;
  #lastCheckpoint: string | null = null;
  #log: TrainingLog | null = null;
  #progress: Progress | null = null;

  constructor(options: CheckedOptions) {
    const { writer, output, progress } = options;
    this.#options = options;
    // The only place that asks who writes.
    this.#output = writer ? output : undefined;
    this.#progressMode = writer && progress;
  }

  /** The last one written, or else the one resumed from. */
  get lastCheckpoint(): string | null {
    return this.#lastCheckpoint;
  }

  /** Goes on from what the checkpoint at `path` says of the run. */
  restore(path: string, training: Record<string, unknown>): void {
    this.#bestAccuracy = training['bestAccuracy'] as number | null;
    this.#clock.secondsBefore = training['seconds'] as number;
    this.#lastCheckpoint = path;
  }

  /** Before the first step of a fit(). @throws {DataError} when the log cannot be written. */
  async begin(iteration: number, device: Device): Promise<void> {
    this.#device = device;
    resetPeakMemory(device);
    if (this.#output !== undefined) this.#log = await openLog(this.#output, iteration);
    await this.#log?.write({ event: 'start', iteration, ...describeRun(this.#options, device) });
    this.#progress = startProgress(this.#progressMode, iteration, this.#options.iterations);
    this.#clock.start();
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
    await this.#log?.write({ event: 'train', ...record });
    await callbacks.onLog?.(record);
  }

  async recordEvaluation(iteration: number, evaluation: Evaluation): Promise<void> {
    const record: EvalRecord = { iteration, seconds: this.#clock.seconds, ...evaluation };
    this.#bestAccuracy = Math.max(this.#bestAccuracy ?? 0, evaluation.accuracy);
    this.#history.eval.push(record);
    await this.#log?.write({ event: 'eval', ...record });
    await this.#options.callbacks.onEval?.(record);
  }

  /** Where this process writes. @throws {CheckpointError} when the checkpoint cannot be written. */
  async writeCheckpoint(iteration: number): Promise<void> {
    if (this.#output === undefined) return;
    const { model, optimizer, callbacks } = this.#options;
    const path = join(this.#output, 'last.safetensors');
    const run = describeRun(this.#options, this.#device);
    const training = { ...run, bestAccuracy: this.#bestAccuracy, seconds: this.#clock.seconds };
    await saveCheckpoint(path, { model, optimizer, iteration, training });
    this.#lastCheckpoint = path;
    const record: CheckpointRecord = { iteration, path };
    await this.#log?.write({ event: 'checkpoint', ...record });
    await callbacks.onCheckpoint?.(record);
  }

  /** Runs what is no training, its time left out. What the device has still to do before it counts as training. */
  async pausing(action: () => Promise<void>): Promise<void> {
    synchronize(this.#device);
    this.#clock.count(0);
    await action();
    this.#clock.start();
  }

  /** After the last step of a fit(), also when it has failed. */
  stopProgress(): void {
    this.#progress?.stop();
  }

  /** After a fit() that has not failed. */
  async end(iteration: number, interrupted: boolean): Promise<FitResult> {
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
    await this.#log?.write({ event, iteration, seconds: this.#clock.seconds, bestAccuracy, imagesPerSecond, peakMemory });
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

/** The run, for the log and the checkpoint. */
export function describeRun({ model, optimizer, loader, iterations, cudaGraph }: CheckedOptions, device: Device) {
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
    device,
    ...(device === 'cuda' ? { gpu: cuda.name, precision: matmulPrecision(), cudaGraph } : {}),
    versions: { spherenet: packageVersion(), node: process.versions.node, onednn },
    isa,
    threads,
  };
}

function packageVersion(): string {
  const description = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string };
  return description.version;
}

async function openLog(output: string, iteration: number): Promise<TrainingLog> {
  await mkdir(output, { recursive: true }).catch((cause: unknown) => {
    throw new DataError('output', `cannot make the output folder ${output}: ${(cause as Error).message}`, { cause });
  });
  return TrainingLog.open(join(output, 'log.jsonl'), iteration);
}
