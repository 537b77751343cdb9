import { requireKnownKeys, requireOneOf } from '../errors';
import { native } from '../native';
import type { Tensor } from '../tensor';
import { requireBoolean, requireFilters } from './checks';
import { scalarLoss } from './scalarLoss';
import { defaultNormGuard } from './sphereConv2d';

/** s of the energy |u - v|^-s between two unit vectors; 0 stands for log(1 / |u - v|). */
export const energyPowers = [0, 1, 2] as const;
export type EnergyPower = (typeof energyPowers)[number];

export interface EnergyOptions {
  /** s: 0, 1 or 2. Default 2. */
  power?: EnergyPower;
  /**
   * Whether each filter stands for its opposite too, so that opposite filters count as equal ones: a filter and its
   * opposite give the same feature but for the sign. Default false.
   */
  halfSpace?: boolean;
}

/**
 * Minimum hyperspherical energy (MHE; Liu et al., NeurIPS 2018): the mean over all pairs of filters of `|u - v|^-s`, or
 * of `log(1 / |u - v|)` for s = 0, u and v the filters brought to unit length. 1e-4 is added to each squared distance:
 * energy and gradient stay finite where filters are equal. Without `halfSpace` a single filter costs 0. A zero filter counts
 * as √2 away from all others.
 * @param weight `[O, ...]`, at least two axes.
 * @returns A scalar.
 * @throws {ShapeError | DTypeError | OptionError} naming the argument at fault.
 */
export function hypersphericalEnergy(weight: Tensor, options: EnergyOptions = {}): Tensor {
  requireKnownKeys('hypersphericalEnergy', options, ['power', 'halfSpace']);
  const power = requireOneOf('power', options.power ?? 2, energyPowers);
  const halfSpace = requireBoolean('halfSpace', options.halfSpace ?? false);
  requireFilters('weight', weight);
  return scalarLoss('hypersphericalEnergy', weight, (loss, gradient) => {
    native.hypersphericalEnergy(weight.handle, power, halfSpace, defaultNormGuard.eps, loss, gradient);
  });
}

/**
 * How far filters are from each other (MMA; Wang et al., NeurIPS 2020): the negative mean over the filters of the angle
 * to the nearest other one, in radians. Of several nearest ones the first counts. The gradient of an angle below 0.001
 * goes to 0 with it; equal filters get none from each other. A single filter gives 0.
 * @param weight `[O, ...]`, at least two axes.
 * @returns A scalar, from -π to 0.
 * @throws {ShapeError | DTypeError} naming the argument at fault.
 */
export function minimalAngle(weight: Tensor): Tensor {
  requireFilters('weight', weight);
  return scalarLoss('minimalAngle', weight, (loss, gradient) => {
    native.minimalAngle(weight.handle, defaultNormGuard.eps, loss, gradient);
  });
}
