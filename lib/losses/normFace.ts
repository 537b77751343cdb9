import { z } from 'zod';
import { requireKnownKeys, requireNumber } from '../errors';
import { Parameter } from '../nn';
import { freeValue } from '../nn/sphereConv';
import { positive } from '../ops';
import { requireBoolean } from '../ops/checks';
import { radiusRange } from '../ops/losses';
import { full, type Tensor } from '../tensor';
import { AngularHead } from './angular';
import { defineLoss, optionFlags } from './definition';
import { type ClassWeightOptions, classWeightKeys } from './head';

export interface NormFaceLossOptions extends ClassWeightOptions {
  /** s, greater than 0, at most 1e6; its first value where it is learned. Default 30. */
  scale?: number;
  /** Whether s is learned. Default false. */
  learnScale?: boolean;
}

const defaults = { scale: 30, learnScale: false } as const;

/**
 * NormFace (Wang et al., ACM MM 2017): cross entropy of the logits `s cos(theta_j)`. It cannot fall below
 * `log(1 + (C - 1) exp(-s C / (C - 1)))` with C classes. A learned s is log(1 + eᵖ), which nearly is the plain parameter p
 * of the publication for s > 5 and never becomes negative, which would turn the loss round.
 */
export class NormFaceLoss extends AngularHead {
  /** p of a learned scale, `[1]`; null where the scale is fixed. */
  readonly freeScale: Parameter | null;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: NormFaceLossOptions) {
    requireKnownKeys('NormFaceLoss', options, [...classWeightKeys, 'scale', 'learnScale']);
    const { scale = defaults.scale, learnScale = defaults.learnScale, ...size } = options;
    const first = requireNumber('scale', scale, radiusRange);
    const isLearned = requireBoolean('learnScale', learnScale);
    super({ ...size, operator: 'cosine' }, isLearned ? undefined : first);
    this.freeScale = isLearned ? new Parameter(full([1], freeValue(first, 'softplus'))) : null;
  }

  protected override radius(): number | Tensor | undefined {
    return this.freeScale ? positive(this.freeScale, 'softplus') : super.radius();
  }
}

export const normFace = defineLoss('normface', NormFaceLoss, {
  scale: z.number().optional().register(optionFlags, { flags: '--scale <number>', description: 's of NormFace (default: 30)' }),
  learnScale: z.boolean().optional().register(optionFlags, { flags: '--learn-scale', description: 'learn s of NormFace' }),
}, defaults);
