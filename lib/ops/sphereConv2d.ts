import type {
  Absent, ConvGeometry, EpilogueArguments, Packed, SphereOptions as NativeSphereOptions, SphereSaved,
} from '../../typings/native';
import { isRecorded, record } from '../autograd';
import { OptionError, requireKnownKeys, requireNumber, requireOneOf, ShapeError } from '../errors';
import { codeOf, native, packer } from '../native';
import { Tensor } from '../tensor';
import {
  type CheckedBatchNorm, emptyEpilogueGradients, epilogueGradient, epilogueReads, evaluationEpilogue, filledGradients,
  type Statistics, trainingEpilogue,
} from './batchNorm';
import { formatShape, requireAlike } from './checks';
import {
  type CheckedGeometry, convGeometry, type ConvOptions, convOptionKeys, convOutputShape, emptyConvolution, kernelOf, normalized,
  type PreparedConvolution,
} from './conv2d';

/**
 * The angular functions g (paper: eq. 2-4), those of native/math/angular.h. `sigmoid` is learnable when its k is a
 * tensor; `square`, cos(theta) |cos(theta)|, is not the paper's.
 */
export const angularOperators = ['linear', 'cosine', 'sigmoid', 'square'] as const;
export type AngularOperator = (typeof angularOperators)[number];

/** Those with a curvature k. */
export const curvedOperators: readonly AngularOperator[] = ['sigmoid'];

/** The native code of an operator. @throws {OptionError} for an unknown name. */
export function angularCode(operator: AngularOperator): number {
  return codeOf('angular', requireOneOf('operator', operator, angularOperators));
}

/**
 * How norms are kept away from zero: `max` is 1/sqrt(max(|p|², eps²)), by which a zero patch has cosine 0 exactly;
 * `add` is 1/sqrt(|p|² + eps), as in the authors' code.
 */
export const normGuardKinds = ['max', 'add'] as const;
export interface NormGuard {
  kind: (typeof normGuardKinds)[number];
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

/** {@link SphereOptions}, checked. @internal */
export interface SphereArguments {
  code: number;
  kTensor: Tensor | null;
  kValue: number;
  packed: Packed<NativeSphereOptions>;
}

const packOptions = packer('SphereOptions');

/** @throws {OptionError} naming the option at fault. @internal */
export function sphereArguments(options: SphereOptions): SphereArguments {
  const { operator = 'sigmoid', k = defaultCurvature, normGuard = defaultNormGuard } = options;
  const code = angularCode(operator);
  const kTensor = k instanceof Tensor ? k : null;
  if (options.k !== undefined && !curvedOperators.includes(operator)) {
    throw new OptionError('k', `k belongs to the ${curvedOperators.join(' or ')} operator; the ${operator} operator has none`);
  }
  const kValue = kTensor ? defaultCurvature : requireNumber('k', k, { above: 0 });
  requireKnownKeys('normGuard', normGuard, ['kind', 'eps']);
  const eps = requireNumber('normGuard.eps', normGuard.eps, { above: 0 });
  const add = requireOneOf('normGuard.kind', normGuard.kind, normGuardKinds) === 'add';
  return { code, kTensor, kValue, packed: packOptions({ angular: code, k: kValue, eps, add }) };
}

/**
 * SphereConv: `y = g(theta) + bias`, theta the angle between patch and filter (paper: eq. 1-4). Invariant to the
 * length of both; without bias, y lies in [-1, 1]. A zero patch or filter has theta = pi/2, y = 0 and no gradient.
 * @param x Images `[N, H, W, C]`; N may be 0.
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
  const geometry = convGeometry(options, kernelOf(weight));
  return prepareSphereConv2d(x, weight, options.bias ?? null, geometry, sphereArguments(options)).run(null);
}

/** {@link sphereConv2d}, checked and not run yet. Its epilogue is done in the same pass. @internal */
export function prepareSphereConv2d(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  geometry: CheckedGeometry,
  options: SphereArguments,
): PreparedConvolution {
  return new SphereConvolution(x, weight, bias, geometry, options);
}

type Saved = readonly [s: Tensor, invPatchNorm: Tensor, invFilterNorm: Tensor];

const notSaved: Absent<SphereSaved> = [null, null, null];

class SphereConvolution implements PreparedConvolution {
  readonly y: Tensor;
  readonly #k: Tensor | null;
  readonly #packed: readonly [Packed<ConvGeometry>, Packed<NativeSphereOptions>];

  constructor(
    private readonly x: Tensor,
    private readonly weight: Tensor,
    private readonly bias: Tensor | null,
    private readonly geometry: CheckedGeometry,
    { kTensor, packed }: SphereArguments,
  ) {
    const shape = convOutputShape(x, weight, bias, geometry);
    const filters = weight.shape[0];
    requireAlike(['x', x], ['k', kTensor]);
    if (kTensor && (kTensor.shape.length !== 1 || (kTensor.size !== 1 && kTensor.size !== filters))) {
      throw new ShapeError('k', `k must have shape [1] or [${filters}], but has ${formatShape(kTensor.shape)}`);
    }
    this.#k = kTensor;
    this.#packed = [geometry.packed, packed];
    this.y = x.newEmpty(shape);
  }

  run(epilogue: CheckedBatchNorm | null): Tensor {
    const inputs = [this.x, this.weight, this.#k, this.bias];
    const { y } = this;
    if (y.size === 0) return emptyConvolution('sphereConv2d', y, inputs, epilogue);
    if (epilogue?.training) return this.#runTraining(inputs, epilogue);
    const epilogueArguments: EpilogueArguments | [] = epilogue ? evaluationEpilogue(epilogue) : [];
    if (!isRecorded(epilogue ? [...inputs, epilogue.gamma, epilogue.beta, epilogue.residual] : inputs)) {
      native.sphereConv2dForward(
        ...this.#operands(), y.handle, ...notSaved, ...this.#packed, ...epilogueArguments,
      );
      return y;
    }
    const saved = this.#emptySaved();
    native.sphereConv2dForward(...this.#operands(), y.handle, ...handlesOf(saved), ...this.#packed);
    record('sphereConv2d', y, inputs, { reads: this.#reads(), saved }, (dy) => this.#backward(inputs, saved, dy, []));
    return epilogue ? normalized(y, epilogue) : y;
  }

  /** With the batch normalisation, forward and backward. */
  #runTraining(inputs: readonly (Tensor | null)[], epilogue: CheckedBatchNorm): Tensor {
    const { y } = this;
    const { gamma, beta, residual } = epilogue;
    const saved = this.#emptySaved();
    const batch: Statistics = [gamma.newEmpty(), gamma.newEmpty()];
    const output = y.newEmpty();
    native.sphereConv2dForward(
      ...this.#operands(), y.handle, ...handlesOf(saved), ...this.#packed, ...trainingEpilogue(epilogue, batch, output),
    );
    const needs = { reads: { ...this.#reads(), ...epilogueReads(epilogue) }, saved: [y, ...saved, ...batch] };
    return record('sphereConv2dBatchNorm', output, [...inputs, gamma, beta, residual], needs, (dy) => {
      const gradients = emptyEpilogueGradients(epilogue);
      const own = this.#backward(inputs, saved, dy, epilogueGradient(y, epilogue, batch, gradients));
      return [...own, ...filledGradients(epilogue, dy, gradients)];
    });
  }

  /** Gradients of x, weight, k and bias. */
  #backward(
    inputs: readonly (Tensor | null)[],
    saved: Saved,
    dy: Tensor,
    epilogue: ReturnType<typeof epilogueGradient> | [],
  ): (Tensor | null)[] {
    const { x, weight } = this;
    const gradients = inputs.map((input) => (input?.requiresGrad ? input.newEmpty() : null));
    const [dx, dw, dk, dbias] = gradients;
    native.sphereConv2dBackward(
      x.handle, weight.handle, this.#k?.handle ?? null, ...handlesOf(saved), dy.handle,
      dx?.handle ?? null, dw?.handle ?? null, dk?.handle ?? null, dbias?.handle ?? null, ...this.#packed, ...epilogue,
    );
    return gradients;
  }

  /** The bias alone has a gradient that reads nothing. */
  #reads(): Record<string, Tensor | null> {
    const { x, weight } = this;
    const k = this.#k;
    return x.requiresGrad || weight.requiresGrad || k?.requiresGrad ? { x, weight, k } : {};
  }

  #operands() {
    return [this.x.handle, this.weight.handle, this.#k?.handle ?? null, this.bias?.handle ?? null] as const;
  }

  /** For what backward needs. */
  #emptySaved(): Saved {
    const { x, weight, y, geometry } = this;
    return [y.newEmpty(), x.newEmpty([...y.shape.slice(0, 3), geometry.groups]), x.newEmpty([weight.shape[0]])];
  }
}

function handlesOf([s, invPatchNorm, invFilterNorm]: Saved): SphereSaved {
  return [s.handle, invPatchNorm.handle, invFilterNorm.handle];
}
