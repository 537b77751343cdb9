import { z } from 'zod';
import { requireKnownKeys, requireNumber } from '../errors';
import { AngularHead, type AngularHeadOptions, type AngularMargin, angularKeys, angularOptions } from './angular';
import { type Annealing, annealings, type AnnealingSchedule, annealingSchedule, annealingSchema, lambdaAt } from './annealing';
import { defineLoss, lossFlags } from './definition';

/** How far the angle of the true class is enlarged. */
export interface MarginOptions {
  /** m of g_m, at least 1; an integer unless the operator is linear. Default 4. */
  margin?: number;
  /** How the margin comes in gradually. Default `sphereface`. */
  annealing?: Annealing;
}

export interface GASoftmaxLossOptions extends AngularHeadOptions, MarginOptions {}

/** Of a config. */
export const marginOptions = {
  margin: z.number().optional().register(lossFlags, {
    flags: '--margin <number>', description: 'm of A- and GA-Softmax (default: 4)',
  }),
  annealing: annealingSchema.optional().register(lossFlags, {
    flags: '--annealing <name>', description: 'how the margin comes in (default: sphereface)', choices: annealings,
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

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: GASoftmaxLossOptions) {
    requireKnownKeys('GASoftmaxLoss', options, [...angularKeys, 'margin', 'annealing']);
    super(options);
    this.margin = requireNumber('margin', options.margin ?? 4, { min: 1, integer: options.operator !== 'linear' });
    this.#schedule = annealingSchedule(options.annealing ?? 'sphereface');
    this.atIteration(0);
  }

  override atIteration(iteration: number): void {
    super.atIteration(iteration);
    this.lambda = this.#schedule && lambdaAt(this.#schedule, iteration);
  }

  protected override marginOptions(): AngularMargin {
    return { margin: this.margin, annealing: () => this.lambda ?? 0 };
  }
}

export const gaSoftmax = defineLoss('ga-softmax', GASoftmaxLoss, { ...angularOptions, ...marginOptions });
