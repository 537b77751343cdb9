import { z } from 'zod';
import { init, Parameter } from '../nn';
import {
  angularLogits, type AngularLogitOptions, type AngularOperator, angularOperators, angularSoftmax, type AngularSoftmaxOptions,
} from '../ops';
import { requireCount } from '../ops/checks';
import { defaultCurvature, sphereArguments } from '../ops/sphereConv2d';
import { type Tensor, tensor, tidy, zeros } from '../tensor';
import { optionFlags } from './definition';
import { type ClassWeightOptions, classWeightKeys, Head, type HeadOutput } from './head';
import { warnOfHighFloor } from './lossFloor';

export interface AngularHeadOptions extends ClassWeightOptions {
  /** Default `sigmoid`. */
  operator?: AngularOperator;
  /** Curvature of the sigmoid, > 0. Default 0.3. */
  k?: number;
}

export const angularKeys = [...classWeightKeys, 'operator', 'k'] as const;

/** Of a config. */
export const angularOptions = {
  operator: z.enum(angularOperators).optional().register(optionFlags, {
    flags: '--loss-operator <name>', description: 'angular function of the loss (default: sigmoid)', choices: angularOperators,
  }),
  k: z.number().optional(),
};

export const angularDefaults = { operator: 'sigmoid', k: defaultCurvature } as const;

/** What a loss does to the true class. */
export type AngularMargin = Pick<AngularSoftmaxOptions, 'marginFunction' | 'margin' | 'annealing'>;

/** What the losses on angles have in common: class weights without bias, from N(0, 2 / D), and an angular function. */
export abstract class AngularHead extends Head {
  readonly weight: Parameter;
  readonly #angular: AngularLogitOptions;
  readonly #radius: number | undefined;
  /** g where the class weights are as far from each other as they can be. */
  readonly #farthest: number;
  #hasTrained = false;

  /** @param radius Of logits `radius g(theta)`, checked; without it they are `|x| g(theta)`. */
  protected constructor(options: AngularHeadOptions, radius?: number) {
    super();
    const { operator, k, generator } = options;
    const inFeatures = requireCount('inFeatures', options.inFeatures);
    const classes = requireCount('classes', options.classes, 2);
    sphereArguments({ operator, k });
    this.#angular = { operator, k };
    this.#radius = radius;
    this.weight = new Parameter(init.heNormal(zeros([classes, inFeatures]), { generator }));
    this.#farthest = valueOf(this.#angular, -1 / (classes - 1));
  }

  override get classWeights(): Parameter {
    return this.weight;
  }

  forward(features: Tensor, labels: Tensor): HeadOutput {
    // Not in the constructor: that a checkpoint is only evaluated is no reason to warn.
    if (!this.#hasTrained && this.#radius !== undefined) this.#warnOfHighFloor(this.#radius);
    this.#hasTrained = true;
    return angularSoftmax(features, this.weight, labels, { ...this.#angular, radius: this.radius(), ...this.marginOptions() });
  }

  logits(features: Tensor): Tensor {
    return tidy(() => angularLogits(features, this.weight, { ...this.#angular, radius: this.radius() }));
  }

  /** That of the constructor; overridden where it is learned. */
  protected radius(): number | Tensor | undefined {
    return this.#radius;
  }

  protected marginOptions(): AngularMargin {
    return {};
  }

  /** The function of the true class at an angle of 0. */
  protected highestValue(): number {
    return 1;
  }

  #warnOfHighFloor(scale: number): void {
    warnOfHighFloor(this.constructor.name, { classes: this.weight.shape[0], scale, gap: this.highestValue() - this.#farthest });
  }
}

/** g of the angle with this cosine. */
function valueOf(angular: AngularLogitOptions, cosine: number): number {
  return tidy(() => {
    const pair = [[1, 0], [cosine, Math.sqrt(1 - cosine * cosine)]];
    const [feature, weight] = pair.map((row) => tensor([row], [1, 2], { dtype: 'f64', device: 'cpu' }));
    return angularLogits(feature, weight, angular).item();
  });
}
