import { z } from 'zod';
import { describe, requireKnownKeys, requireNumber, requireOneOf } from '../errors';

/** `lambda = max(minimum, base (1 + gamma iteration)^-power)`: the weight of the logit without margin. */
export interface AnnealingSchedule {
  /** At least 0. */
  base: number;
  /** At least 0. */
  gamma: number;
  /** At least 0. */
  power: number;
  /** At least 0. */
  minimum: number;
}

/** The schedules that were published; the one behind the SphereNet paper's m = 4 was not. */
export const annealingPresets = {
  sphereface: { base: 1000, gamma: 0.12, power: 1, minimum: 5 },
  lsoftmax: { base: 1000, gamma: 2.5e-5, power: 35, minimum: 0 },
} as const satisfies Record<string, AnnealingSchedule>;

/** The names of the published ones, and none: the full margin from the start. */
export const annealings = [...(Object.keys(annealingPresets) as (keyof typeof annealingPresets)[]), 'none'] as const;

/** A schedule, or one by its name. */
export type Annealing = AnnealingSchedule | (typeof annealings)[number];

/** Of a config. */
export const annealingSchema = z.union(
  [z.enum(annealings), z.strictObject({ base: z.number(), gamma: z.number(), power: z.number(), minimum: z.number() })],
  { error: `expected ${annealings.map(describe).join(', ')} or a schedule` },
);

/** The schedule meant, null for none. @throws {OptionError} naming the option at fault. */
export function annealingSchedule(annealing: Annealing): AnnealingSchedule | null {
  if (typeof annealing !== 'object') {
    const name = requireOneOf('annealing', annealing, annealings);
    return name === 'none' ? null : annealingPresets[name];
  }
  requireKnownKeys('annealing', annealing, ['base', 'gamma', 'power', 'minimum']);
  for (const name of ['base', 'gamma', 'power', 'minimum'] as const) {
    requireNumber(`annealing.${name}`, annealing[name], { min: 0 });
  }
  return annealing;
}

/** lambda at an iteration, counted from 0. @throws {OptionError} unless that is an integer of at least 0. */
export function lambdaAt({ base, gamma, power, minimum }: AnnealingSchedule, iteration: number): number {
  requireNumber('iteration', iteration, { min: 0, integer: true });
  return Math.max(minimum, base * (1 + gamma * iteration) ** -power);
}
