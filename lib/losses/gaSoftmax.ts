import { z } from 'zod';
import { requireKnownKeys, requireNumber } from '../errors';
import { marginRange } from '../ops/losses';
import { angularDefaults, AngularHead, type AngularHeadOptions, type AngularMargin, angularKeys, angularOptions } from './angular';
import { type Annealing, annealings, type AnnealingSchedule, annealingSchedule, annealingSchema, lambdaAt } from './annealing';
import { defineLoss, optionFlags } from './definition';

/** How far the angle of the true class is enlarged. */
export interface MarginOptions {
  /** m of g_m, 1 to 100; an integer unless the operator is linear. Default 4. */
  margin?: number;
  /** How the margin comes in gradually. Default `sphereface-scaled`. */
  annealing?: Annealing;
  /**
   * Iterations of the schedule that lie before the run, at least 0: in fine-tuning, those that the margin has seen. 64000
   * goes on where the paper's run ended. Default 0.
   */
  annealingStart?: number;
}

export const marginKeys = ['margin', 'annealing', 'annealingStart'] as const;

export interface GASoftmaxLossOptions extends AngularHeadOptions, MarginOptions {}

const defaultAnnealing = 'sphereface-scaled';
export const marginDefaults = { margin: 4, annealingStart: 0 } as const;

/** Of a config. */
export const marginOptions = {
  margin: z.number().optional().register(optionFlags, {
    flags: '--margin <number>', description: 'm of A- and GA-Softmax (default: 4)',
  }),
  // Written out in every config: where it is missing, the config is older than scaled schedules.
  annealing: annealingSchema.default(defaultAnnealing).register(optionFlags, {
    flags: '--annealing <name>',
    description: `how the margin comes in; scaled: the course of a run of 64000 steps, whatever --iterations (default: ${defaultAnnealing})`,
    choices: annealings,
  }),
  annealingStart: z.number().optional().register(optionFlags, {
    flags: '--annealing-start <iteration>', description: 'where in its schedule the annealing begins (default: 0)',
  }),
};

/**
 * GA-Softmax (paper: eq. 11): cross entropy of the logits `|x| g(theta_j)`, that of the true class being
 * `|x| (lambda g(theta) + g_m(theta)) / (1 + lambda)` with `g_m(theta) = g(m theta - j pi) - 2j`,
 * `j = min(floor(m theta / pi), m - 1)`.
 */
export class GASoftmaxLoss extends AngularHead {
  readonly margin: number;
  readonly #schedule: AnnealingSchedule | null;
  readonly #start: number;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: GASoftmaxLossOptions) {
    requireKnownKeys('GASoftmaxLoss', options, [...angularKeys, ...marginKeys]);
    super(options);
    const { margin = marginDefaults.margin, annealing = defaultAnnealing, annealingStart: start = marginDefaults.annealingStart } = options;
    this.margin = requireNumber('margin', margin, marginRange('multiplicative', options.operator));
    this.#schedule = annealingSchedule(annealing);
    this.#start = requireNumber('annealingStart', start, { min: 0 });
    this.atIteration(0);
  }

  override atIteration(iteration: number, iterations?: number): void {
    super.atIteration(iteration, iterations);
    this.lambda = this.#schedule && lambdaAt(this.#schedule, iteration, { iterations, start: this.#start });
  }

  protected override marginOptions(): AngularMargin {
    return { margin: this.margin, annealing: () => this.lambda ?? 0 };
  }
}

export const gaSoftmax = defineLoss('ga-softmax', GASoftmaxLoss, { ...angularOptions, ...marginOptions }, { ...angularDefaults, ...marginDefaults });
