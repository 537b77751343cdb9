import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Device } from '../device';
import { CheckpointError, describe, OptionError } from '../errors';
import { deviceOf } from '../nn/module';
import { loadCheckpoint, type Standing } from './checkpoint';
import { evaluate, type Evaluation } from './evaluate';
import { type CheckedOptions, checkOptions, type TrainerOptions } from './options';
import { describeRun, Recorder } from './recorder';
import type { FitResult } from './records';
import { TrainingStep } from './step';

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
  readonly #step: TrainingStep;
  readonly #recorder: Recorder;
  #device: Device = 'cpu';
  #iteration = 0;
  #restored = false;
  #running = false;

  /** @throws {OptionError | DeviceError} naming the option at fault. */
  constructor(options: TrainerOptions) {
    this.#options = checkOptions(options);
    this.#recorder = new Recorder(this.#options);
    this.#step = new TrainingStep(this.#options, () => this.#recorder.lastCheckpoint);
    const { device, model } = this.#options;
    if (device !== undefined) model.to(device);
  }

  /** Steps taken. */
  get iteration(): number {
    return this.#iteration;
  }

  /**
   * Trains up to `iterations`, from where the checkpoint to resume or a former call has left off. The model trains in the
   * modes that it has: a BatchNorm2d or Dropout switched to `eval()` stays so. One that is in evaluation as a whole, as
   * loadModel() returns it, is switched to training as a whole.
   * @throws {DataError} when the loss is no longer finite, or the log cannot be written.
   * @throws {CheckpointError} when a checkpoint cannot be written or restored; calling fit() again goes on.
   * @throws {OptionError} when it is already running, or gradientReducer is asynchronous.
   * @throws {DeviceError | ShapeError} with cudaGraph, when a step needs memory of the host, or a batch has another shape.
   */
  async fit(): Promise<FitResult> {
    if (this.#running) throw new OptionError('fit', 'fit() is already running');
    this.#running = true;
    try {
      return await this.#run();
    } finally {
      this.#running = false;
      this.#step.end();
      this.#options.loader.close();
    }
  }

  async #run(): Promise<FitResult> {
    const { iterations, signal } = this.#options;
    await this.#begin();
    try {
      while (this.#iteration < iterations && !signal?.aborted) {
        await this.#advance();
        await nextTurn();
      }
    } finally {
      this.#recorder.stopProgress();
    }
    return this.#end(this.#iteration < iterations);
  }

  async #begin(): Promise<void> {
    const { resume, model } = this.#options;
    this.#device = deviceOf(model);
    this.#step.begin(this.#device);
    if (resume !== undefined && !this.#restored) await this.#restore(resume);
    await this.#recorder.begin(this.#iteration, this.#device);
  }

  /** One step, and what is due after it. */
  async #advance(): Promise<void> {
    const { model, loader, logEvery, evalEvery, checkpointEvery, evalLoader, output, callbacks } = this.#options;
    const batch = await loader.to(this.#device).batch(this.#iteration);
    const measure = this.#iteration === 0 || this.#isDue(this.#iteration + 1, logEvery);
    const measures = this.#step.run(batch, this.#iteration, measure);
    this.#iteration++;
    await this.#recorder.recordStep(this.#iteration, batch.labels.size, measures);
    await callbacks.onStep?.(this.#iteration);
    if (evalLoader && this.#isDue(this.#iteration, evalEvery)) {
      await this.#recorder.pausing(async () => {
        await this.#recorder.recordEvaluation(this.#iteration, await evaluate(model, evalLoader));
      });
    }
    if (output !== undefined && this.#isDue(this.#iteration, checkpointEvery)) await this.#recorder.pausing(() => this.#save());
  }

  #isDue(iteration: number, every: number | undefined): boolean {
    return iteration === this.#options.iterations || (every !== undefined && iteration % every === 0);
  }

  /** Every process checks its weights, so that data-parallel ones fail together; the recorder knows whether to write. */
  async #save(): Promise<void> {
    this.#step.requireFiniteWeights(this.#iteration);
    await this.#recorder.writeCheckpoint(this.#iteration);
  }

  async #end(interrupted: boolean): Promise<FitResult> {
    await this.#recorder.pausing(async () => {
      if (interrupted && this.#options.output !== undefined) await this.#save();
    });
    return this.#recorder.end(this.#iteration, interrupted);
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

  async #restore(path: string): Promise<void> {
    const { model, optimizer } = this.#options;
    const { iteration, training } = await loadCheckpoint(path, { model, optimizer }, (standing) => {
      this.#requireSameRun(standing);
    });
    this.#iteration = iteration;
    this.#recorder.restore(path, training);
    this.#restored = true;
  }

  /** Another order of the images would be another run. */
  #requireSameRun({ iteration, training }: Standing): void {
    const own: Record<string, unknown> = describeRun(this.#options, this.#device);
    for (const key of ['dataset', 'images', 'seed', 'batchSize']) {
      // Checkpoints of version 0.1.0 do not say how many images there were.
      if (training[key] === own[key] || training[key] === undefined) continue;
      const [theirs, ours] = [training[key], own[key]].map(describe);
      throw new CheckpointError(key, `${key} is ${theirs} in the checkpoint, but ${ours} in this run`);
    }
    if (iteration > this.#options.iterations) {
      throw new CheckpointError('iterations', `it has taken ${iteration} steps, but iterations is ${this.#options.iterations}`);
    }
  }
}
