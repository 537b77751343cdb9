import type { ConvGeometry, Packed, Window } from '../../typings/native';
import { isRecorded, record } from '../autograd';
import { OptionError, requireKnownKeys, ShapeError } from '../errors';
import { native, packer } from '../native';
import type { Tensor } from '../tensor';
import { batchNormChecked, type CheckedBatchNorm, evaluationEpilogue } from './batchNorm';
import {
  formatShape, largestInteger, largestStep, type Pair, requireAlike, requireBatch, requireCount, requireFloat, requirePair, requireRank,
  requireShape,
} from './checks';
import { emptyResult } from './empty';

/** How a filter walks over an image. */
export interface ConvOptions {
  /** Step of the window, 1 to 2^20. Default 1. */
  stride?: Pair;
  /** Zeros around the image, 0 to 2^20. Default 0. */
  padding?: Pair;
  /** Distance of the filter's taps, 1 to 2^20. Default 1. */
  dilation?: Pair;
  /** Channels are split into this many groups, each with filters of its own. Default 1. */
  groups?: number;
}

export const convOptionKeys = ['stride', 'padding', 'dilation', 'groups'] as const;

/** Checked, with the form that the native side takes. */
export type CheckedGeometry = Readonly<ConvGeometry> & { readonly packed: Packed<ConvGeometry> };

const packGeometry = packer('ConvGeometry');

/**
 * The checked options of a convolution by filters of these extents.
 * @throws {OptionError}
 */
export function convGeometry(options: ConvOptions, kernel: readonly [height: number, width: number]): CheckedGeometry {
  const { stride = 1, padding = 0, dilation = 1, groups = 1 } = options;
  const [kernelH, kernelW] = kernel;
  const [strideH, strideW] = requirePair('stride', stride, 1, largestStep);
  const [paddingH, paddingW] = requirePair('padding', padding, 0, largestStep);
  const [dilationH, dilationW] = requirePair('dilation', dilation, 1, largestStep);
  requireCount('groups', groups);
  const geometry = { kernelH, kernelW, strideH, strideW, paddingH, paddingW, dilationH, dilationW, groups };
  return { ...geometry, packed: packGeometry(geometry) };
}

/** Extents of filters `[O, kH, kW, C / groups]`. @throws {ShapeError | DTypeError | DisposedError} */
export function kernelOf(weight: Tensor): readonly [height: number, width: number] {
  requireFloat('weight', weight);
  requireRank('weight', weight, 4, '[O, kH, kW, C / groups]');
  return [weight.shape[1], weight.shape[2]];
}

/**
 * Output extents of a window that walks over images `[N, H, W, C]`.
 * @param what The window's name in messages.
 * @throws {OptionError} when the padded image or the dilated window has 2^31 pixels or more along an axis.
 * @throws {ShapeError} when the window does not fit.
 * @internal
 */
export function outputExtents({ shape }: Tensor, window: Window, what: string): [height: number, width: number] {
  const [, h, w] = shape as [number, number, number, number];
  const { kernelH, kernelW, strideH, strideW, paddingH, paddingW, dilationH, dilationW } = window;
  const extent = (input: number, kernel: number, stride: number, padding: number, dilation: number): number => {
    const padded = input + 2 * padding;
    const dilated = dilation * (kernel - 1) + 1;
    // Positions in both are ints on the native side.
    if (padded > largestInteger) throw new OptionError('padding', `padding of ${padding} makes x of ${h}x${w} pixels larger than 2^31`);
    if (dilated > largestInteger) throw new OptionError('dilation', `dilation of ${dilation} makes the ${what} larger than 2^31 pixels`);
    return Math.floor((padded - dilated) / stride) + 1;
  };
  const height = extent(h, kernelH, strideH, paddingH, dilationH);
  const width = extent(w, kernelW, strideW, paddingW, dilationW);
  if (height < 1 || width < 1) throw new ShapeError('x', `x of ${h}x${w} pixels, padded, is smaller than the ${what}`);
  return [height, width];
}

/**
 * Checks the operands of a convolution and returns the shape of its output, `[N, OH, OW, O]`.
 * @throws {ShapeError | DTypeError | DeviceError | OptionError} naming the argument at fault.
 */
export function convOutputShape(x: Tensor, w: Tensor, bias: Tensor | null, geometry: ConvGeometry): number[] {
  requireFloat('x', x);
  requireAlike(['x', x], ['weight', w], ['bias', bias]);
  requireBatch('x', x, 4, '[N, H, W, C]');
  requireRank('weight', w, 4, '[O, kH, kW, C / groups]');
  const [n, , , channels] = x.shape as [number, number, number, number];
  const [filters, , , filterChannels] = w.shape as [number, number, number, number];
  const { kernelH, kernelW, groups } = geometry;
  if (channels % groups !== 0 || filters % groups !== 0) {
    throw new OptionError('groups', `groups must divide the ${channels} channels and the ${filters} filters, but is ${groups}`);
  }
  if (filterChannels * groups !== channels) {
    throw new ShapeError(
      'x',
      `x has ${channels} channels, but filters of shape ${formatShape(w.shape)} in ${groups} group(s) take ${filterChannels * groups}`,
    );
  }
  if (bias) requireShape('bias', bias, [filters]);
  return [n, ...outputExtents(x, geometry, `${kernelH}x${kernelW} filters, dilated`), filters];
}

/**
 * Plain convolution, `y = conv(x, weight) + bias`.
 * @param x Images `[N, H, W, C]`; N may be 0.
 * @param weight Filters `[O, kH, kW, C / groups]`.
 * @returns `[N, OH, OW, O]` with `OH = floor((H + 2 padding - dilation (kH - 1) - 1) / stride) + 1`.
 * @throws {ShapeError | DTypeError | DeviceError | OptionError} naming the argument at fault.
 */
export function conv2d(x: Tensor, weight: Tensor, options: ConvOptions & { bias?: Tensor | null } = {}): Tensor {
  requireKnownKeys('conv2d', options, [...convOptionKeys, 'bias']);
  return prepareConv2d(x, weight, options.bias ?? null, convGeometry(options, kernelOf(weight))).run(null);
}

/** A convolution whose operands were checked, and what comes after it into its output y. */
export interface PreparedConvolution {
  /** What the convolution gives, not computed yet. */
  readonly y: Tensor;
  /** The convolution, followed by a batch normalisation of y that was checked against it, or by nothing. */
  run(epilogue: CheckedBatchNorm | null): Tensor;
}

/** {@link conv2d}, checked and not run yet. In evaluation its epilogue is done in the same pass. @internal */
export function prepareConv2d(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  geometry: CheckedGeometry,
): PreparedConvolution {
  const { packed } = geometry;
  const y = x.newEmpty(convOutputShape(x, weight, bias, geometry));
  const convolve = (): Tensor => {
    native.conv2dForward(x.handle, weight.handle, bias?.handle ?? null, y.handle, packed);
    const reads = { x: weight.requiresGrad ? x : null, weight: x.requiresGrad ? weight : null };
    return record('conv2d', y, [x, weight, bias], { reads }, (dy) => {
      const dx = x.requiresGrad ? x.newEmpty() : null;
      if (dx) native.conv2dBackwardData(dy.handle, weight.handle, dx.handle, packed);
      if (!weight.requiresGrad && !bias?.requiresGrad) return [dx, null, null];
      const dw = weight.newEmpty();
      const dbias = bias?.requiresGrad ? bias.newEmpty() : null;
      native.conv2dBackwardWeights(x.handle, dy.handle, dw.handle, dbias?.handle ?? null, packed);
      return [dx, dw, dbias];
    });
  };
  return {
    y,
    run(epilogue) {
      if (y.size === 0) return emptyConvolution('conv2d', y, [x, weight, bias], epilogue);
      if (!epilogue) return convolve();
      const { training, gamma, beta, residual } = epilogue;
      if (training || isRecorded([x, weight, bias, gamma, beta, residual])) return normalized(convolve(), epilogue);
      native.conv2dForward(
        x.handle, weight.handle, bias?.handle ?? null, y.handle, packed, ...evaluationEpilogue(epilogue),
      );
      return y;
    },
  };
}

/** The normalisation of y, which nothing else uses. @internal */
export function normalized(y: Tensor, epilogue: CheckedBatchNorm): Tensor {
  // The tape releases a y that it holds.
  return batchNormChecked(y, epilogue, y.node ? [] : [y]);
}

/** The output y, of no images, with what follows it. @internal */
export function emptyConvolution(
  op: string,
  y: Tensor,
  inputs: readonly (Tensor | null)[],
  epilogue: CheckedBatchNorm | null,
): Tensor {
  return emptyResult(op, y, epilogue ? [...inputs, epilogue.gamma, epilogue.beta, epilogue.residual] : inputs);
}
