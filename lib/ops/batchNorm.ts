import { record } from '../autograd';
import { requireKnownKeys, requireNumber, ShapeError } from '../errors';
import { native } from '../native';
import { full, Tensor, tidy } from '../tensor';
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

type Checked = Required<BatchNormOptions>;

function checkOptions(x: Tensor, options: BatchNormOptions): Checked {
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
  const checked = checkOptions(x, options);
  return checked.training ? train(x, checked) : infer(x, checked);
}

function emptyLike(tensor: Tensor): Tensor {
  return Tensor.empty(tensor.shape, tensor.dtype);
}

function train(x: Tensor, { gamma, beta, runningMean, runningVariance, momentum, eps, relu }: Checked): Tensor {
  const y = Tensor.empty(x.shape, x.dtype);
  const mean = Tensor.empty(gamma.shape, x.dtype);
  const variance = Tensor.empty(gamma.shape, x.dtype);
  native.batchNormTrain(
    x.handle, gamma.handle, beta.handle, runningMean.handle, runningVariance.handle,
    y.handle, mean.handle, variance.handle, eps, momentum, relu,
  );
  return record('batchNorm', y, [x, gamma, beta], [mean, variance], (dy) => {
    const [dx, dgamma, dbeta] = [x, gamma, beta].map(emptyLike);
    native.batchNormBackward(
      x.handle, gamma.handle, mean.handle, variance.handle, y.handle, dy.handle,
      dx.handle, dgamma.handle, dbeta.handle, eps, relu,
    );
    return [dx, dgamma, dbeta];
  });
}

function infer(x: Tensor, { gamma, beta, runningMean, runningVariance, eps, relu }: Checked): Tensor {
  const y = Tensor.empty(x.shape, x.dtype);
  native.batchNormInfer(
    x.handle, gamma.handle, beta.handle, runningMean.handle, runningVariance.handle, y.handle, eps, relu,
  );
  // With fixed statistics y is affine in x. The forward operator itself serves: as (x - mean) / deviation and, with a
  // mean of zero, as dy / deviation.
  return record('batchNorm', y, [x, gamma, beta], [], (dy) =>
    tidy(() => {
      const one = full(gamma.shape, 1, { dtype: x.dtype });
      const zero = full(gamma.shape, 0, { dtype: x.dtype });
      const divide = (from: Tensor, mean: Tensor) => {
        const quotient = Tensor.empty(x.shape, x.dtype);
        native.batchNormInfer(
          from.handle, one.handle, zero.handle, mean.handle, runningVariance.handle, quotient.handle, eps, false,
        );
        return quotient;
      };
      const passed = Tensor.empty(x.shape, x.dtype);
      if (relu) native.reluBackward(y.handle, dy.handle, passed.handle);
      else native.copy(dy.handle, passed.handle);
      const normalized = divide(x, runningMean);
      const [dnormalized, dgamma, dbeta] = [x, gamma, beta].map(emptyLike);
      native.affineBackward(
        normalized.handle, gamma.handle, passed.handle, dnormalized.handle, dgamma.handle, dbeta.handle,
      );
      return [divide(dnormalized, zero), dgamma, dbeta];
    }),
  );
}
