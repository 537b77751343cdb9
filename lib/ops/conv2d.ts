import type { ConvGeometry, Packed } from '../../typings/native';
import { isRecorded, record } from '../autograd';
import { OptionError, requireKnownKeys, requireNumber, ShapeError } from '../errors';
import { native, packer } from '../native';
import type { Tensor } from '../tensor';
import { batchNormChecked, type CheckedBatchNorm, evaluationEpilogue } from './batchNorm';
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
  const [strideH, strideW] = requirePair('stride', stride, 1);
  const [paddingH, paddingW] = requirePair('padding', padding, 0);
  const [dilationH, dilationW] = requirePair('dilation', dilation, 1);
  requireNumber('groups', groups, { min: 1, integer: true });
  const geometry = { kernelH, kernelW, strideH, strideW, paddingH, paddingW, dilationH, dilationW, groups };
  return { ...geometry, packed: packGeometry(geometry) };
}

/** Extents of filters `[O, kH, kW, C / groups]`. @throws {ShapeError | DTypeError | DisposedError} */
export function kernelOf(weight: Tensor): readonly [height: number, width: number] {
  requireFloat('weight', weight);
  requireRank('weight', weight, 4, '[O, kH, kW, C / groups]');
  return [weight.shape[1], weight.shape[2]];
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
  const [filters, , , filterChannels] = w.shape as [number, number, number, number];
  const { kernelH, kernelW, strideH, strideW, paddingH, paddingW, dilationH, dilationW, groups } = geometry;
  if (channels % groups !== 0 || filters % groups !== 0) {
    throw new OptionError('groups', `groups must divide the ${channels} channels and the ${filters} filters, but is ${groups}`);
  }
  if (filterChannels * groups !== channels) {
    throw new ShapeError(
      'x',
      `x has ${channels} channels, but filters of shape ${formatShape(w.shape)} in ${groups} group(s) take ${filterChannels * groups}`,
    );
  }
  const outH = windowExtent(h, kernelH, strideH, paddingH, dilationH);
  const outW = windowExtent(width, kernelW, strideW, paddingW, dilationW);
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
    return record('conv2d', y, [x, weight, bias], [], (dy) => {
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
  const output = batchNormChecked(y, epilogue);
  if (!output.node) y.dispose();
  return output;
}
