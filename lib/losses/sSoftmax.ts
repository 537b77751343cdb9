import { z } from 'zod';
import { requireKnownKeys, requireNumber } from '../errors';
import { radiusRange } from '../ops/losses';
import { angularDefaults, AngularHead, type AngularHeadOptions, angularKeys, angularOptions } from './angular';
import { defineLoss, optionFlags } from './definition';

export interface SSoftmaxLossOptions extends AngularHeadOptions {
  /** Greater than 0, at most 1e6. */
  radius: number;
}

/** S-Softmax: cross entropy of the logits `radius g(theta_j)`; the length of the features does not matter. */
export class SSoftmaxLoss extends AngularHead {
  /** @throws {OptionError} naming the option at fault. */
  constructor(options: SSoftmaxLossOptions) {
    requireKnownKeys('SSoftmaxLoss', options, [...angularKeys, 'radius']);
    super(options, requireNumber('radius', options.radius, radiusRange));
  }
}

export const sSoftmax = defineLoss('s-softmax', SSoftmaxLoss, {
  ...angularOptions,
  radius: z.number().register(optionFlags, { flags: '--radius <number>', description: 'length of the features of S-Softmax' }),
}, angularDefaults);
