import { requireKnownKeys } from '../errors';
import { angularDefaults, AngularHead, type AngularHeadOptions, angularKeys, angularOptions } from './angular';
import { defineLoss } from './definition';

export type WSoftmaxLossOptions = AngularHeadOptions;

/** W-Softmax: cross entropy of the logits `|x| g(theta_j)` (paper: eq. 11 with m = 1). */
export class WSoftmaxLoss extends AngularHead {
  /** @throws {OptionError} naming the option at fault. */
  constructor(options: WSoftmaxLossOptions) {
    requireKnownKeys('WSoftmaxLoss', options, angularKeys);
    super(options);
  }
}

export const wSoftmax = defineLoss('w-softmax', WSoftmaxLoss, angularOptions, angularDefaults);
