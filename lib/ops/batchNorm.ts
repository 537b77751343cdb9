import type { Normalization } from '../../typings/native';
import { record } from '../autograd';
import { requireKnownKeys, requireNumber, ShapeError } from '../errors';
import { native } from '../native';
import { type Tensor, tidy } from '../tensor';
import { formatShape, requireAlike, requireBoolean, requireFloat, requireRank, requireShape } from './checks';

export interface BatchNormOptions {
  /** `[C]` */
  gamma: Tensor;
  /** `[C]` */
  beta: Tensor;
  /** `[C]`, updated in place when training. */
  runningMean: Tensor;
  /** `[C]`, updated in place when training, with the unbiased variance. */
  runningVariance: Tensor;
  /** Whether to normalise by the statistics of the batch, or by the running ones. */
  training: boolean;
  /** Share of the new batch in the running statistics, 0 to 1. Default 0.1. */
  momentum?: number;
  /** Added to the variance, > 0. Default 1e-5. */
  eps?: number;
  /** Whether a ReLU follows, in one pass. Default false. */
  relu?: boolean;
}

const statistics = ['gamma', 'beta', 'runningMean', 'runningVariance'] as const;

/** Options that fit the tensor to be normalised. @internal */
export type CheckedBatchNorm = Required<BatchNormOptions>;

/** @throws {ShapeError | DTypeError | DeviceError | OptionError} naming the argument at fault. @internal */
export function checkBatchNorm(x: Tensor, options: BatchNormOptions): CheckedBatchNorm {
  requireKnownKeys('batchNorm', options, [...statistics, 'training', 'momentum', 'eps', 'relu']);
  const training = requireBoolean('training', options.training);
  const relu = requireBoolean('relu', options.relu ?? false);
  const momentum = requireNumber('momentum', options.momentum ?? 0.1, { min: 0, max: 1 });
  const eps = requireNumber('eps', options.eps ?? 1e-5, { above: 0 });
  requireFloat('x', x);
  requireRank('x', x, x.shape.length === 2 ? 2 : 4, '[N, C] or [N, H, W, C]');
  const channels = x.shape.at(-1)!;
  for (const name of statistics) {
    requireFloat(name, options[name]);
    requireAlike(['x', x], [name, options[name]]);
    requireShape(name, options[name], [channels]);
  }
  if (training && x.size === channels) {
    throw new ShapeError('x', `training needs more than one value a channel, but x has shape ${formatShape(x.shape)}`);
  }
  return { ...options, training, relu, momentum, eps };
}

/**
 * Batch normalisation over all axes but the last, `y = gamma (x - mean) / sqrt(variance + eps) + beta`, possibly with
 * its ReLU. Mean and (biased) variance are those of the batch when training, else the running ones; these must stay
 * as they are until `backward()`.
 * @param x `[N, C]` or `[N, H, W, C]`; when training, with more than one value a channel.
 * @throws {ShapeError | DTypeError | DeviceError | OptionError} naming the argument at fault.
 */
export function batchNorm(x: Tensor, options: BatchNormOptions): Tensor {
  return batchNormChecked(x, checkBatchNorm(x, options));
}

/** {@link batchNorm} with options that were checked before. @internal */
export function batchNormChecked(x: Tensor, options: CheckedBatchNorm): Tensor {
  return options.training ? train(x, options) : infer(x, options);
}

/** The normalisation by these statistics as the native side takes it. @internal */
export function normalizationBy(options: CheckedBatchNorm, mean: Tensor, variance: Tensor): Normalization {
  const { gamma, beta, eps, relu } = options;
  return [gamma.handle, beta.handle, mean.handle, variance.handle, eps, relu];
}

/** By the running statistics. @internal */
export function fixedNormalization(options: CheckedBatchNorm): Normalization {
  return normalizationBy(options, options.runningMean, options.runningVariance);
}

function train(x: Tensor, options: CheckedBatchNorm): Tensor {
  const { gamma, beta, runningMean, runningVariance, momentum } = options;
  const y = x.newEmpty();
  const [mean, variance] = [gamma.newEmpty(), gamma.newEmpty()];
  native.batchNormTrain(
    x.handle, ...normalizationBy(options, mean, variance), runningMean.handle, runningVariance.handle, momentum, y.handle,
  );
  return record('batchNorm', y, [x, gamma, beta], [mean, variance], (dy) => {
    const [dx, dgamma, dbeta] = [x.newEmpty(), gamma.newEmpty(), beta.newEmpty()];
    const slopes = gamma.newEmpty([2, gamma.size]);
    native.batchNormBackward(
      x.handle, ...normalizationBy(options, mean, variance), dy.handle, dx.handle, dgamma.handle, dbeta.handle, slopes.handle,
    );
    slopes.dispose();
    return [dx, dgamma, dbeta];
  });
}

function infer(x: Tensor, options: CheckedBatchNorm): Tensor {
  const { gamma, beta, runningMean, runningVariance, eps, relu } = options;
  const y = x.newEmpty();
  native.batchNormInfer(x.handle, ...fixedNormalization(options), y.handle);
  // With fixed statistics y is affine in x. The forward operator itself serves: as (x - mean) / deviation and, with a
  // mean of zero, as dy / deviation.
  return record('batchNorm', y, [x, gamma, beta], [], (dy) =>
    tidy(() => {
      const one = gamma.newFull(1);
      const zero = gamma.newFull(0);
      const divide = (from: Tensor, mean: Tensor) => {
        const quotient = x.newEmpty();
        native.batchNormInfer(
          from.handle, one.handle, zero.handle, mean.handle, runningVariance.handle, eps, false, quotient.handle,
        );
        return quotient;
      };
      const passed = x.newEmpty();
      if (relu) native.reluBackward(y.handle, dy.handle, passed.handle);
      else native.copy(dy.handle, passed.handle);
      const normalized = divide(x, runningMean);
      const [dnormalized, dgamma, dbeta] = [x, gamma, beta].map((each) => each.newEmpty());
      native.affineBackward(
        normalized.handle, gamma.handle, passed.handle, dnormalized.handle, dgamma.handle, dbeta.handle,
      );
      return [divide(dnormalized, zero), dgamma, dbeta];
    }),
  );
}
