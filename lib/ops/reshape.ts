import { record } from '../autograd';
import { describe, ShapeError } from '../errors';
import { maxRank } from '../hostArrays';
import { type Shape, sizeOf, type Tensor } from '../tensor';
import { formatShape, requireTensor } from './checks';

function isTarget(shape: unknown): boolean {
  if (!Array.isArray(shape) || shape.length > maxRank) return false;
  const isExtent = (extent: unknown) => Number.isInteger(extent) && (extent as number) >= -1;
  return shape.every(isExtent) && shape.indexOf(-1) === shape.lastIndexOf(-1);
}

/** `shape` with its -1 worked out. */
function resolveShape(x: Tensor, shape: Shape): number[] {
  if (!isTarget(shape)) {
    throw new ShapeError('shape', `shape must be at most ${maxRank} integers >= 0, one of them possibly -1, but got ${describe(shape)}`);
  }
  const known = sizeOf(shape.filter((extent) => extent !== -1));
  const resolved = shape.map((extent) => (extent === -1 ? x.size / known : extent));
  if (!resolved.every(Number.isInteger) || sizeOf(resolved) !== x.size) {
    const found = `x of shape ${formatShape(x.shape)} has ${x.size} elements`;
    throw new ShapeError('shape', `${found}, which do not fill ${formatShape(shape)}`);
  }
  return resolved;
}

/**
 * The same elements, in the same memory, under another shape.
 * @param x Any shape and dtype.
 * @param shape Extents; one of them may be -1 and is worked out.
 * @throws {ShapeError} when the elements do not fill the shape.
 */
export function reshape(x: Tensor, shape: Shape): Tensor {
  requireTensor('x', x);
  return record('reshape', x.alias(resolveShape(x, shape)), [x], {}, (dy) => [dy.alias(x.shape)]);
}

/**
 * All axes but the first made one, `[N, ...]` to `[N, rest]`.
 * @throws {ShapeError} when x has no axis.
 */
export function flatten(x: Tensor): Tensor {
  requireTensor('x', x);
  if (x.shape.length === 0) throw new ShapeError('x', 'x must have shape [N, ...], but has []');
  return reshape(x, [x.shape[0], sizeOf(x.shape.slice(1))]);
}
