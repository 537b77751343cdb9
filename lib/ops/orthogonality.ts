import { requireKnownKeys } from '../errors';
import { native } from '../native';
import type { Tensor } from '../tensor';
import { requireBoolean, requireFilters } from './checks';
import { scalarLoss } from './scalarLoss';
import { defaultNormGuard } from './sphereConv2d';

/**
 * How far filters are from orthonormal, `||W Wᵀ - I||_F²` over the filters flattened to the rows of W.
 * @param weight `[O, ...]`, at least two axes.
 * @param options.normalized Whether the rows are brought to unit length before, so that only angles count. A zero row
 *   stays zero and costs 1. Default false, the paper's constraint WᵀW = I (§3.3), which also holds lengths at 1.
 * @returns A scalar.
 * @throws {ShapeError | DTypeError | OptionError} naming the argument at fault.
 */
export function orthogonality(weight: Tensor, options: { normalized?: boolean } = {}): Tensor {
  requireKnownKeys('orthogonality', options, ['normalized']);
  const normalized = requireBoolean('normalized', options.normalized ?? false);
  requireFilters('weight', weight);
  return scalarLoss('orthogonality', weight, (loss, gradient) => {
    native.orthogonality(weight.handle, normalized, defaultNormGuard.eps, loss, gradient);
  });
}
