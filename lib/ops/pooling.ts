import type { PoolGeometry } from '../../typings/native';
import { isGradEnabled, record } from '../autograd';
import { OptionError, requireKnownKeys, ShapeError } from '../errors';
import { native } from '../native';
import { Tensor } from '../tensor';
import { type Pair, requireBoolean, requireFloat, requirePair, requireRank } from './checks';
import { windowExtent } from './conv2d';

export interface PoolOptions {
  /** Extents of the window, at least 1. */
  kernelSize: Pair;
  /** Step of the window, at least 1. Default: kernelSize. */
  stride?: Pair;
  /** Rim around the image, at least 0 and less than kernelSize. Default 0. */
  padding?: Pair;
}

const poolOptionKeys = ['kernelSize', 'stride', 'padding'] as const;

/**
 * The checked options in the form that the native side takes.
 * @throws {OptionError}
 */
export function poolGeometry(options: PoolOptions): PoolGeometry {
  const kernel = requirePair('kernelSize', options.kernelSize, 1);
  const stride = requirePair('stride', options.stride ?? kernel, 1);
  const padding = requirePair('padding', options.padding ?? 0, 0);
  if (padding.some((rim, axis) => rim >= kernel[axis])) {
    throw new OptionError('padding', `padding must be less than kernelSize (${kernel.join('x')}), but is ${padding.join('x')}`);
  }
  return Int32Array.of(...kernel, ...stride, ...padding);
}

function pooledShape(x: Tensor, geometry: PoolGeometry): number[] {
  requireFloat('x', x);
  requireRank('x', x, 4, '[N, H, W, C]');
  const [n, h, w, channels] = x.shape as [number, number, number, number];
  const [kernelH, kernelW, strideH, strideW, paddingH, paddingW] = geometry;
  const outH = windowExtent(h, kernelH, strideH, paddingH, 1);
  const outW = windowExtent(w, kernelW, strideW, paddingW, 1);
  if (outH < 1 || outW < 1) {
    throw new ShapeError('x', `x of ${h}x${w} pixels, padded, is smaller than the ${kernelH}x${kernelW} window`);
  }
  return [n, outH, outW, channels];
}

/**
 * The largest pixel of each window, per channel. Padding never wins; of equal pixels the first takes the gradient.
 * @param x `[N, H, W, C]`
 * @returns `[N, OH, OW, C]` with `OH = floor((H + 2 padding - kernelSize) / stride) + 1`
 * @throws {ShapeError | DTypeError | OptionError} naming the argument at fault.
 */
export function maxPool2d(x: Tensor, options: PoolOptions): Tensor {
  requireKnownKeys('maxPool2d', options, poolOptionKeys);
  return maxPool2dWithGeometry(x, poolGeometry(options));
}

/** {@link maxPool2d} with options that were checked before. @internal */
export function maxPool2dWithGeometry(x: Tensor, geometry: PoolGeometry): Tensor {
  const shape = pooledShape(x, geometry);
  const y = x.newEmpty(shape);
  const workspace = native.maxPool2dForward(x.handle, y.handle, geometry, isGradEnabled() && x.requiresGrad);
  if (!workspace) return y;
  // Opaque: only the native side reads it, so that its shape and dtype do not matter.
  const winners = new Tensor(workspace, y.shape, 'u8', x.device);
  return record('maxPool2d', y, [x], [winners], (dy) => {
    const dx = x.newEmpty();
    native.maxPool2dBackward(dy.handle, winners.handle, dx.handle, geometry);
    return [dx];
  });
}

/**
 * The mean of each window, per channel.
 * @param x `[N, H, W, C]`
 * @param options.countPadding Whether the mean is over the whole window, its zeros outside the image included, or over
 *   the pixels of the image. Default true.
 * @returns `[N, OH, OW, C]`, extents as in {@link maxPool2d}.
 * @throws {ShapeError | DTypeError | OptionError} naming the argument at fault.
 */
export function avgPool2d(x: Tensor, options: PoolOptions & { countPadding?: boolean }): Tensor {
  requireKnownKeys('avgPool2d', options, [...poolOptionKeys, 'countPadding']);
  const countPadding = requireBoolean('countPadding', options.countPadding ?? true);
  return avgPool2dWithGeometry(x, poolGeometry(options), countPadding);
}

/** {@link avgPool2d} with options that were checked before. @internal */
export function avgPool2dWithGeometry(x: Tensor, geometry: PoolGeometry, countPadding: boolean): Tensor {
  const shape = pooledShape(x, geometry);
  const y = x.newEmpty(shape);
  native.avgPool2dForward(x.handle, y.handle, geometry, countPadding);
  return record('avgPool2d', y, [x], [], (dy) => {
    const dx = x.newEmpty();
    native.avgPool2dBackward(dy.handle, dx.handle, geometry, countPadding);
    return [dx];
  });
}

/**
 * The mean of each channel.
 * @param x `[N, H, W, C]`
 * @returns `[N, C]`
 * @throws {ShapeError | DTypeError}
 */
export function globalAvgPool2d(x: Tensor): Tensor {
  requireFloat('x', x);
  requireRank('x', x, 4, '[N, H, W, C]');
  const y = x.newEmpty([x.shape[0], x.shape[3]]);
  native.globalAvgPool2dForward(x.handle, y.handle);
  return record('globalAvgPool2d', y, [x], [], (dy) => {
    const dx = x.newEmpty();
    native.globalAvgPool2dBackward(dy.handle, dx.handle);
    return [dx];
  });
}
