import type { Batch } from '../data';
import type { Device } from '../device';
import { DataError, OptionError } from '../errors';
import type { Parameter } from '../nn';
import { modesOf } from '../nn/module';
import { add, countCorrect } from '../ops';
import { clipGradNorm, gradientNorm } from '../optim';
import { globalNorm } from '../optim/gradients';
import { type Tensor, tidy } from '../tensor';
import { CapturedStep, type StepResults } from './capturedStep';
import { type CheckedOptions, requireCuda } from './options';

/** Numbers read at a log step. */
export interface Measures {
  loss: number;
  penalty: number | undefined;
  theta: number | undefined;
  accuracy: number;
  gradientNorm: number;
}

/** Ordinary steps before a capture: what is made on first use is there then. */
const STEPS_BEFORE_CAPTURE = 2;

/** Takes the steps of a training: forward, backward, reduction of the gradients, update. */
export class TrainingStep {
  readonly #options: CheckedOptions;
  readonly #lastCheckpoint: () => string | null;
  #lastFiniteLoss: { iteration: number; loss: number } | null = null;
  /** Infinity where no step is captured. */
  #stepsBeforeCapture = Infinity;
  #captured: CapturedStep | null = null;
  #restoreModes: (() => void) | null = null;

  /** @param lastCheckpoint Asked when training diverges, for the message. */
  constructor(options: CheckedOptions, lastCheckpoint: () => string | null) {
    this.#options = options;
    this.#lastCheckpoint = lastCheckpoint;
  }

  /** Before the first step of a fit(). @throws {OptionError} when steps are to be captured, but not on this device. */
  begin(device: Device): void {
    if (!this.#options.cudaGraph) return;
    requireCuda(device);
    this.#stepsBeforeCapture = STEPS_BEFORE_CAPTURE;
  }

  /**
   * Trains on one batch. Everything is submitted in one synchronous tidy() scope.
   * @param taken Steps taken before this one.
   * @param measure Whether to read the results, for which the host waits on cuda.
   * @throws {DataError} when a measured result is not finite; the parameters have not been changed.
   */
  run(batch: Batch, taken: number, measure: boolean): Measures | null {
    const { model, optimizer, schedule, gradientReducer, iterations, maxGradNorm } = this.#options;
    return tidy(() => {
      this.#enterTraining();
      model.head.atIteration(taken, iterations);
      optimizer.learningRate = schedule.learningRateAt(taken);
      const results = this.#forwardAndBackward(batch);
      const parameters = model.parameters();
      if (gradientReducer) reduce(gradientReducer, parameters);
      const clipped = maxGradNorm === undefined ? null : clipGradNorm(parameters, maxGradNorm);
      const measures = measure ? measuresOf(results, batch, clipped ?? gradientNorm(parameters)) : null;
      if (measures) this.#requireFinite(measures, taken + 1);
      optimizer.step();
      return measures;
    });
  }

  /** After the last step of a fit(): releases the captured graph. */
  end(): void {
    this.#captured?.dispose();
    this.#captured = null;
  }

  /** @throws {DataError} when a weight is no longer finite after `iteration` steps. */
  requireFiniteWeights(iteration: number): void {
    const parameters = this.#options.model.parameters();
    if (!areFinite(parameters)) throw this.#divergence('weights are no longer finite', iteration, gradientNorm(parameters));
  }

  /**
   * In the modes that the user has set, a layer that was switched to evaluation included, as long as the model as a whole
   * is in training. If it is not, it is as loaded, or a callback has left it so: the modes of the step before hold.
   */
  #enterTraining(): void {
    const { model } = this.#options;
    if (!model.training) (this.#restoreModes ?? (() => model.train()))();
    this.#restoreModes = modesOf(model);
  }

  /** As a graph, once it has been captured. */
  #forwardAndBackward(batch: Batch): StepResults {
    if (this.#stepsBeforeCapture > 0) {
      this.#stepsBeforeCapture--;
      return this.#compute(batch);
    }
    if (!this.#captured?.fits) {
      this.end();
      this.#captured = new CapturedStep(this.#options.model, batch, (inputs) => this.#compute(inputs));
    }
    return this.#captured.run(batch);
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

  #requireFinite({ loss, penalty, gradientNorm: norm }: Measures, iteration: number): void {
    if (!Number.isFinite(loss)) throw this.#divergence(`loss is ${loss}`, iteration, norm);
    if (penalty !== undefined && !Number.isFinite(penalty)) throw this.#divergence(`the penalty is ${penalty}`, iteration, norm);
    if (!Number.isFinite(norm)) throw this.#divergence('the gradient is no longer finite', iteration, norm);
    this.#lastFiniteLoss = { iteration, loss };
  }

  #divergence(what: string, iteration: number, norm: number): DataError {
    const { optimizer, model, maxGradNorm } = this.#options;
    const last = this.#lastFiniteLoss;
    const checkpoint = this.#lastCheckpoint();
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
        checkpoint === null ? '' : `The last checkpoint is ${checkpoint}.`,
      ].join(' ').trimEnd(),
    );
  }
}

/** @throws {OptionError} when the reducer returns before it has done its work. */
function reduce(reducer: { reduce: (parameters: readonly Parameter[]) => unknown }, parameters: readonly Parameter[]): void {
  if (reducer.reduce(parameters) instanceof Promise) {
    throw new OptionError('gradientReducer', 'reduce() of gradientReducer must not be asynchronous: the update follows at once');
  }
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
  return Number.isFinite(globalNorm(tensors));
}
