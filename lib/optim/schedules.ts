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
    return { kind: 'constant', learningRate: this.learningRate };
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
    return { kind: 'step', learningRate, milestones, factor };
  }
}

export interface CosineScheduleOptions {
  /** At first; greater than 0. */
  learningRate: number;
  /** Steps until the end of the curve. */
  iterations: number;
  /** At the end and from there on; at least 0, at most `learningRate`. Default 0. */
  minimum?: number;
}

/** Half a period of a cosine, from `learningRate` down to `minimum` (SGDR, Loshchilov and Hutter, 2017, without restarts). */
export class CosineSchedule implements Schedule {
  readonly learningRate: number;
  readonly iterations: number;
  readonly minimum: number;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: CosineScheduleOptions) {
    requireKnownKeys('CosineSchedule', options, ['learningRate', 'iterations', 'minimum']);
    this.learningRate = requireNumber('learningRate', options.learningRate, { above: 0 });
    this.iterations = requireNumber('iterations', options.iterations, { min: 1, integer: true });
    this.minimum = requireNumber('minimum', options.minimum ?? 0, { min: 0, max: this.learningRate });
  }

  /** @throws {OptionError} unless the iteration is an integer of at least 0. */
  learningRateAt(iteration: number): number {
    requireNumber('iteration', iteration, { min: 0, integer: true });
    const share = Math.min(iteration / this.iterations, 1);
    return this.minimum + ((this.learningRate - this.minimum) * (1 + Math.cos(Math.PI * share))) / 2;
  }

  settings(): Record<string, unknown> {
    const { learningRate, iterations, minimum } = this;
    return { kind: 'cosine', learningRate, iterations, minimum };
  }
}

export interface WarmupScheduleOptions {
  /** What is warmed up; it counts iterations from the start, as without a warm-up. */
  schedule: Schedule;
  /** Steps of the warm-up. */
  iterations: number;
}

/**
 * Another schedule whose first steps are smaller: iteration i, counted from 0, has `(i + 1) / (iterations + 1)` of its
 * learning rate, so that no step is without effect (Goyal and others, 2017).
 */
export class WarmupSchedule implements Schedule {
  readonly schedule: Schedule;
  readonly iterations: number;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: WarmupScheduleOptions) {
    requireKnownKeys('WarmupSchedule', options, ['schedule', 'iterations']);
    const { schedule } = options;
    if (typeof (schedule as Partial<Schedule> | null | undefined)?.learningRateAt !== 'function') {
      throw new OptionError('schedule', `schedule must have a method learningRateAt(iteration), but got ${describe(schedule)}`);
    }
    this.schedule = schedule;
    this.iterations = requireNumber('iterations', options.iterations, { min: 1, integer: true });
  }

  /** @throws {OptionError} unless the iteration is an integer of at least 0. */
  learningRateAt(iteration: number): number {
    return this.schedule.learningRateAt(iteration) * Math.min((iteration + 1) / (this.iterations + 1), 1);
  }

  settings(): Record<string, unknown> {
    return { kind: 'warmup', iterations: this.iterations, of: this.schedule.settings?.() };
  }
}
