import { z } from 'zod';
import { requireKnownKeys, requireNumber } from '../errors';
import { Linear, Module, type Parameter } from '../nn';
import { softmaxCrossEntropy } from '../ops';
import type { Tensor } from '../tensor';
import { defineLoss } from './definition';
import { type ClassWeightOptions, classWeightKeys, Head, type HeadOutput } from './head';

/** Softmax and cross entropy on logits `[N, classes]`, as {@link softmaxCrossEntropy}. */
export class CrossEntropyLoss extends Module {
  readonly labelSmoothing: number;

  /**
   * @param options.labelSmoothing At least 0, less than 1. Default 0.
   * @throws {OptionError} naming the option at fault.
   */
  constructor(options: { labelSmoothing?: number } = {}) {
    super();
    requireKnownKeys('CrossEntropyLoss', options, ['labelSmoothing']);
    this.labelSmoothing = requireNumber('labelSmoothing', options.labelSmoothing ?? 0, { min: 0, below: 1 });
  }

  /**
   * @param labels `[N]`, i32, from 0 below classes.
   * @returns A scalar: the mean over the batch.
   */
  forward(logits: Tensor, labels: Tensor): Tensor {
    return softmaxCrossEntropy(logits, labels, { labelSmoothing: this.labelSmoothing });
  }
}

export interface SoftmaxLossOptions extends ClassWeightOptions {
  /** Whether the logits have a bias. Default true. */
  bias?: boolean;
  /** At least 0, less than 1. Default 0. */
  labelSmoothing?: number;
}

/** Softmax loss: cross entropy of the logits `W x + b`. */
export class SoftmaxLoss extends Head {
  readonly linear: Linear;
  readonly #crossEntropy: CrossEntropyLoss;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: SoftmaxLossOptions) {
    super();
    requireKnownKeys('SoftmaxLoss', options, [...classWeightKeys, 'bias', 'labelSmoothing']);
    const { inFeatures, bias, labelSmoothing, generator } = options;
    const classes = requireNumber('classes', options.classes, { min: 2, integer: true });
    this.#crossEntropy = new CrossEntropyLoss({ labelSmoothing });
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
}, { bias: true, labelSmoothing: 0 });
