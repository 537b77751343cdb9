import type { AngularSoftmaxOptions as NativeOptions, AngularSoftmaxSaved } from '../../typings/native';
import { record } from '../autograd';
import { type NumberRange, OptionError, requireKnownKeys, requireNumber, requireOneOf } from '../errors';
import { checkedReader, dynamicScalar, type DynamicScalar } from '../graph';
import { codeOf, native, packer } from '../native';
import { type Tensor, tidy } from '../tensor';
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
 * @throws {ShapeError | DTypeError | DeviceError | DataError | OptionError} naming the argument at fault.
 */
export function softmaxCrossEntropy(logits: Tensor, labels: Tensor, options: { labelSmoothing?: number } = {}): Tensor {
  requireKnownKeys('softmaxCrossEntropy', options, ['labelSmoothing']);
  const labelSmoothing = requireNumber('labelSmoothing', options.labelSmoothing ?? 0, { min: 0, below: 1 });
  requireFloat('logits', logits);
  requireRank('logits', logits, 2, '[N, classes]');
  requireLabels(labels, logits.shape[0], logits.shape[1], ['logits', logits]);
  const loss = logits.newEmpty([]);
  const gradient = logits.newEmpty();
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

/** What the margin m makes of the true class's g: the functions of native/math/margin.h. */
export const marginFunctions = ['multiplicative', 'additive-angle', 'additive-value'] as const;
export type MarginFunction = (typeof marginFunctions)[number];

export interface AngularSoftmaxOptions extends AngularLogitOptions {
  /**
   * What the margin makes of g for the true class: `multiplicative`, the default, is `g(m theta - j pi) - 2j`;
   * `additive-angle` is `g(theta + m)` and, where theta + m is beyond pi, `-1 + g(theta) - g(pi - m)`; `additive-value`
   * is `g(theta) - m`.
   */
  marginFunction?: MarginFunction;
  /**
   * m: multiplicative, at least 1, an integer unless the operator is linear, default 1; added to the angle, 0 to pi,
   * default 0; taken off the value, at least 0, default 0. The defaults are no margin.
   */
  margin?: number;
  /**
   * Weight lambda, at least 0, of the logit without margin: `(lambda g + g_m) / (1 + lambda)`. A function is asked for
   * it at each forward pass, replays of a captured graph included. Default 0.
   */
  annealing?: DynamicScalar;
}

const logitOptionKeys = ['operator', 'k', 'radius'] as const;

/** Checked; the annealing is read at each forward pass. */
type CheckedOptions = Omit<NativeOptions, 'annealing'> & { readAnnealing: () => number };

function checkOptions(options: AngularSoftmaxOptions): CheckedOptions {
  const { operator, k, marginFunction = 'multiplicative', annealing = 0, radius } = options;
  const { margin = marginFunction === 'multiplicative' ? 1 : 0 } = options;
  const { code, kTensor, kValue } = sphereArguments({ operator, k });
  if (kTensor) throw new OptionError('k', 'k must be a number in a loss, but got a Tensor');
  return {
    angular: code,
    k: kValue,
    marginFunction: codeOf('margins', requireOneOf('marginFunction', marginFunction, marginFunctions)),
    margin: requireNumber('margin', margin, marginRange(marginFunction, operator)),
    readAnnealing: checkedReader(annealing, (lambda) => requireNumber('annealing', lambda, { min: 0 })),
    radius: radius === undefined ? 0 : requireNumber('radius', radius, { above: 0 }),
    eps: defaultNormGuard.eps,
  };
}

function marginRange(marginFunction: MarginFunction, operator?: AngularOperator): NumberRange {
  switch (marginFunction) {
    case 'multiplicative':
      return { min: 1, integer: operator !== 'linear' };
    case 'additive-angle':
      return { min: 0, max: Math.PI };
    case 'additive-value':
      return { min: 0 };
  }
}

const packOptions = packer('AngularSoftmaxOptions');

/** The results of the native operator, all of them, off the tape. */
function forward(x: Tensor, weight: Tensor, labels: Tensor, { readAnnealing, ...options }: CheckedOptions) {
  const annealing = dynamicScalar(readAnnealing);
  const [batch, classes] = [x.shape[0], weight.shape[0]];
  const made = (...shape: number[]) => x.newEmpty(shape);
  const results = { loss: made(), logits: made(batch, classes), theta: made() };
  const saved = [made(batch, classes), made(batch, classes), made(batch), made(batch), made(classes)];
  native.angularSoftmaxForward(
    x.handle, weight.handle, labels.handle, results.loss.handle, results.logits.handle, results.theta.handle,
    ...handlesOf(saved), packOptions({ ...options, annealing }),
  );
  return { ...results, saved };
}

function handlesOf(saved: readonly Tensor[]): AngularSoftmaxSaved {
  return saved.map((each) => each.handle) as AngularSoftmaxSaved;
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
  requireKnownKeys('angularSoftmax', options, [...logitOptionKeys, 'marginFunction', 'margin', 'annealing']);
  const checked = checkOptions(options);
  const [batch, classes] = linearOutputShape(x, weight, null);
  requireLabels(labels, batch, classes, ['x', x]);
  const { loss, logits, theta, saved } = forward(x, weight, labels, checked);
  record('angularSoftmax', loss, [x, weight], saved, (dloss) => {
    const dx = x.requiresGrad ? x.newEmpty() : null;
    const dw = weight.requiresGrad ? weight.newEmpty() : null;
    native.angularSoftmaxBackward(
      x.handle, weight.handle, ...handlesOf(saved), dloss.handle, dx?.handle ?? null, dw?.handle ?? null,
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
  const checked = checkOptions(options);
  const [batch] = linearOutputShape(x, weight, null);
  return tidy(() => forward(x, weight, x.newFull(0, [batch], 'i32'), checked).logits);
}
