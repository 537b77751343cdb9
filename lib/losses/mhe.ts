import { z } from 'zod';
import { requireOneOf } from '../errors';
import { type EnergyOptions, type EnergyPower, energyPowers, hypersphericalEnergy } from '../ops';
import { requireBoolean } from '../ops/checks';
import type { Tensor } from '../tensor';
import { defineRegularizer, optionFlags } from './definition';
import { FilterRegularizer, type FilterRegularizerOptions, filterRegularizerOptions } from './regularizer';

export interface MheOptions extends FilterRegularizerOptions, EnergyOptions {}

/**
 * Minimum hyperspherical energy (MHE; Liu et al., NeurIPS 2018), {@link hypersphericalEnergy} summed over layers: filters
 * repel each other on the sphere. Default coefficient 1.
 */
export class MheRegularizer extends FilterRegularizer {
  readonly power: EnergyPower;
  readonly halfSpace: boolean;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: MheOptions = {}) {
    super('MheRegularizer', options, 1, ['power', 'halfSpace']);
    this.power = requireOneOf('power', options.power ?? 2, energyPowers);
    this.halfSpace = requireBoolean('halfSpace', options.halfSpace ?? false);
  }

  override settings(): Record<string, unknown> {
    const { power, halfSpace } = this;
    return { ...super.settings(), power, halfSpace };
  }

  protected penaltyOf(weight: Tensor): Tensor {
    return hypersphericalEnergy(weight, { power: this.power, halfSpace: this.halfSpace });
  }
}

export const mhe = defineRegularizer('mhe', MheRegularizer, {
  ...filterRegularizerOptions('MHE', 1),
  power: z.literal(energyPowers).optional().register(optionFlags, {
    flags: '--energy-power <number>', description: 's of MHE: 0, 1 or 2 (default: 2)',
  }),
  halfSpace: z.boolean().optional().register(optionFlags, {
    flags: '--half-space', description: 'MHE counts opposite filters as equal ones',
  }),
});
