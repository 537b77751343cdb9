import { z } from 'zod';
import { OptionError, requireKnownKeys, requireNumber } from '../errors';
import { Linear, type Parameter, SphereLinear } from '../nn';
import { type AngularOperator, angularOperators, multiMargin, type MultiMarginOptions, scale } from '../ops';
import { requireCount } from '../ops/checks';
import { checkMultiMargin, radiusRange } from '../ops/losses';
import { defaultCurvature } from '../ops/sphereConv2d';
import type { Tensor } from '../tensor';
import { defineLoss, optionFlags } from './definition';
import { type ClassWeightOptions, classWeightKeys, Head, type HeadOutput } from './head';

export interface HingeLossOptions extends ClassWeightOptions, MultiMarginOptions {
  /** Logits are `radius g(theta_j)` instead of `W x + b`. Default: they are not. */
  operator?: AngularOperator;
  /** Curvature of the sigmoid, > 0. Default 0.3. */
  k?: number;
  /** Of angular logits; greater than 0, at most 1e6. Default 1. */
  radius?: number;
  /** Whether the logits have a bias: those without an operator only. Default true there. */
  bias?: boolean;
}

const angularOnly = ['k', 'radius'] as const;

/**
 * Hinge loss, of a linear support vector machine of several classes (Weston and Watkins, 1999): the mean over the batch of
 * `sum_j max(0, margin - logit_y + logit_j) / classes`, or of the squares, over the classes j other than y. The logits are
 * `W x + b`, or `radius g(theta_j)` with an operator.
 */
export class HingeLoss extends Head {
  readonly linear: Linear | SphereLinear;
  readonly #hinge: Required<MultiMarginOptions>;
  readonly #radius: number;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: HingeLossOptions) {
    super();
    requireKnownKeys('HingeLoss', options, [...classWeightKeys, 'margin', 'squared', 'operator', 'k', 'radius', 'bias']);
    const { inFeatures, generator, margin, squared, operator, k, bias } = options;
    const classes = requireCount('classes', options.classes, 2);
    this.#hinge = checkMultiMargin({ margin, squared });
    this.#radius = requireNumber('radius', options.radius ?? 1, radiusRange);
    for (const name of angularOnly) {
      if (operator === undefined && options[name] !== undefined) throw new OptionError(name, `${name} belongs to angular logits, and needs an operator`);
    }
    if (operator !== undefined && bias) throw new OptionError('bias', 'bias belongs to logits without an operator');
    const size = { inFeatures, outFeatures: classes, generator };
    this.linear = operator === undefined ? new Linear({ ...size, bias }) : new SphereLinear({ ...size, operator, k });
  }

  override get classWeights(): Parameter {
    return this.linear.weight;
  }

  forward(features: Tensor, labels: Tensor): HeadOutput {
    const logits = this.logits(features);
    return { loss: multiMargin(logits, labels, this.#hinge), logits: logits.detach(), theta: null };
  }

  logits(features: Tensor): Tensor {
    const logits = this.linear.forward(features);
    return this.#radius === 1 ? logits : scale(logits, this.#radius);
  }
}

export const hinge = defineLoss('hinge', HingeLoss, {
  margin: z.number().optional().register(optionFlags, { flags: '--margin <number>', description: 'of the hinge loss (default: 1)' }),
  squared: z.boolean().optional().register(optionFlags, { flags: '--squared', description: 'square the hinges' }),
  operator: z.enum(angularOperators).optional().register(optionFlags, {
    flags: '--loss-operator <name>', description: 'of the hinge loss (default: none)', choices: angularOperators,
  }),
  k: z.number().optional(),
  radius: z.number().optional().register(optionFlags, {
    flags: '--radius <number>', description: 'of the hinge loss with an operator (default: 1)',
  }),
  bias: z.boolean().optional(),
}, { ...checkMultiMargin({}), k: defaultCurvature, radius: 1, bias: true });
