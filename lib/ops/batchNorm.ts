import type { EpilogueArguments, EpilogueGradientArguments, Normalization } from '../../typings/native';
import { record } from '../autograd';
import { requireKnownKeys, requireNumber, ShapeError } from '../errors';
import { native, packer } from '../native';
import { type Tensor, tidy } from '../tensor';
import { formatShape, requireAlike, requireBatch, requireBoolean, requireFloat, requireShape } from './checks';
import { emptyResult } from './empty';

/** @internal */
export const defaultMomentum = 0.1;
/** @internal */
export const defaultEps = 1e-5;

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
  /** Added to the normalised x in the same pass, of its shape: the shortcut of a residual network. Default: none. */
  residual?: Tensor | null;
  /** Whether a ReLU follows, in one pass. Default false. */
  relu?: boolean;
}

const statistics = ['gamma', 'beta', 'runningMean', 'runningVariance'] as const;

/** Options that fit the tensor to be normalised: what a convolution takes as its epilogue. */
export type CheckedBatchNorm = Required<BatchNormOptions>;

/** @throws {ShapeError | DTypeError | DeviceError | OptionError} naming the argument at fault. @internal */
export function checkBatchNorm(x: Tensor, options: BatchNormOptions): CheckedBatchNorm {
  requireKnownKeys('batchNorm', options, [...statistics, 'training', 'momentum', 'eps', 'residual', 'relu']);
  const training = requireBoolean('training', options.training);
  const relu = requireBoolean('relu', options.relu ?? false);
  const momentum = requireNumber('momentum', options.momentum ?? defaultMomentum, { min: 0, max: 1 });
  const eps = requireNumber('eps', options.eps ?? defaultEps, { above: 0 });
  const residual = options.residual ?? null;
  requireFloat('x', x);
  requireBatch('x', x, x.shape.length === 2 ? 2 : 4, '[N, C] or [N, H, W, C]');
  const channels = x.shape.at(-1)!;
  for (const name of statistics) {
    requireFloat(name, options[name]);
    requireAlike(['x', x], [name, options[name]]);
    requireShape(name, options[name], [channels]);
  }
  requireAlike(['x', x], ['residual', residual]);
  if (residual) requireShape('residual', residual, x.shape);
  if (training && x.size <= channels) {
    const hint = 'a loader with dropLast leaves out a last batch of one image';
    throw new ShapeError('x', `training needs more than one value a channel, but x has shape ${formatShape(x.shape)}; ${hint}`);
  }
  return { ...options, training, relu, momentum, eps, residual };
}

/**
 * Batch normalisation over all axes but the last, `y = gamma (x - mean) / sqrt(variance + eps) + beta`, possibly with a
 * residual added and a ReLU after it. Mean and (biased) variance are those of the batch when training, else the running
 * ones; these must stay as they are until `backward()`.
 * @param x `[N, C]` or `[N, H, W, C]`; when training, with more than one value a channel. N may else be 0.
 * @throws {ShapeError | DTypeError | DeviceError | OptionError} naming the argument at fault.
 */
export function batchNorm(x: Tensor, options: BatchNormOptions): Tensor {
  return batchNormChecked(x, checkBatchNorm(x, options));
}

/**
 * {@link batchNorm} with options that were checked before.
 * @param owned What nothing else needs, such as an x that is not on the tape: released with what backward needs.
 * @internal
 */
export function batchNormChecked(x: Tensor, options: CheckedBatchNorm, owned: readonly Tensor[] = []): Tensor {
  return options.training ? train(x, options, owned) : infer(x, options, owned);
}

/** Mean and variance of a batch, `[C]`. @internal */
export type Statistics = readonly [mean: Tensor, variance: Tensor];

const packEpilogue = packer('Epilogue');
const packGradient = packer('EpilogueGradient');

function normalization({ gamma, beta }: CheckedBatchNorm, [mean, variance]: Statistics): Normalization {
  return [gamma.handle, beta.handle, mean.handle, variance.handle];
}

/** In training: by the statistics of the batch, which are filled. The result goes to `output`, or without one over y. @internal */
export function trainingEpilogue(options: CheckedBatchNorm, batch: Statistics, output: Tensor | null): EpilogueArguments {
  const { runningMean, runningVariance, residual, momentum, eps, relu } = options;
  const [mean, variance] = batch;
  runningMean.markChanged();
  runningVariance.markChanged();
  return [
    mean.handle, variance.handle, runningMean.handle, runningVariance.handle, ...normalization(options, batch),
    residual?.handle ?? null, output?.handle ?? null, packEpilogue({ momentum, eps, relu }),
  ];
}

/** In evaluation: by the running statistics, over y. @internal */
export function evaluationEpilogue(options: CheckedBatchNorm): EpilogueArguments {
  const { runningMean, runningVariance, residual, eps, relu } = options;
  return [
    null, null, null, null, ...normalization(options, [runningMean, runningVariance]),
    residual?.handle ?? null, null, packEpilogue({ momentum: 0, eps, relu }),
  ];
}

/** Gradients of gamma, beta and, behind a ReLU, of the residual, to be filled. @internal */
export type EpilogueGradients = readonly [dgamma: Tensor, dbeta: Tensor, dresidual: Tensor | null];

/** @internal */
export function emptyEpilogueGradients({ gamma, beta, residual, relu }: CheckedBatchNorm): EpilogueGradients {
  return [gamma.newEmpty(), beta.newEmpty(), relu && residual?.requiresGrad ? residual.newEmpty() : null];
}

/** What {@link epilogueGradient} reads beside y and the statistics. @internal */
export function epilogueReads({ gamma, beta, residual, relu }: CheckedBatchNorm): Record<string, Tensor | null> {
  // With a ReLU, its input is computed again, to know where it was 0.
  return relu ? { gamma, beta, residual } : { gamma };
}

/** For the tape, after the backward: without a ReLU the residual's gradient is dy itself. @internal */
export function filledGradients(
  { residual, relu }: CheckedBatchNorm,
  dy: Tensor,
  [dgamma, dbeta, dresidual]: EpilogueGradients,
): (Tensor | null)[] {
  return [dgamma, dbeta, !relu && residual?.requiresGrad ? dy.alias() : dresidual];
}

/** Backward of {@link trainingEpilogue} on y. @internal */
export function epilogueGradient(
  y: Tensor,
  options: CheckedBatchNorm,
  batch: Statistics,
  [dgamma, dbeta, dresidual]: EpilogueGradients,
): EpilogueGradientArguments {
  const { residual, eps, relu } = options;
  return [
    y.handle, ...normalization(options, batch), residual?.handle ?? null,
    dgamma.handle, dbeta.handle, dresidual?.handle ?? null, packGradient({ eps, relu }),
  ];
}

function train(x: Tensor, options: CheckedBatchNorm, owned: readonly Tensor[]): Tensor {
  const { gamma, beta, residual } = options;
  const y = x.newEmpty();
  const batch = [gamma.newEmpty(), gamma.newEmpty()] as const;
  native.batchNormForward(x.handle, y.handle, ...trainingEpilogue(options, batch, null));
  const needs = { reads: { x, ...epilogueReads(options) }, saved: [...batch, ...owned] };
  return record('batchNorm', y, [x, gamma, beta, residual], needs, (dy) => {
    const dx = x.newEmpty();
    const gradients = emptyEpilogueGradients(options);
    native.batchNormBackward(dy.handle, dx.handle, ...epilogueGradient(x, options, batch, gradients));
    return [dx, ...filledGradients(options, dy, gradients)];
  });
}

function infer(x: Tensor, options: CheckedBatchNorm, owned: readonly Tensor[]): Tensor {
  const { gamma, beta, runningMean, runningVariance, residual, relu } = options;
  const y = x.newEmpty();
  if (y.size === 0) return emptyResult('batchNorm', y, [x, gamma, beta, residual]);
  native.batchNormForward(x.handle, y.handle, ...evaluationEpilogue(options));
  // With fixed statistics y is affine in x. The forward operator itself serves: as (x - mean) / deviation and, with a
  // mean of zero, as dy / deviation.
  const needsGamma = gamma.requiresGrad;
  const reads = { x: needsGamma ? x : null, runningMean: needsGamma ? runningMean : null, gamma, runningVariance, y: relu ? y : null };
  return record('batchNorm', y, [x, gamma, beta, residual], { reads, saved: owned }, (dy) =>
    tidy(() => {
      const one = gamma.newFull(1);
      const zero = gamma.newFull(0);
      const plain = { ...options, gamma: one, beta: zero, runningVariance, residual: null, relu: false };
      const divide = (from: Tensor, mean: Tensor) => {
        const quotient = x.newEmpty();
        native.batchNormForward(from.handle, quotient.handle, ...evaluationEpilogue({ ...plain, runningMean: mean }));
        return quotient;
      };
      const passed = relu ? x.newEmpty() : dy.alias();
      if (relu) native.reluBackward(y.handle, dy.handle, passed.handle);
      const normalized = divide(x, runningMean);
      const [dnormalized, dgamma, dbeta] = [x, gamma, beta].map((each) => each.newEmpty());
      native.affineBackward(
        normalized.handle, gamma.handle, passed.handle, dnormalized.handle, dgamma.handle, dbeta.handle,
      );
      return [divide(dnormalized, zero), dgamma, dbeta, residual?.requiresGrad ? passed : null];
    }),
  );
}
