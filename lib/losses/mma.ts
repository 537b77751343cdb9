import { minimalAngle } from '../ops';
import type { Tensor } from '../tensor';
import { defineRegularizer } from './definition';
import { FilterRegularizer, type FilterRegularizerOptions, filterRegularizerOptions } from './regularizer';

/**
 * Maximising the minimal angle (MMA; Wang et al., NeurIPS 2020), {@link minimalAngle} summed over layers: each filter moves
 * away from its nearest one. The penalty is negative. Default coefficient 0.07.
 */
export class MmaRegularizer extends FilterRegularizer {
  /** @throws {OptionError} naming the option at fault. */
  constructor(options: FilterRegularizerOptions = {}) {
    super('MmaRegularizer', options, 0.07);
  }

  protected penaltyOf(weight: Tensor): Tensor {
    return minimalAngle(weight);
  }
}

export const mma = defineRegularizer('mma', MmaRegularizer, filterRegularizerOptions('MMA', 0.07));
