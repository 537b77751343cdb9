import { describe, OptionError, requireKnownKeys, requireNumber } from '../errors';

/** The learning rate as a function of the iteration, counted from 0, and of nothing else. */
export interface Schedule {
  learningRateAt(iteration: number): number;
  /** What decides the rates, as JSON: a checkpoint keeps it, and a resumed run is compared with it. Default: nothing is. */
  settings?(): Record<string, unknown>;
}

/** The same learning rate always. */
export class ConstantSchedule implements Schedule {
  readonly learningRate: number;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: { learningRate: number }) {
    requireKnownKeys('ConstantSchedule', options, ['learningRate']);
    this.learningRate = requireNumber('learningRate', options.learningRate, { above: 0 });
  }

  /** @throws {OptionError} unless the iteration is an integer of at least 0. */
  learningRateAt(iteration: number): number {
    requireNumber('iteration', iteration, { min: 0, integer: true });
    return this.learningRate;
  }

  settings(): Record<string, unknown> {
    return { learningRate: this.learningRate, milestones: [], factor: 1 };
  }
}

export interface StepScheduleOptions {
  /** At first; greater than 0. */
  learningRate: number;
  /** The iterations, rising, from which on it is `factor` times what it was. */
  milestones: readonly number[];
  /** Greater than 0. Default 0.1. */
  factor?: number;
}

/** `learningRate factor^n` where n milestones have been reached. */
export class StepSchedule implements Schedule {
  readonly learningRate: number;
  readonly milestones: readonly number[];
  readonly factor: number;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: StepScheduleOptions) {
    requireKnownKeys('StepSchedule', options, ['learningRate', 'milestones', 'factor']);
    const { learningRate, milestones, factor = 0.1 } = options;
    this.learningRate = requireNumber('learningRate', learningRate, { above: 0 });
    this.factor = requireNumber('factor', factor, { above: 0 });
    if (!Array.isArray(milestones)) {
      throw new OptionError('milestones', `milestones must be an array of iterations, but got ${describe(milestones)}`);
    }
    milestones.forEach((milestone: unknown, i) => {
      requireNumber(`milestones[${i}]`, milestone, { above: i > 0 ? (milestones[i - 1] as number) : 0, integer: true });
    });
    this.milestones = [...(milestones as readonly number[])];
  }

  /** @throws {OptionError} unless the iteration is an integer of at least 0. */
  learningRateAt(iteration: number): number {
    requireNumber('iteration', iteration, { min: 0, integer: true });
    const reached = this.milestones.filter((milestone) => iteration >= milestone).length;
    return this.learningRate * this.factor ** reached;
  }

  settings(): Record<string, unknown> {
    const { learningRate, milestones, factor } = this;
    return { learningRate, milestones, factor };
  }
}
