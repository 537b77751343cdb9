import { requireNumber } from '../errors';
import { Module, type Parameter } from '../nn';
import type { Generator } from '../random';
import type { Shape, Tensor } from '../tensor';

/** What every head takes. */
export interface ClassWeightOptions {
  inFeatures: number;
  classes: number;
  /** Where the initial class weights come from. Default: the one that `manualSeed` resets. */
  generator?: Generator;
}

export const classWeightKeys = ['inFeatures', 'classes', 'generator'] as const;

export interface HeadOutput {
  /** A scalar: the mean over the batch. */
  loss: Tensor;
  /** `[N, classes]` without margin, off the tape. */
  logits: Tensor;
  /** Mean angle of the true class in radians, a scalar off the tape; null where the loss knows no angles. */
  theta: Tensor | null;
}

/** A loss that holds the weights of the classes: features and labels in, loss out. */
export abstract class Head extends Module {
  /** The weight of the true class's logit without margin; null where nothing is annealed. Set by atIteration. */
  lambda: number | null = null;

  /** One row for each class, `[classes, D]`. */
  abstract get classWeights(): Parameter;

  /**
   * @param features `[N, D]`
   * @param labels `[N]`, i32, from 0 below classes.
   */
  abstract override forward(features: Tensor, labels: Tensor): HeadOutput;

  /** For evaluation: `[N, D]` to `[N, classes]`, without margin. */
  abstract logits(features: Tensor): Tensor;

  /**
   * Tells the head where the run stands, before its forward pass.
   * @param iteration Counted from 0.
   * @param iterations Length of the run. Default: unknown, and what scales with it does not.
   * @throws {OptionError} naming the argument at fault.
   */
  atIteration(iteration: number, iterations?: number): void {
    requireNumber('iteration', iteration, { min: 0, integer: true });
    if (iterations !== undefined) requireNumber('iterations', iterations, { min: 1, integer: true });
  }

  override multiplyAdds(output: Shape): number {
    return output[0] * this.classWeights.size;
  }
}
