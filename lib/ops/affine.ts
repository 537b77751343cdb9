import { record } from '../autograd';
import { OptionError, requireKnownKeys, ShapeError } from '../errors';
import { native } from '../native';
import type { Tensor } from '../tensor';
import { formatShape, requireAlike, requireFloat, requireShape } from './checks';
import { emptyResult } from './empty';

export interface AffineOptions {
  /** `[C]`, default 1. */
  scale?: Tensor | null;
  /** `[C]`, default 0. */
  shift?: Tensor | null;
}

/**
 * `y = scale x + shift` per channel, as SphereNorm rescales the output of a SphereConv.
 * @param x Channels last, any rank from 1.
 * @param options At least one of scale and shift.
 * @throws {ShapeError | DTypeError | DeviceError | OptionError} naming the argument at fault.
 */
export function affine(x: Tensor, options: AffineOptions): Tensor {
  requireKnownKeys('affine', options, ['scale', 'shift']);
  const { scale = null, shift = null } = options;
  if (!scale && !shift) throw new OptionError('scale', 'affine needs a scale, a shift, or both, but got neither');
  requireFloat('x', x);
  requireAlike(['x', x], ['scale', scale], ['shift', shift]);
  const channels = x.shape.slice(-1);
  if (!channels[0]) throw new ShapeError('x', `x must have a channel axis with at least one channel, but has shape ${formatShape(x.shape)}`);
  if (scale) requireShape('scale', scale, channels);
  if (shift) requireShape('shift', shift, channels);
  const y = x.newEmpty();
  if (y.size === 0) return emptyResult('affine', y, [x, scale, shift]);
  native.affineForward(x.handle, scale?.handle ?? null, shift?.handle ?? null, y.handle);
  const reads = { x: scale?.requiresGrad ? x : null, scale: x.requiresGrad ? scale : null };
  return record('affine', y, [x, scale, shift], { reads }, (dy) => {
    const gradientOf = (input: Tensor | null) => (input?.requiresGrad ? input.newEmpty() : null);
    const [dx, dscale, dshift] = [gradientOf(x), gradientOf(scale), gradientOf(shift)];
    native.affineBackward(
      x.handle, scale?.handle ?? null, dy.handle,
      dx?.handle ?? null, dscale?.handle ?? null, dshift?.handle ?? null,
    );
    return [dx, dscale, dshift];
  });
}
