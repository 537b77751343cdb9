import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Device } from '../device';
import { CheckpointError, OptionError } from '../errors';
import { isNamed } from '../losses/regularizer';
import { deviceOf } from '../nn/module';
import { restoreCheckpoint, type Standing } from './checkpoint';
import { warnOfUnscaledPixels } from './checks';
import { type Difference, differences, differenceText } from './differences';
import { evaluate, type Evaluation } from './evaluate';
import { type CheckedOptions, checkOptions, type TrainerOptions } from './options';
import { describeRun, Recorder, type RunDescription } from './recorder';
import type { FitResult } from './records';
import { TrainingStep } from './step';

/** The moments in a checkpoint belong to parameters by their places in the groups. */
const fixedPath = 'optimizer.parameters';

/** How the user says that differences are on purpose: by their last names, where one alone has it. */
function changeHint(refused: readonly Difference[]): string {
  if (refused.some(({ path }) => path === fixedPath)) return 'the parameters of an optimizer and their order cannot be changed';
  const lastNames = refused.map(({ path }) => path.split('.').at(-1)!);
  const isUnique = (name: string) => lastNames.indexOf(name) === lastNames.lastIndexOf(name);
  const names = refused.map(({ path }, i) => (isUnique(lastNames[i]) ? lastNames[i] : path));
  const flags = names.map((name) => name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`));
  return `if that is on purpose, name it in change (--change ${flags.join(',')})`;
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
  readonly #step: TrainingStep;
  readonly #recorder: Recorder;
  #device: Device = 'cpu';
  #iteration = 0;
  #restored = false;
  #running = false;
  /** What the last step has left to be done; what fails stays due, for the next fit(). */
  readonly #due = { checkpoint: false, evaluation: false };

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
   * loadModel() returns it, is switched to training as a whole. When writing or evaluating has failed, calling fit() again
   * does that first, also after the last step. A checkpoint that is due is written before the evaluation of the same step,
   * and once more after it.
   * @throws {DataError} when the loss is no longer finite, the log cannot be written, or another run writes to the folder.
   * @throws {CheckpointError} when a checkpoint cannot be written or restored, or is of a run with other options, all named.
   * @throws {OptionError} when it is already running, gradientReducer is asynchronous, or the folder holds a run that is
   *   neither to be resumed nor overwritten.
   * @throws {DeviceError | ShapeError} with cudaGraph, when a step needs memory of the host, or a batch has another shape.
   */
  async fit(): Promise<FitResult> {
    if (this.#running) throw new OptionError('fit', 'fit() is already running');
    this.#running = true;
    try {
      await this.#recorder.hold();
      return await this.#run();
    } finally {
      try {
        this.#step.end();
        this.#options.loader.close();
      } finally {
        await this.#recorder.release();
        this.#running = false;
      }
    }
  }

  async #run(): Promise<FitResult> {
    const { iterations, signal } = this.#options;
    await this.#begin();
    try {
      await this.#saveIfDue();
      await this.#evaluateIfDue();
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
    const { resume, model, evalLoader, evalEvery, output } = this.#options;
    this.#device = deviceOf(model);
    this.#step.begin(this.#device);
    const run = describeRun(this.#options, this.#device);
    const isResumed = resume !== undefined && !this.#restored;
    const changes = isResumed ? await this.#restore(resume, run) : [];
    await this.#recorder.begin(this.#iteration, this.#device, run, changes);
    // The run was killed while it evaluated.
    if (isResumed && evalLoader && this.#iteration > 0 && !this.#recorder.isEvaluated(this.#iteration)) {
      this.#due.evaluation = this.#isDue(this.#iteration, evalEvery);
      this.#due.checkpoint = this.#due.evaluation && output !== undefined;
    }
  }

  /** One step, and what is due after it. */
  async #advance(): Promise<void> {
    const { loader, logEvery, evalEvery, checkpointEvery, evalLoader, output, callbacks } = this.#options;
    const batch = await loader.to(this.#device).batch(this.#iteration);
    if (this.#iteration === 0) warnOfUnscaledPixels(batch);
    const measure = this.#iteration === 0 || this.#isDue(this.#iteration + 1, logEvery);
    const measures = this.#step.run(batch, this.#iteration, measure);
    this.#iteration++;
    this.#due.checkpoint = output !== undefined && this.#isDue(this.#iteration, checkpointEvery);
    this.#due.evaluation = evalLoader !== undefined && this.#isDue(this.#iteration, evalEvery);
    try {
      await this.#recorder.recordStep(this.#iteration, batch.labels.size, measures);
      await callbacks.onStep?.(this.#iteration);
    } finally {
      await this.#saveIfDue();
    }
    await this.#evaluateIfDue();
  }

  #isDue(iteration: number, every: number | undefined): boolean {
    return iteration === this.#options.iterations || (every !== undefined && iteration % every === 0);
  }

  /** Every process checks its weights, so that data-parallel ones fail together; the recorder knows whether to write. */
  async #saveIfDue(): Promise<void> {
    if (!this.#due.checkpoint) return;
    await this.#recorder.pausing(async () => {
      this.#step.requireFiniteWeights(this.#iteration);
      await this.#recorder.writeCheckpoint(this.#iteration);
    });
    this.#due.checkpoint = false;
  }

  async #evaluateIfDue(): Promise<void> {
    const { model, evalLoader } = this.#options;
    if (!evalLoader || !this.#due.evaluation) return;
    try {
      await this.#recorder.pausing(async () => {
        const evaluation = await evaluate(model, evalLoader);
        this.#due.evaluation = false;
        // The one before does not know of this evaluation.
        this.#due.checkpoint = this.#recorder.isSaved(this.#iteration);
        await this.#recorder.recordEvaluation(this.#iteration, evaluation);
      });
    } finally {
      await this.#saveIfDue();
    }
  }

  async #end(interrupted: boolean): Promise<FitResult> {
    const { output, overwrite } = this.#options;
    // Before the first step there is nothing that a run which is to be replaced should be lost for.
    this.#due.checkpoint ||= interrupted && output !== undefined && (this.#iteration > 0 || !overwrite);
    await this.#saveIfDue();
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

  /** Returns what the user has changed on purpose. */
  async #restore(path: string, run: RunDescription): Promise<Difference[]> {
    const { model, optimizer } = this.#options;
    let changes: Difference[] = [];
    const { iteration, training } = await restoreCheckpoint(path, { model, optimizer }, (standing, ofModel) => {
      changes = this.#requireSameRun(standing, [...ofModel, ...this.#differences(standing, run)]);
    });
    this.#iteration = iteration;
    this.#recorder.restore(path, iteration, training);
    this.#restored = true;
    return changes;
  }

  /**
   * Returns what differs on purpose.
   * @throws {CheckpointError} naming all that differs otherwise.
   */
  #requireSameRun({ iteration, training }: Standing, found: Difference[]): Difference[] {
    const { iterations, change } = this.#options;
    if (iteration > iterations) {
      throw new CheckpointError('iterations', `it has taken ${iteration} steps, but iterations is ${iterations}`);
    }
    const isMeant = ({ path }: Difference): boolean => {
      if (path === fixedPath) return false;
      return isNamed(path, change) || (path === 'iterations' && !this.#changesAnnealing(iteration, training['iterations'] as number));
    };
    const refused = found.filter((difference) => !isMeant(difference));
    if (refused.length === 0) return found;
    throw new CheckpointError(refused[0].path, `${differenceText(refused, 'this run')}; ${changeHint(refused)}`);
  }

  /** Whether a run of another length anneals its margin otherwise from here on. */
  #changesAnnealing(iteration: number, theirs: number): boolean {
    const { iterations, model: { head } } = this.#options;
    const [before, now] = [theirs, iterations].map((length) => {
      head.atIteration(Math.max(iteration, 1), length);
      return head.lambda;
    });
    return before !== now;
  }

  /** Of what both tell: earlier versions, and loaders and schedules of the user's own, tell less. */
  #differences({ training }: Standing, run: RunDescription): Difference[] {
    const compared = ['dataset', 'images', 'classes', 'seed', 'batchSize', 'iterations', 'precision'];
    const told = (each: Record<string, unknown>) => ({
      ...Object.fromEntries(compared.map((key) => [key, each[key]])),
      ...(each['settings'] as Record<string, unknown> | undefined),
    });
    const theirs: Record<string, unknown> = told(training);
    // As JSON gives it back.
    const ours = JSON.parse(JSON.stringify(told(run))) as Record<string, unknown>;
    const shared = Object.keys(theirs).filter((key) => theirs[key] !== undefined && ours[key] !== undefined);
    return shared.flatMap((key) => differences(key, theirs[key], ours[key]));
  }
}
