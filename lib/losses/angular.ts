import { requireKnownKeys, requireNumber } from '../errors';
import { init, Parameter } from '../nn';
import {
  angularLogits, type AngularLogitOptions, type AngularOperator, angularSoftmax, type AngularSoftmaxOptions,
} from '../ops';
import { sphereArguments } from '../ops/sphereConv2d';
import type { Generator } from '../random';
import { type Tensor, zeros } from '../tensor';
import { type Annealing, type AnnealingSchedule, annealingSchedule, lambdaAt } from './annealing';
import { Head, type HeadOutput } from './head';

interface ClassWeightOptions {
  inFeatures: number;
  classes: number;
  /** Where the initial class weights come from. Default: the one that `manualSeed` resets. */
  generator?: Generator;
}

export interface WSoftmaxLossOptions extends ClassWeightOptions {
  /** Default `sigmoid`. */
  operator?: AngularOperator;
  /** Curvature of the sigmoid, > 0. Default 0.3. */
  k?: number;
}

const classWeightKeys = ['inFeatures', 'classes', 'generator'] as const;
const angularKeys = [...classWeightKeys, 'operator', 'k'] as const;

/** What the losses on angles have in common: class weights without bias, from N(0, 2 / D), and an angular function. */
abstract class AngularHead extends Head {
  readonly weight: Parameter;
  readonly #angular: AngularLogitOptions;

  protected constructor(options: WSoftmaxLossOptions, radius?: number) {
    super();
    const { operator, k, generator } = options;
    const inFeatures = requireNumber('inFeatures', options.inFeatures, { min: 1, integer: true });
    const classes = requireNumber('classes', options.classes, { min: 2, integer: true });
    sphereArguments({ operator, k });
    this.#angular = { operator, k, radius };
    this.weight = new Parameter(init.heNormal(zeros([classes, inFeatures]), { generator }));
  }

  override get classWeights(): Parameter {
    return this.weight;
  }

  forward(features: Tensor, labels: Tensor): HeadOutput {
    return angularSoftmax(features, this.weight, labels, { ...this.#angular, ...this.marginOptions() });
  }

  logits(features: Tensor): Tensor {
    return angularLogits(features, this.weight, this.#angular);
  }

  protected marginOptions(): Pick<AngularSoftmaxOptions, 'margin' | 'annealing'> {
    return {};
  }
}

/** W-Softmax: cross entropy of the logits `|x| g(theta_j)` (paper: eq. 11 with m = 1). */
export class WSoftmaxLoss extends AngularHead {
  /** @throws {OptionError} naming the option at fault. */
  constructor(options: WSoftmaxLossOptions) {
    requireKnownKeys('WSoftmaxLoss', options, angularKeys);
    super(options);
  }
}

export interface SSoftmaxLossOptions extends WSoftmaxLossOptions {
  /** Greater than 0. */
  radius: number;
}

/** S-Softmax: cross entropy of the logits `radius g(theta_j)`; the length of the features does not matter. */
export class SSoftmaxLoss extends AngularHead {
  /** @throws {OptionError} naming the option at fault. */
  constructor(options: SSoftmaxLossOptions) {
    requireKnownKeys('SSoftmaxLoss', options, [...angularKeys, 'radius']);
    super(options, requireNumber('radius', options.radius, { above: 0 }));
  }
}

export interface ASoftmaxLossOptions extends ClassWeightOptions {
  /** m of g_m, at least 1; an integer unless the operator is linear. Default 4. */
  margin?: number;
  /** How the margin comes in gradually. Default `sphereface`. */
  annealing?: Annealing;
}

export interface GASoftmaxLossOptions extends WSoftmaxLossOptions, ASoftmaxLossOptions {}

/**
 * GA-Softmax (paper: eq. 11): cross entropy of the logits `|x| g(theta_j)`, that of the true class being
 * `|x| (lambda g(theta) + g_m(theta)) / (1 + lambda)` with `g_m(theta) = g(m theta - j pi) - 2j`,
 * `j = min(floor(m theta / pi), m - 1)`.
 */
export class GASoftmaxLoss extends AngularHead {
  readonly margin: number;
  readonly #schedule: AnnealingSchedule | null;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: GASoftmaxLossOptions) {
    requireKnownKeys('GASoftmaxLoss', options, [...angularKeys, 'margin', 'annealing']);
    super(options);
    this.margin = requireNumber('margin', options.margin ?? 4, { min: 1, integer: options.operator !== 'linear' });
    this.#schedule = annealingSchedule(options.annealing ?? 'sphereface');
    this.atIteration(0);
  }

  override atIteration(iteration: number): void {
    super.atIteration(iteration);
    this.lambda = this.#schedule && lambdaAt(this.#schedule, iteration);
  }

  protected override marginOptions(): Pick<AngularSoftmaxOptions, 'margin' | 'annealing'> {
    return { margin: this.margin, annealing: () => this.lambda ?? 0 };
  }
}

/** A-Softmax: {@link GASoftmaxLoss} of the cosine. */
export class ASoftmaxLoss extends GASoftmaxLoss {
  /** @throws {OptionError} naming the option at fault. */
  constructor(options: ASoftmaxLossOptions) {
    requireKnownKeys('ASoftmaxLoss', options, [...classWeightKeys, 'margin', 'annealing']);
    super({ ...options, operator: 'cosine' });
  }
}
