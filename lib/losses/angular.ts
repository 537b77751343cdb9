import { z } from 'zod';
import { requireNumber } from '../errors';
import { init, Parameter } from '../nn';
import {
  angularLogits, type AngularLogitOptions, type AngularOperator, angularOperators, angularSoftmax, type AngularSoftmaxOptions,
} from '../ops';
import { sphereArguments } from '../ops/sphereConv2d';
import { type Tensor, zeros } from '../tensor';
import { lossFlags } from './definition';
import { type ClassWeightOptions, classWeightKeys, Head, type HeadOutput } from './head';

export interface AngularHeadOptions extends ClassWeightOptions {
  /** Default `sigmoid`. */
  operator?: AngularOperator;
  /** Curvature of the sigmoid, > 0. Default 0.3. */
  k?: number;
}

export const angularKeys = [...classWeightKeys, 'operator', 'k'] as const;

/** Of a config. */
export const angularOptions = {
  operator: z.enum(angularOperators).optional().register(lossFlags, {
    flags: '--loss-operator <name>', description: 'angular function of the loss (default: sigmoid)', choices: angularOperators,
  }),
  k: z.number().optional(),
};

/** What a loss does to the true class. */
export type AngularMargin = Pick<AngularSoftmaxOptions, 'marginFunction' | 'margin' | 'annealing'>;

/** What the losses on angles have in common: class weights without bias, from N(0, 2 / D), and an angular function. */
export abstract class AngularHead extends Head {
  readonly weight: Parameter;
  readonly #angular: AngularLogitOptions;

  protected constructor(options: AngularHeadOptions, radius?: number) {
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

  protected marginOptions(): AngularMargin {
    return {};
  }
}
