import { requireKnownKeys } from '../errors';
import { defineLoss } from './definition';
import { GASoftmaxLoss, marginDefaults, marginKeys, type MarginOptions, marginOptions } from './gaSoftmax';
import { type ClassWeightOptions, classWeightKeys } from './head';

export interface ASoftmaxLossOptions extends ClassWeightOptions, MarginOptions {}

/** A-Softmax: {@link GASoftmaxLoss} of the cosine. */
export class ASoftmaxLoss extends GASoftmaxLoss {
  /** @throws {OptionError} naming the option at fault. */
  constructor(options: ASoftmaxLossOptions) {
    requireKnownKeys('ASoftmaxLoss', options, [...classWeightKeys, ...marginKeys]);
    super({ ...options, operator: 'cosine' });
  }
}

export const aSoftmax = defineLoss('a-softmax', ASoftmaxLoss, marginOptions, marginDefaults);
