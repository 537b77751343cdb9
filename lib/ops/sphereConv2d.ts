import type { AngularArguments, AngularCode, ConvGeometry, Native, OptionalNormalization } from '../../typings/native';
import { isRecorded, record } from '../autograd';
import { OptionError, requireKnownKeys, requireNumber, requireOneOf, ShapeError } from '../errors';
import { native } from '../native';
import { Tensor } from '../tensor';
import { type CheckedBatchNorm, fixedNormalization, normalizationBy } from './batchNorm';
import { formatShape, requireAlike } from './checks';
import {
  convGeometry, type ConvOptions, convOptionKeys, convOutputShape, normalizedSeparately, type PendingConvolution,
} from './conv2d';

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
  options: SphereArguments,
): Tensor {
  return new SphereConvolution(x, weight, bias, geometry, options).alone();
}

/** {@link sphereConv2d} before a batch normalisation: they share passes over the output. @internal */
export function pendingSphereConv2d(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  geometry: ConvGeometry,
  options: SphereArguments,
): PendingConvolution {
  return new SphereConvolution(x, weight, bias, geometry, options);
}

type Saved = readonly [kept: Tensor, invPatchNorm: Tensor, invFilterNorm: Tensor];

/** One SphereConv, checked and not run yet. */
class SphereConvolution implements PendingConvolution {
  readonly y: Tensor;
  readonly #k: Tensor | null;
  readonly #angular: AngularArguments;

  constructor(
    private readonly x: Tensor,
    private readonly weight: Tensor,
    private readonly bias: Tensor | null,
    private readonly geometry: ConvGeometry,
    { code, kTensor, kValue, eps, addEps }: SphereArguments,
  ) {
    const shape = convOutputShape(x, weight, bias, geometry);
    const filters = weight.shape[0];
    requireAlike(['x', x], ['k', kTensor]);
    if (kTensor && (kTensor.shape.length !== 1 || (kTensor.size !== 1 && kTensor.size !== filters))) {
      throw new ShapeError('k', `k must have shape [1] or [${filters}], but has ${formatShape(kTensor.shape)}`);
    }
    this.#k = kTensor;
    this.#angular = [code, kValue, eps, addEps];
    this.y = x.newEmpty(shape);
  }

  alone(): Tensor {
    const { y } = this;
    const inputs = this.#inputs();
    if (!isRecorded(inputs)) return this.#infer(null);
    const saved = this.#saved();
    native.sphereConv2dForward(...this.#forwardArguments(saved));
    return record('sphereConv2d', y, inputs, saved, (dy) => {
      const gradients = inputs.map(gradientOf);
      native.sphereConv2dBackward(...this.#backwardArguments(saved, dy, gradients));
      return gradients;
    });
  }

  normalized(normalization: CheckedBatchNorm): Tensor {
    const { y } = this;
    const { training, gamma, beta, runningMean, runningVariance, momentum } = normalization;
    const inputs = this.#inputs();
    if (!training) {
      if (isRecorded([...inputs, gamma, beta])) return normalizedSeparately(this.alone(), normalization);
      return this.#infer(...fixedNormalization(normalization));
    }
    const saved = this.#saved();
    const [mean, variance] = [gamma.newEmpty(), gamma.newEmpty()];
    const output = y.newEmpty();
    native.sphereConv2dNormalizedForward(
      ...this.#forwardArguments(saved), ...normalizationBy(normalization, mean, variance),
      runningMean.handle, runningVariance.handle, momentum, output.handle,
    );
    return record('sphereConv2dBatchNorm', output, [...inputs, gamma, beta], [y, ...saved, mean, variance], (dy) => {
      const gradients = inputs.map(gradientOf);
      const [dgamma, dbeta] = [gamma.newEmpty(), beta.newEmpty()];
      const slopes = gamma.newEmpty([2, gamma.size]);
      native.sphereConv2dNormalizedBackward(
        ...this.#backwardArguments(saved, dy, gradients), y.handle, ...normalizationBy(normalization, mean, variance),
        dgamma.handle, dbeta.handle, slopes.handle,
      );
      slopes.dispose();
      return [...gradients, dgamma, dbeta];
    });
  }

  #inputs(): (Tensor | null)[] {
    return [this.x, this.weight, this.#k, this.bias];
  }

  /** Room for what backward needs: kept, the inverse norms of the patches and of the filters. */
  #saved(): Saved {
    const { x, weight, y, geometry } = this;
    return [y.newEmpty(), x.newEmpty([...y.shape.slice(0, 3), geometry[6]]), x.newEmpty([weight.shape[0]])];
  }

  #infer(...normalization: OptionalNormalization): Tensor {
    const { x, weight, bias, y, geometry } = this;
    native.sphereConv2dInfer(
      x.handle, weight.handle, this.#k?.handle ?? null, bias?.handle ?? null, y.handle, geometry,
      ...this.#angular, ...normalization,
    );
    return y;
  }

  #forwardArguments([kept, invPatchNorm, invFilterNorm]: Saved): Parameters<Native['sphereConv2dForward']> {
    const { x, weight, bias, y, geometry } = this;
    return [
      x.handle, weight.handle, this.#k?.handle ?? null, bias?.handle ?? null,
      y.handle, kept.handle, invPatchNorm.handle, invFilterNorm.handle, geometry, ...this.#angular,
    ];
  }

  #backwardArguments(
    [kept, invPatchNorm, invFilterNorm]: Saved,
    dy: Tensor,
    [dx, dw, dk, dbias]: (Tensor | null)[],
  ): Parameters<Native['sphereConv2dBackward']> {
    const { x, weight, geometry } = this;
    return [
      x.handle, weight.handle, this.#k?.handle ?? null, kept.handle, invPatchNorm.handle, invFilterNorm.handle, dy.handle,
      dx?.handle ?? null, dw?.handle ?? null, dk?.handle ?? null, dbias?.handle ?? null, geometry, ...this.#angular,
    ];
  }
}

function gradientOf(input: Tensor | null): Tensor | null {
  return input?.requiresGrad ? input.newEmpty() : null;
}
