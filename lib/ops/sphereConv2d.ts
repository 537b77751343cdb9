import type { AngularCode, ConvGeometry } from '../../typings/native';
import { record } from '../autograd';
import { OptionError, requireKnownKeys, requireNumber, requireOneOf, ShapeError } from '../errors';
import { native } from '../native';
import { Tensor } from '../tensor';
import { formatShape, requireAlike } from './checks';
import { convGeometry, type ConvOptions, convOptionKeys, convOutputShape } from './conv2d';

/** The angular functions g of the paper (eq. 2-4); `sigmoid` is learnable when its k is a tensor. */
export type AngularOperator = 'linear' | 'cosine' | 'sigmoid';

export const angularOperators: readonly AngularOperator[] = ['linear', 'cosine', 'sigmoid'];
const angularCodes: Record<AngularOperator, AngularCode> = { linear: 0, cosine: 1, sigmoid: 2 };

/** The native code of an operator. @throws {OptionError} for an unknown name. */
export function angularCode(operator: AngularOperator): AngularCode {
  return angularCodes[requireOneOf('operator', operator, angularOperators)];
}

/**
 * How norms are kept away from zero: `max` is 1/sqrt(max(|p|², eps²)), by which a zero patch has cosine 0 exactly;
 * `add` is 1/sqrt(|p|² + eps), as in the authors' code.
 */
export interface NormGuard {
  kind: 'max' | 'add';
  eps: number;
}

export const defaultNormGuard: NormGuard = { kind: 'max', eps: 1e-6 };
/** The guard of the authors' released code, for comparing results with theirs. */
export const officialNormGuard: NormGuard = { kind: 'add', eps: 1e-4 };

/** Default curvature of the sigmoid operator: the best of the paper's Table 1. */
export const defaultCurvature = 0.3;

export interface SphereOptions {
  /** Default `sigmoid`. */
  operator?: AngularOperator;
  /** Curvature of the sigmoid, > 0: a number, or a tensor `[1]` or `[O]` to be learned. Default 0.3. */
  k?: number | Tensor;
  /** Default `{ kind: 'max', eps: 1e-6 }`. */
  normGuard?: NormGuard;
}

/** Checked, native form of {@link SphereOptions}. @internal */
export interface SphereArguments {
  code: AngularCode;
  kTensor: Tensor | null;
  kValue: number;
  eps: number;
  addEps: boolean;
}

/** @throws {OptionError} naming the option at fault. @internal */
export function sphereArguments(options: SphereOptions): SphereArguments {
  const { operator = 'sigmoid', k = defaultCurvature, normGuard = defaultNormGuard } = options;
  const code = angularCode(operator);
  const kTensor = k instanceof Tensor ? k : null;
  if (options.k !== undefined && operator !== 'sigmoid') {
    throw new OptionError('k', `k belongs to the sigmoid operator; the ${operator} operator has none`);
  }
  return {
    code,
    kTensor,
    kValue: kTensor ? defaultCurvature : requireNumber('k', k, { above: 0 }),
    eps: requireNumber('normGuard.eps', normGuard.eps, { above: 0 }),
    addEps: requireOneOf('normGuard.kind', normGuard.kind, ['max', 'add']) === 'add',
  };
}

/**
 * SphereConv: `y = g(theta) + bias`, theta the angle between patch and filter (paper: eq. 1-4). Invariant to the
 * length of both; without bias, y lies in [-1, 1]. A zero patch or filter has theta = pi/2, y = 0 and no gradient.
 * @param x Images `[N, H, W, C]`.
 * @param weight Filters `[O, kH, kW, C / groups]`; with groups, a patch is the part of one group.
 * @returns `[N, OH, OW, O]`, extents as in `conv2d`.
 * @throws {ShapeError | DTypeError | DeviceError | OptionError} naming the argument at fault.
 */
export function sphereConv2d(
  x: Tensor,
  weight: Tensor,
  options: ConvOptions & SphereOptions & { bias?: Tensor | null } = {},
): Tensor {
  requireKnownKeys('sphereConv2d', options, [...convOptionKeys, 'operator', 'k', 'normGuard', 'bias']);
  return sphereConv2dWithArguments(x, weight, options.bias ?? null, convGeometry(options), sphereArguments(options));
}

/** {@link sphereConv2d} with options that were checked before. @internal */
export function sphereConv2dWithArguments(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  geometry: ConvGeometry,
  { code, kTensor: k, kValue, eps, addEps }: SphereArguments,
): Tensor {
  const shape = convOutputShape(x, weight, bias, geometry);
  const filters = weight.shape[0];
  requireAlike(['x', x], ['k', k]);
  if (k && (k.shape.length !== 1 || (k.size !== 1 && k.size !== filters))) {
    throw new ShapeError('k', `k must have shape [1] or [${filters}], but has ${formatShape(k.shape)}`);
  }
  const y = Tensor.empty(shape, x.dtype);
  const cosine = Tensor.empty(shape, x.dtype);
  const invPatchNorm = Tensor.empty([...shape.slice(0, 3), geometry[6]], x.dtype);
  const invFilterNorm = Tensor.empty([filters], x.dtype);
  native.sphereConv2dForward(
    x.handle, weight.handle, k?.handle ?? null, bias?.handle ?? null,
    y.handle, cosine.handle, invPatchNorm.handle, invFilterNorm.handle,
    geometry, code, kValue, eps, addEps,
  );
  return record('sphereConv2d', y, [x, weight, k, bias], [cosine, invPatchNorm, invFilterNorm], (dy) => {
    const gradientOf = (input: Tensor | null) => (input?.requiresGrad ? Tensor.empty(input.shape, input.dtype) : null);
    const [dx, dw, dk, dbias] = [gradientOf(x), gradientOf(weight), gradientOf(k), gradientOf(bias)];
    native.sphereConv2dBackward(
      x.handle, weight.handle, k?.handle ?? null,
      cosine.handle, invPatchNorm.handle, invFilterNorm.handle, dy.handle,
      dx?.handle ?? null, dw?.handle ?? null, dk?.handle ?? null, dbias?.handle ?? null,
      geometry, code, kValue, eps, addEps,
    );
    return [dx, dw, dk, dbias];
  });
}
