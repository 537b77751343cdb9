import { describe, OptionError, requireKnownKeys, requireNumber, requireOneOf } from '../errors';
import { type NormGuard, positive, positivities, type Positivity } from '../ops';
import { requireCount } from '../ops/checks';
import type { PreparedConvolution } from '../ops/conv2d';
import {
  type AngularOperator, curvedOperators, defaultCurvature, defaultNormGuard, prepareSphereConv2d, type SphereArguments, sphereArguments,
} from '../ops/sphereConv2d';
import { sphereLinearWithArguments } from '../ops/sphereLinear';
import { full, type Tensor } from '../tensor';
import { type Conv2dOptions, conv2dOptionKeys, Convolution } from './conv';
import { FullyConnected, type LinearOptions, linearOptionKeys } from './linear';
import { Module, Parameter } from './module';

export interface CurvatureOptions {
  /** First value of k, greater than 0; with `absolute`, greater than 0.05. Default 0.5. */
  k?: number;
  /** How k is made of the free parameter p: `softplus` is log(1 + eᵖ), `absolute` is |p| + 0.05. Default softplus. */
  positivity?: Positivity;
  /** How many k: 1, or one for each filter. Default 1. */
  size?: number;
}

const defaultLearnableCurvature = 0.5;

/** A learned k of the sigmoid operator, held positive by its parametrisation. Layers may share one. */
export class Curvature extends Module {
  /** The free parameter p, `[size]`. */
  readonly free: Parameter;
  readonly positivity: Positivity;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: CurvatureOptions = {}) {
    super();
    requireKnownKeys('Curvature', options, ['k', 'positivity', 'size']);
    const { k = defaultLearnableCurvature, positivity = 'softplus', size = 1 } = options;
    requireCount('size', size);
    this.free = new Parameter(full([size], freeValue(k, positivity)));
    this.positivity = positivity;
  }

  /** k, `[size]`. */
  forward(): Tensor {
    return positive(this.free, this.positivity);
  }
}

/** The p that gives this k. @internal */
export function freeValue(k: number, positivity: Positivity): number {
  if (requireOneOf('positivity', positivity, positivities) === 'absolute') {
    return requireNumber('k', k, { above: 0.05 }) - 0.05;
  }
  return requireNumber('k', k, { above: 0 }) + Math.log(-Math.expm1(-k));
}

/** The angular function of a layer. */
export interface SphereLayerOptions {
  /** Default `sigmoid`. */
  operator?: AngularOperator;
  /** Curvature of the sigmoid, > 0; its first value where it is learned. Default 0.3, and 0.5 where it is learned. */
  k?: number;
  /** One k learned for each `filter`, for the `layer`, or a {@link Curvature} that layers share. Default false. */
  learnable?: false | 'filter' | 'layer' | Curvature;
  /** How a learned k is held positive. Default softplus. */
  positivity?: Positivity;
  /** How norms are kept away from zero. Default `{ kind: 'max', eps: 1e-6 }`. */
  normGuard?: NormGuard;
}

/** What a layer takes for options that are not given. @internal */
export function sphereDefaults({ learnable = false }: { learnable?: false | string }): object {
  const k = learnable === false ? defaultCurvature : defaultLearnableCurvature;
  return { operator: 'sigmoid', k, learnable, positivity: 'softplus', normGuard: defaultNormGuard };
}

const sphereLayerOptionKeys = ['operator', 'k', 'learnable', 'positivity', 'normGuard'] as const;

function curvatureOf(options: SphereLayerOptions, filters: number): Curvature | null {
  const { operator = 'sigmoid', k, learnable = false, positivity } = options;
  if (learnable !== false && !curvedOperators.includes(operator)) {
    throw new OptionError('learnable', `learnable belongs to the ${curvedOperators.join(' or ')} operator; the ${operator} operator has no k`);
  }
  if (learnable === 'filter' || learnable === 'layer') {
    return new Curvature({ k, positivity, size: learnable === 'filter' ? filters : 1 });
  }
  if (positivity !== undefined) {
    throw new OptionError('positivity', 'positivity needs learnable "filter" or "layer"; a shared Curvature has its own');
  }
  if (learnable === false) return null;
  if (!(learnable instanceof Curvature)) {
    throw new OptionError('learnable', `learnable must be false, "filter", "layer" or a Curvature, but got ${describe(learnable)}`);
  }
  if (k !== undefined) throw new OptionError('k', 'k cannot be given beside a shared Curvature, which has its own');
  return learnable;
}

/** The checked angular function of a layer, its learned k included. */
class Angular {
  readonly curvature: Curvature | null;
  readonly #fixed: SphereArguments;

  constructor({ operator, k, normGuard, ...learning }: SphereLayerOptions, filters: number) {
    this.#fixed = sphereArguments({ operator, k, normGuard });
    this.curvature = curvatureOf({ operator, k, ...learning }, filters);
  }

  /** For one forward pass. */
  arguments(): SphereArguments {
    return this.curvature ? { ...this.#fixed, kTensor: this.curvature.forward() } : this.#fixed;
  }
}

export interface SphereConv2dOptions extends Conv2dOptions, SphereLayerOptions {
  /** Whether a bias is learned; it starts at 0. Default false. */
  bias?: boolean;
}

/**
 * SphereConv, `y = g(theta) + bias`, theta the angle between patch and filter: `[N, H, W, C]` to `[N, OH, OW, O]`,
 * extents as in {@link Conv2d}. A twin Conv2d with the same generator starts from the same filters.
 */
export class SphereConv2d extends Convolution {
  /** The learned k, if any. */
  readonly curvature: Curvature | null;
  readonly #angular: Angular;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: SphereConv2dOptions) {
    requireKnownKeys('SphereConv2d', options, [...conv2dOptionKeys, ...sphereLayerOptionKeys]);
    super(options, false);
    this.#angular = new Angular(options, options.outChannels);
    this.curvature = this.#angular.curvature;
  }

  /** The forward pass, checked and not run yet, for the layer that follows to join. */
  prepare(x: Tensor): PreparedConvolution {
    return prepareSphereConv2d(x, this.weight, this.bias, this.geometry, this.#angular.arguments());
  }
}

export interface SphereLinearOptions extends LinearOptions, SphereLayerOptions {
  /** Whether a bias is learned; it starts at 0. Default false. */
  bias?: boolean;
}

/** SphereLinear, `y = g(theta) + bias`, theta the angle between x and each row of weight: `[N, D]` to `[N, O]`. */
export class SphereLinear extends FullyConnected {
  /** The learned k, if any. */
  readonly curvature: Curvature | null;
  readonly #angular: Angular;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: SphereLinearOptions) {
    requireKnownKeys('SphereLinear', options, [...linearOptionKeys, ...sphereLayerOptionKeys]);
    super(options, false);
    this.#angular = new Angular(options, options.outFeatures);
    this.curvature = this.#angular.curvature;
  }

  forward(x: Tensor): Tensor {
    return sphereLinearWithArguments(x, this.weight, this.bias, this.#angular.arguments());
  }
}
