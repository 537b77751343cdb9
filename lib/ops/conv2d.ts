import type { ConvGeometry } from '../../typings/native';
import { isRecorded, record } from '../autograd';
import { OptionError, requireKnownKeys, requireNumber, ShapeError } from '../errors';
import { native } from '../native';
import type { Tensor } from '../tensor';
import { batchNormChecked, type CheckedBatchNorm, fixedNormalization } from './batchNorm';
import { formatShape, type Pair, requireAlike, requireFloat, requirePair, requireRank, requireShape } from './checks';

/** How a filter walks over an image. */
export interface ConvOptions {
  /** Step of the window, at least 1. Default 1. */
  stride?: Pair;
  /** Zeros around the image, at least 0. Default 0. */
  padding?: Pair;
  /** Distance of the filter's taps, at least 1. Default 1. */
  dilation?: Pair;
  /** Channels are split into this many groups, each with filters of its own. Default 1. */
  groups?: number;
}

export const convOptionKeys = ['stride', 'padding', 'dilation', 'groups'] as const;

/**
 * The checked options in the form that the native side takes.
 * @throws {OptionError}
 */
export function convGeometry(options: ConvOptions): ConvGeometry {
  const { stride = 1, padding = 0, dilation = 1, groups = 1 } = options;
  return Int32Array.of(
    ...requirePair('stride', stride, 1),
    ...requirePair('padding', padding, 0),
    ...requirePair('dilation', dilation, 1),
    requireNumber('groups', groups, { min: 1, integer: true }),
  );
}

/** Output extent of a window along one axis; below 1 when the window does not fit. */
export function windowExtent(input: number, kernel: number, stride: number, padding: number, dilation: number): number {
  return Math.floor((input + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1;
}

/**
 * Checks the operands of a convolution and returns the shape of its output, `[N, OH, OW, O]`.
 * @throws {ShapeError | DTypeError | DeviceError | OptionError} naming the argument at fault.
 */
export function convOutputShape(x: Tensor, w: Tensor, bias: Tensor | null, geometry: ConvGeometry): number[] {
  requireFloat('x', x);
  requireAlike(['x', x], ['weight', w], ['bias', bias]);
  requireRank('x', x, 4, '[N, H, W, C]');
  requireRank('weight', w, 4, '[O, kH, kW, C / groups]');
  const [n, h, width, channels] = x.shape as [number, number, number, number];
  const [filters, kernelH, kernelW, filterChannels] = w.shape as [number, number, number, number];
  const groups = geometry[6];
  if (channels % groups !== 0 || filters % groups !== 0) {
    throw new OptionError('groups', `groups must divide the ${channels} channels and the ${filters} filters, but is ${groups}`);
  }
  if (filterChannels * groups !== channels) {
    throw new ShapeError(
      'x',
      `x has ${channels} channels, but filters of shape ${formatShape(w.shape)} in ${groups} group(s) take ${filterChannels * groups}`,
    );
  }
  const outH = windowExtent(h, kernelH, geometry[0], geometry[2], geometry[4]);
  const outW = windowExtent(width, kernelW, geometry[1], geometry[3], geometry[5]);
  if (outH < 1 || outW < 1) {
    throw new ShapeError('x', `x of ${h}x${width} pixels, padded, is smaller than the ${kernelH}x${kernelW} filters, dilated`);
  }
  if (bias) requireShape('bias', bias, [filters]);
  return [n, outH, outW, filters];
}

/**
 * Plain convolution, `y = conv(x, weight) + bias`.
 * @param x Images `[N, H, W, C]`.
 * @param weight Filters `[O, kH, kW, C / groups]`.
 * @returns `[N, OH, OW, O]` with `OH = floor((H + 2 padding - dilation (kH - 1) - 1) / stride) + 1`.
 * @throws {ShapeError | DTypeError | DeviceError | OptionError} naming the argument at fault.
 */
export function conv2d(x: Tensor, weight: Tensor, options: ConvOptions & { bias?: Tensor | null } = {}): Tensor {
  requireKnownKeys('conv2d', options, [...convOptionKeys, 'bias']);
  return conv2dWithGeometry(x, weight, options.bias ?? null, convGeometry(options));
}

/** {@link conv2d} with options that were checked before. @internal */
export function conv2dWithGeometry(x: Tensor, weight: Tensor, bias: Tensor | null, geometry: ConvGeometry): Tensor {
  return convolve(x, weight, bias, x.newEmpty(convOutputShape(x, weight, bias, geometry)), geometry);
}

function convolve(x: Tensor, weight: Tensor, bias: Tensor | null, y: Tensor, geometry: ConvGeometry): Tensor {
  native.conv2dForward(x.handle, weight.handle, bias?.handle ?? null, y.handle, geometry, null);
  return record('conv2d', y, [x, weight, bias], [], (dy) => {
    const dx = x.requiresGrad ? x.newEmpty() : null;
    if (dx) native.conv2dBackwardData(dy.handle, weight.handle, dx.handle, geometry);
    if (!weight.requiresGrad && !bias?.requiresGrad) return [dx, null, null];
    const dw = weight.newEmpty();
    const dbias = bias?.requiresGrad ? bias.newEmpty() : null;
    native.conv2dBackwardWeights(x.handle, dy.handle, dw.handle, dbias?.handle ?? null, geometry);
    return [dx, dw, dbias];
  });
}

/** A convolution whose operands were checked, before it runs: what follows can come with it. @internal */
export interface PendingConvolution {
  /** Where the convolution's output goes. */
  readonly y: Tensor;
  /** The convolution and this normalisation of its output. */
  normalized(normalization: CheckedBatchNorm): Tensor;
}

/** {@link conv2d} before a batch normalisation, which in evaluation is done on the way. @internal */
export function pendingConv2d(x: Tensor, weight: Tensor, bias: Tensor | null, geometry: ConvGeometry): PendingConvolution {
  const y = x.newEmpty(convOutputShape(x, weight, bias, geometry));
  return {
    y,
    normalized(normalization) {
      const { training, gamma, beta } = normalization;
      if (training || isRecorded([x, weight, bias, gamma, beta])) {
        return normalizedSeparately(convolve(x, weight, bias, y, geometry), normalization);
      }
      native.conv2dForward(
        x.handle, weight.handle, bias?.handle ?? null, y.handle, geometry, ...fixedNormalization(normalization),
      );
      return y;
    },
  };
}

/** The normalisation of y, which nothing else uses. @internal */
export function normalizedSeparately(y: Tensor, normalization: CheckedBatchNorm): Tensor {
  const normalized = batchNormChecked(y, normalization);
  if (!normalized.node) y.dispose();
  return normalized;
}
