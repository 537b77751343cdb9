import { record } from '../autograd';
import { requireKnownKeys, ShapeError } from '../errors';
import { native } from '../native';
import type { Shape, Tensor } from '../tensor';
import { formatShape, requireAlike, requireBoolean, requireFloat, requireRank } from './checks';

export interface MatmulOptions {
  /** Use aᵀ. Default false. */
  transposeA?: boolean;
  /** Use bᵀ. Default false. */
  transposeB?: boolean;
}

/**
 * Matrix product `op(a) op(b)`, op the identity or the transpose.
 * @param a `[M, K]`, or `[K, M]` with transposeA.
 * @param b `[K, N]`, or `[N, K]` with transposeB.
 * @returns `[M, N]`
 * @throws {ShapeError | DTypeError | DeviceError | OptionError} naming the argument at fault.
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  requireKnownKeys('matmul', options, ['transposeA', 'transposeB']);
  const transposeA = requireBoolean('transposeA', options.transposeA ?? false);
  const transposeB = requireBoolean('transposeB', options.transposeB ?? false);
  requireFloat('a', a);
  requireAlike(['a', a], ['b', b]);
  requireRank('a', a, 2, transposeA ? '[K, M]' : '[M, K]');
  requireRank('b', b, 2, transposeB ? '[N, K]' : '[K, N]');
  if (a.shape[transposeA ? 0 : 1] !== b.shape[transposeB ? 1 : 0]) {
    const operand = (shape: Shape, transposed: boolean) => `${formatShape(shape)}${transposed ? ' transposed' : ''}`;
    const [left, right] = [operand(a.shape, transposeA), operand(b.shape, transposeB)];
    throw new ShapeError('b', `b of ${right} does not fit a of ${left}: the inner extents differ`);
  }
  const reads = { a: b.requiresGrad ? a : null, b: a.requiresGrad ? b : null };
  return record('matmul', product(a, b, transposeA, transposeB), [a, b], { reads }, (dc) => [
    a.requiresGrad ? (transposeA ? product(b, dc, transposeB, true) : product(dc, b, false, !transposeB)) : null,
    b.requiresGrad ? (transposeB ? product(dc, a, true, transposeA) : product(a, dc, !transposeA, false)) : null,
  ]);
}

/** op(a) op(b), off the tape and unchecked. @internal */
export function product(a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean): Tensor {
  const c = a.newEmpty([a.shape[transposeA ? 1 : 0], b.shape[transposeB ? 0 : 1]]);
  native.matmul(a.handle, b.handle, null, c.handle, transposeA, transposeB);
  return c;
}
