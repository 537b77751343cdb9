import { z } from 'zod';
import { describe, requireKnownKeys, requireNumber, requireOneOf } from '../errors';

/** `lambda = max(minimum, base (1 + gamma n)^-power)` at the iteration n: the weight of the logit without margin. */
export interface AnnealingSchedule {
  /** At least 0. */
  base: number;
  /** At least 0. */
  gamma: number;
  /** At least 0. */
  power: number;
  /** At least 0. */
  minimum: number;
  /**
   * The length of the run that the schedule was made for, an integer of at least 1: a run of another length sees the
   * same course of lambda, stretched or shortened. Default: n is the iteration, however long the run is.
   */
  iterations?: number;
}

const sphereface = { base: 1000, gamma: 0.12, power: 1, minimum: 5 };
const lsoftmax = { base: 1000, gamma: 2.5e-5, power: 35, minimum: 0 };
/** Of the paper's runs. */
const iterations = 64_000;

/**
 * The schedules that were published; the one behind the SphereNet paper's m = 4 was not. Those with `-scaled` give every
 * run the course of lambda that they give a run of 64,000 iterations.
 */
export const annealingPresets = {
  'sphereface-scaled': { ...sphereface, iterations },
  'lsoftmax-scaled': { ...lsoftmax, iterations },
  sphereface,
  lsoftmax,
} as const satisfies Record<string, AnnealingSchedule>;

/** The names of the published ones, and none: the full margin from the start. */
export const annealings = [...(Object.keys(annealingPresets) as (keyof typeof annealingPresets)[]), 'none'] as const;

/** A schedule, or one by its name. */
export type Annealing = AnnealingSchedule | (typeof annealings)[number];

/** Of a config. */
export const annealingSchema = z.union(
  [
    z.enum(annealings),
    z.strictObject({
      base: z.number(), gamma: z.number(), power: z.number(), minimum: z.number(), iterations: z.number().optional(),
    }),
  ],
  { error: `expected ${annealings.map(describe).join(', ')} or a schedule` },
);

/** The schedule meant, null for none. @throws {OptionError} naming the option at fault. */
export function annealingSchedule(annealing: Annealing): AnnealingSchedule | null {
  if (typeof annealing !== 'object') {
    const name = requireOneOf('annealing', annealing, annealings);
    return name === 'none' ? null : annealingPresets[name];
  }
  requireKnownKeys('annealing', annealing, ['base', 'gamma', 'power', 'minimum', 'iterations']);
  for (const name of ['base', 'gamma', 'power', 'minimum'] as const) {
    requireNumber(`annealing.${name}`, annealing[name], { min: 0 });
  }
  if (annealing.iterations !== undefined) requireNumber('annealing.iterations', annealing.iterations, { min: 1, integer: true });
  return annealing;
}

/** Of which run an iteration is. */
export interface AnnealedRun {
  /** Its length. Default: that of the schedule. */
  iterations?: number;
  /** Iterations of the schedule, at least 0, that lie before the run. Default 0. */
  start?: number;
}

/**
 * lambda at an iteration of a run.
 * @param iteration An integer of at least 0: counted from 0.
 * @throws {OptionError} naming the argument at fault.
 */
export function lambdaAt(schedule: AnnealingSchedule, iteration: number, run: AnnealedRun = {}): number {
  requireKnownKeys('lambdaAt', run, ['iterations', 'start']);
  requireNumber('iteration', iteration, { min: 0, integer: true });
  const length = run.iterations === undefined ? undefined : requireNumber('iterations', run.iterations, { min: 1, integer: true });
  const start = requireNumber('start', run.start ?? 0, { min: 0 });
  const { base, gamma, power, minimum } = schedule;
  const pace = schedule.iterations !== undefined && length !== undefined ? schedule.iterations / length : 1;
  return Math.max(minimum, base * (1 + gamma * (start + pace * iteration)) ** -power);
}
