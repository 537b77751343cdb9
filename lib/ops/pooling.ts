import type { Packed, Window } from '../../typings/native';
import { isGradEnabled, record } from '../autograd';
import { OptionError, requireKnownKeys } from '../errors';
import { native, packer } from '../native';
import { Tensor } from '../tensor';
import { largestInteger, largestStep, type Pair, requireBatch, requireBoolean, requireFloat, requirePair } from './checks';
import { outputExtents } from './conv2d';
import { emptyResult } from './empty';

export interface PoolOptions {
  /** Extents of the window, at least 1; less than 2^31 pixels together. */
  kernelSize: Pair;
  /** Step of the window, 1 to 2^20. Default: kernelSize. */
  stride?: Pair;
  /** Rim around the image, at least 0, less than kernelSize, at most 2^20. Default 0. */
  padding?: Pair;
}

const poolOptionKeys = ['kernelSize', 'stride', 'padding'] as const;

/** A checked window, with the form that the native side takes. @internal */
export type CheckedWindow = Readonly<Window> & { readonly packed: Packed<Window> };

const packWindow = packer('Window');

/** @throws {OptionError} @internal */
export function poolWindow(options: PoolOptions): CheckedWindow {
  const kernel = requirePair('kernelSize', options.kernelSize, 1);
  // The place of a maximum in its window is an int on the native side.
  if (kernel[0] * kernel[1] > largestInteger) {
    throw new OptionError('kernelSize', `kernelSize must have less than 2^31 pixels, but is ${kernel.join('x')}`);
  }
  const stride = options.stride === undefined ? kernel : requirePair('stride', options.stride, 1, largestStep);
  const padding = requirePair('padding', options.padding ?? 0, 0, largestStep);
  if (padding.some((rim, axis) => rim >= kernel[axis])) {
    throw new OptionError('padding', `padding must be less than kernelSize (${kernel.join('x')}), but is ${padding.join('x')}`);
  }
  const window = {
    kernelH: kernel[0], kernelW: kernel[1], strideH: stride[0], strideW: stride[1],
    paddingH: padding[0], paddingW: padding[1], dilationH: 1, dilationW: 1,
  };
  return { ...window, packed: packWindow(window) };
}

function pooledShape(x: Tensor, window: CheckedWindow): number[] {
  requireFloat('x', x);
  requireBatch('x', x, 4, '[N, H, W, C]');
  return [x.shape[0], ...outputExtents(x, window, `${window.kernelH}x${window.kernelW} window`), x.shape[3]];
}

/**
 * The largest pixel of each window, per channel. Padding never wins; of equal pixels the first takes the gradient.
 * @param x `[N, H, W, C]`; N may be 0.
 * @returns `[N, OH, OW, C]` with `OH = floor((H + 2 padding - kernelSize) / stride) + 1`
 * @throws {ShapeError | DTypeError | OptionError} naming the argument at fault.
 */
export function maxPool2d(x: Tensor, options: PoolOptions): Tensor {
  requireKnownKeys('maxPool2d', options, poolOptionKeys);
  return maxPool2dInWindow(x, poolWindow(options));
}

/** {@link maxPool2d} with options that were checked before. @internal */
export function maxPool2dInWindow(x: Tensor, window: CheckedWindow): Tensor {
  const shape = pooledShape(x, window);
  const y = x.newEmpty(shape);
  if (y.size === 0) return emptyResult('maxPool2d', y, [x]);
  const saved = native.maxPool2dForward(x.handle, y.handle, window.packed, isGradEnabled() && x.requiresGrad);
  if (!saved) return y;
  // Opaque: only the native side reads it, so that its shape and dtype do not matter.
  const places = new Tensor(saved, y.shape, 'u8', x.device);
  return record('maxPool2d', y, [x], { saved: [places] }, (dy) => {
    const dx = x.newEmpty();
    native.maxPool2dBackward(dy.handle, places.handle, dx.handle, window.packed);
    return [dx];
  });
}

/**
 * The mean of each window, per channel.
 * @param x `[N, H, W, C]`; N may be 0.
 * @param options.countPadding Whether the mean is over the whole window, its zeros outside the image included, or over
 *   the pixels of the image. Default true.
 * @returns `[N, OH, OW, C]`, extents as in {@link maxPool2d}.
 * @throws {ShapeError | DTypeError | OptionError} naming the argument at fault.
 */
export function avgPool2d(x: Tensor, options: PoolOptions & { countPadding?: boolean }): Tensor {
  requireKnownKeys('avgPool2d', options, [...poolOptionKeys, 'countPadding']);
  const countPadding = requireBoolean('countPadding', options.countPadding ?? true);
  return avgPool2dInWindow(x, poolWindow(options), countPadding);
}

/** {@link avgPool2d} with options that were checked before. @internal */
export function avgPool2dInWindow(x: Tensor, window: CheckedWindow, countPadding: boolean): Tensor {
  const shape = pooledShape(x, window);
  const y = x.newEmpty(shape);
  if (y.size === 0) return emptyResult('avgPool2d', y, [x]);
  native.avgPool2dForward(x.handle, y.handle, window.packed, countPadding);
  return record('avgPool2d', y, [x], {}, (dy) => {
    const dx = x.newEmpty();
    native.avgPool2dBackward(dy.handle, dx.handle, window.packed, countPadding);
    return [dx];
  });
}

/**
 * The mean of each channel.
 * @param x `[N, H, W, C]`; N may be 0.
 * @returns `[N, C]`
 * @throws {ShapeError | DTypeError}
 */
export function globalAvgPool2d(x: Tensor): Tensor {
  requireFloat('x', x);
  requireBatch('x', x, 4, '[N, H, W, C]');
  const y = x.newEmpty([x.shape[0], x.shape[3]]);
  if (y.size === 0) return emptyResult('globalAvgPool2d', y, [x]);
  native.globalAvgPool2dForward(x.handle, y.handle);
  return record('globalAvgPool2d', y, [x], {}, (dy) => {
    const dx = x.newEmpty();
    native.globalAvgPool2dBackward(dy.handle, dx.handle);
    return [dx];
  });
}
