import { record } from '../autograd';
import { OptionError, requireKnownKeys, requireNumber } from '../errors';
import { native } from '../native';
import { Tensor, tidy, zeros } from '../tensor';
import { requireFloat, requireLabels, requireRank } from './checks';
import { scaledBy } from './elementwise';
import { linearOutputShape } from './linear';
import { type AngularOperator, defaultNormGuard, sphereArguments } from './sphereConv2d';

/**
 * Softmax and cross entropy, the mean over the batch of `-sum_j q_j log softmax(logits)_j` with
 * `q = (1 - labelSmoothing) onehot(label) + labelSmoothing / classes`.
 * @param logits `[N, classes]`
 * @param labels `[N]`, i32, from 0 below classes.
 * @param options.labelSmoothing At least 0, less than 1. Default 0.
 * @returns A scalar.
 * @throws {ShapeError | DTypeError | DataError | OptionError} naming the argument at fault.
 */
export function softmaxCrossEntropy(logits: Tensor, labels: Tensor, options: { labelSmoothing?: number } = {}): Tensor {
  requireKnownKeys('softmaxCrossEntropy', options, ['labelSmoothing']);
  const labelSmoothing = requireNumber('labelSmoothing', options.labelSmoothing ?? 0, { min: 0, below: 1 });
  requireFloat('logits', logits);
  requireRank('logits', logits, 2, '[N, classes]');
  requireLabels(labels, logits.shape[0], logits.shape[1]);
  const loss = Tensor.empty([], logits.dtype);
  const gradient = Tensor.empty(logits.shape, logits.dtype);
  native.softmaxCrossEntropy(logits.handle, labels.handle, labelSmoothing, loss.handle, gradient.handle);
  return record('softmaxCrossEntropy', loss, [logits], [gradient], (dloss) => [scaledBy(gradient, dloss)]);
}

/** How an angular loss turns angles into logits. */
export interface AngularLogitOptions {
  /** Default `sigmoid`. */
  operator?: AngularOperator;
  /** Curvature of the sigmoid, > 0. Default 0.3. */
  k?: number;
  /** Logits are `radius g(theta)` instead of `|x| g(theta)`: S-Softmax. Greater than 0. */
  radius?: number;
}

export interface AngularSoftmaxOptions extends AngularLogitOptions {
  /** m of g_m, at least 1; an integer unless the operator is linear. Default 1: none. */
  margin?: number;
  /** Weight lambda, at least 0, of the logit without margin: `(lambda g + g_m) / (1 + lambda)`. Default 0. */
  annealing?: number;
}

const logitOptionKeys = ['operator', 'k', 'radius'] as const;

/** Numbers in the order and form that the native side takes. */
type NativeOptions = [angular: 0 | 1 | 2, k: number, margin: number, annealing: number, radius: number, eps: number];

function nativeOptions(options: AngularSoftmaxOptions): NativeOptions {
  const { operator, k, margin = 1, annealing = 0, radius } = options;
  const { code, kTensor, kValue } = sphereArguments({ operator, k });
  if (kTensor) throw new OptionError('k', 'k must be a number in a loss, but got a Tensor');
  return [
    code,
    kValue,
    requireNumber('margin', margin, { min: 1, integer: operator !== 'linear' }),
    requireNumber('annealing', annealing, { min: 0 }),
    radius === undefined ? 0 : requireNumber('radius', radius, { above: 0 }),
    defaultNormGuard.eps,
  ];
}

/** The results of the native operator, all of them, off the tape. */
function forward(x: Tensor, weight: Tensor, labels: Tensor, options: NativeOptions) {
  const [batch, classes] = [x.shape[0], weight.shape[0]];
  const made = (...shape: number[]) => Tensor.empty(shape, x.dtype);
  const results = { loss: made(), logits: made(batch, classes), theta: made() };
  const saved = [made(batch, classes), made(batch, classes), made(batch), made(batch), made(classes)] as const;
  const [cosine, cosineGradient, normGradient, invFeatureNorm, invWeightNorm] = saved;
  native.angularSoftmaxForward(
    x.handle, weight.handle, labels.handle, results.loss.handle, results.logits.handle, results.theta.handle,
    cosine.handle, cosineGradient.handle, normGradient.handle, invFeatureNorm.handle, invWeightNorm.handle,
    ...options,
  );
  return { ...results, saved };
}

/**
 * Softmax on angles with a margin, GA-Softmax (paper: eq. 11): cross entropy of the logits `|x| g(theta_j)`, where the
 * one of the true class is `|x| (annealing g(theta) + g_m(theta)) / (1 + annealing)` with
 * `g_m(theta) = g(m theta - j pi) - 2j`, `j = min(floor(m theta / pi), m - 1)`. margin 1 is W-Softmax, the cosine
 * operator A-Softmax, a radius S-Softmax.
 * @param x Features `[N, D]`.
 * @param weight Class weights `[classes, D]`.
 * @param labels `[N]`, i32, from 0 below classes.
 * @returns `loss`, a scalar; off the tape `logits` `[N, classes]` without margin, and `theta`, a scalar: the mean angle
 *   of the true class in radians.
 * @throws {ShapeError | DTypeError | DeviceError | DataError | OptionError} naming the argument at fault.
 */
export function angularSoftmax(
  x: Tensor,
  weight: Tensor,
  labels: Tensor,
  options: AngularSoftmaxOptions = {},
): { loss: Tensor; logits: Tensor; theta: Tensor } {
  requireKnownKeys('angularSoftmax', options, [...logitOptionKeys, 'margin', 'annealing']);
  const checked = nativeOptions(options);
  requireLabels(labels, ...linearOutputShape(x, weight, null));
  const { loss, logits, theta, saved } = forward(x, weight, labels, checked);
  const [cosine, cosineGradient, normGradient, invFeatureNorm, invWeightNorm] = saved;
  record('angularSoftmax', loss, [x, weight], saved, (dloss) => {
    const dx = x.requiresGrad ? Tensor.empty(x.shape, x.dtype) : null;
    const dw = weight.requiresGrad ? Tensor.empty(weight.shape, x.dtype) : null;
    native.angularSoftmaxBackward(
      x.handle, weight.handle,
      cosine.handle, cosineGradient.handle, normGradient.handle, invFeatureNorm.handle, invWeightNorm.handle,
      dloss.handle, dx?.handle ?? null, dw?.handle ?? null,
    );
    return [dx, dw];
  });
  return { loss, logits, theta };
}

/**
 * The logits of {@link angularSoftmax}, without margin and off the tape: for evaluation, where there are no labels.
 * @param x Features `[N, D]`.
 * @param weight Class weights `[classes, D]`.
 * @returns `[N, classes]`: `|x| g(theta)`, or `radius g(theta)`.
 * @throws {ShapeError | DTypeError | DeviceError | OptionError} naming the argument at fault.
 */
export function angularLogits(x: Tensor, weight: Tensor, options: AngularLogitOptions = {}): Tensor {
  requireKnownKeys('angularLogits', options, logitOptionKeys);
  const checked = nativeOptions(options);
  const [batch] = linearOutputShape(x, weight, null);
  return tidy(() => forward(x, weight, zeros([batch], { dtype: 'i32' }), checked).logits);
}
