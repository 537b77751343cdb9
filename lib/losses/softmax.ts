import { z } from 'zod';
import { requireKnownKeys } from '../errors';
import { Linear, Module, type Parameter } from '../nn';
import { type CrossEntropyOptions, softmaxCrossEntropy } from '../ops';
import { requireCount } from '../ops/checks';
import { checkCrossEntropy, crossEntropyKeys } from '../ops/losses';
import type { Tensor } from '../tensor';
import { defineLoss } from './definition';
import { type ClassWeightOptions, classWeightKeys, Head, type HeadOutput } from './head';

/** Softmax and cross entropy on logits `[N, classes]`, as {@link softmaxCrossEntropy}. */
export class CrossEntropyLoss extends Module {
  readonly labelSmoothing: number;
  readonly logGuard: number;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: CrossEntropyOptions = {}) {
    super();
    requireKnownKeys('CrossEntropyLoss', options, crossEntropyKeys);
    ({ labelSmoothing: this.labelSmoothing, logGuard: this.logGuard } = checkCrossEntropy(options));
  }

  /**
   * @param labels `[N]`, i32, from 0 below classes.
   * @returns A scalar: the mean over the batch.
   */
  forward(logits: Tensor, labels: Tensor): Tensor {
    const { labelSmoothing, logGuard } = this;
    return softmaxCrossEntropy(logits, labels, { labelSmoothing, logGuard });
  }
}

export interface SoftmaxLossOptions extends ClassWeightOptions, CrossEntropyOptions {
  /** Whether the logits have a bias. Default true. */
  bias?: boolean;
}

/** Softmax loss: cross entropy of the logits `W x + b`. */
export class SoftmaxLoss extends Head {
  readonly linear: Linear;
  readonly #crossEntropy: CrossEntropyLoss;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: SoftmaxLossOptions) {
    super();
    requireKnownKeys('SoftmaxLoss', options, [...classWeightKeys, ...crossEntropyKeys, 'bias']);
    const { inFeatures, bias, labelSmoothing, logGuard, generator } = options;
    const classes = requireCount('classes', options.classes, 2);
    this.#crossEntropy = new CrossEntropyLoss({ labelSmoothing, logGuard });
    this.linear = new Linear({ inFeatures, outFeatures: classes, bias, generator });
  }

  override get classWeights(): Parameter {
    return this.linear.weight;
  }

  forward(features: Tensor, labels: Tensor): HeadOutput {
    const logits = this.logits(features);
    return { loss: this.#crossEntropy.forward(logits, labels), logits: logits.detach(), theta: null };
  }

  logits(features: Tensor): Tensor {
    return this.linear.forward(features);
  }
}

export const softmax = defineLoss('softmax', SoftmaxLoss, {
  bias: z.boolean().optional(),
  labelSmoothing: z.number().optional(),
  logGuard: z.number().optional(),
}, { bias: true, ...checkCrossEntropy({}) });
