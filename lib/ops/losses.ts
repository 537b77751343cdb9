import type { AngularSoftmaxOptions as NativeOptions, AngularSoftmaxSaved } from '../../typings/native';
import { record } from '../autograd';
import { type NumberRange, OptionError, requireKnownKeys, requireNumber, requireOneOf } from '../errors';
import { checkedReader, dynamicScalar, type DynamicScalar } from '../graph';
import { codeOf, native, packer } from '../native';
import { Tensor, tidy } from '../tensor';
import { requireAlike, requireBoolean, requireFloat, requireLabels, requireRank, requireShape } from './checks';
import { linearOutputShape } from './linear';
import { scalarLoss } from './scalarLoss';
import { type AngularOperator, defaultNormGuard, sphereArguments } from './sphereConv2d';

export interface CrossEntropyOptions {
  /** Share of the target that is spread over all classes: at least 0, less than 1. Default 0. */
  labelSmoothing?: number;
  /**
   * Added to each probability before its logarithm: at least 0, at most 1. The loss of a sample is then at most
   * `-log(logGuard)`, and samples that are hopelessly wrong have little gradient. Default 0.
   */
  logGuard?: number;
}

export const crossEntropyKeys = ['labelSmoothing', 'logGuard'] as const satisfies readonly (keyof CrossEntropyOptions)[];

/** With the defaults filled in. @throws {OptionError} naming the option at fault. */
export function checkCrossEntropy({ labelSmoothing = 0, logGuard = 0 }: CrossEntropyOptions): Required<CrossEntropyOptions> {
  return {
    labelSmoothing: requireNumber('labelSmoothing', labelSmoothing, { min: 0, below: 1 }),
    logGuard: requireNumber('logGuard', logGuard, { min: 0, max: 1 }),
  };
}

/**
 * Softmax and cross entropy, the mean over the batch of `-sum_j q_j log(softmax(logits)_j + logGuard)` with
 * `q = (1 - labelSmoothing) onehot(label) + labelSmoothing / classes`.
 * @param logits `[N, classes]`
 * @param labels `[N]`, i32, from 0 below classes.
 * @returns A scalar.
 * @throws {ShapeError | DTypeError | DeviceError | DataError | OptionError} naming the argument at fault.
 */
export function softmaxCrossEntropy(logits: Tensor, labels: Tensor, options: CrossEntropyOptions = {}): Tensor {
  requireKnownKeys('softmaxCrossEntropy', options, crossEntropyKeys);
  const { labelSmoothing, logGuard } = checkCrossEntropy(options);
  requireLogits(logits, labels);
  return scalarLoss('softmaxCrossEntropy', logits, (loss, gradient) => {
    native.softmaxCrossEntropy(logits.handle, labels.handle, labelSmoothing, logGuard, loss, gradient);
  });
}

function requireLogits(logits: Tensor, labels: Tensor): void {
  requireFloat('logits', logits);
  requireRank('logits', logits, 2, '[N, classes]');
  requireLabels(labels, logits.shape[0], logits.shape[1], ['logits', logits]);
}

export interface MultiMarginOptions {
  /** By how much the true class's logit has to exceed the others, greater than 0. Default 1. */
  margin?: number;
  /** Whether hinges are squared. Default false. */
  squared?: boolean;
}

/**
 * The hinge loss of several classes (Weston and Watkins, 1999; MultiMarginLoss of PyTorch): the mean over the batch of
 * `sum_j max(0, margin - logit_y + logit_j) / classes`, or of the squares, over the classes j other than the label y.
 * @param logits `[N, classes]`
 * @param labels `[N]`, i32, from 0 below classes.
 * @returns A scalar.
 * @throws {ShapeError | DTypeError | DeviceError | DataError | OptionError} naming the argument at fault.
 */
export function multiMargin(logits: Tensor, labels: Tensor, options: MultiMarginOptions = {}): Tensor {
  requireKnownKeys('multiMargin', options, ['margin', 'squared']);
  const { margin, squared } = checkMultiMargin(options);
  requireLogits(logits, labels);
  return scalarLoss('multiMargin', logits, (loss, gradient) => {
    native.multiMargin(logits.handle, labels.handle, margin, squared, loss, gradient);
  });
}

/** With the defaults filled in. @throws {OptionError} naming the option at fault. */
export function checkMultiMargin({ margin = 1, squared = false }: MultiMarginOptions): Required<MultiMarginOptions> {
  return { margin: requireNumber('margin', margin, { above: 0, max: largestScale }), squared: requireBoolean('squared', squared) };
}

// Logits of 1e6 leave a float32 one decimal; far beyond it they overflow, and the loss is NaN.
const largestScale = 1e6;

/** Of a radius, which is the scale of the logits. */
export const radiusRange: NumberRange = { above: 0, max: largestScale };

/** How an angular loss turns angles into logits. */
export interface AngularLogitOptions {
  /** Default `sigmoid`. */
  operator?: AngularOperator;
  /** Curvature of the sigmoid, > 0. Default 0.3. */
  k?: number;
  /**
   * Logits are `radius g(theta)` instead of `|x| g(theta)`: S-Softmax. Greater than 0, at most 1e6. A tensor `[1]` gets a
   * gradient; its element must be positive, which is not checked.
   */
  radius?: number | Tensor;
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
   * m: multiplicative, 1 to 100, an integer unless the operator is linear, default 1; added to the angle, 0 to pi,
   * default 0; taken off the value, 0 to 2, default 0. The defaults are no margin.
   */
  margin?: number;
  /**
   * Weight lambda, at least 0, of the logit without margin: `(lambda g + g_m) / (1 + lambda)`. A function is asked for
   * it at each forward pass, replays of a captured graph included. Default 0.
   */
  annealing?: DynamicScalar;
}

const logitOptionKeys = ['operator', 'k', 'radius'] as const;

/** Checked; the annealing is read at each forward pass. The radius is 0 where it is |x| or a tensor. */
interface CheckedOptions {
  values: Omit<NativeOptions, 'annealing'>;
  readAnnealing: () => number;
  radius: Tensor | null;
}

function checkOptions(options: AngularSoftmaxOptions): CheckedOptions {
  const { operator, k, marginFunction = 'multiplicative', annealing = 0, radius } = options;
  const { margin = marginFunction === 'multiplicative' ? 1 : 0 } = options;
  const { code, kTensor, kValue } = sphereArguments({ operator, k });
  if (kTensor) throw new OptionError('k', 'k must be a number in a loss, but got a Tensor');
  return {
    values: {
      angular: code,
      k: kValue,
      marginFunction: codeOf('margins', requireOneOf('marginFunction', marginFunction, marginFunctions)),
      margin: requireNumber('margin', margin, marginRange(marginFunction, operator)),
      radius: radius === undefined || radius instanceof Tensor ? 0 : requireNumber('radius', radius, radiusRange),
      eps: defaultNormGuard.eps,
    },
    readAnnealing: checkedReader(annealing, (lambda) => requireNumber('annealing', lambda, { min: 0 })),
    radius: radius instanceof Tensor ? radius : null,
  };
}

/** Features, class weights and a learned radius. @returns Batch and classes. */
function checkOperands(x: Tensor, weight: Tensor, radius: Tensor | null): [batch: number, classes: number] {
  const [batch, classes] = linearOutputShape(x, weight, null);
  if (radius) {
    requireAlike(['x', x], ['radius', radius]);
    requireShape('radius', radius, [1]);
  }
  return [batch, classes];
}

/** Of m. @internal */
export function marginRange(marginFunction: MarginFunction, operator?: AngularOperator): NumberRange {
  switch (marginFunction) {
    case 'multiplicative':
      return { min: 1, max: 100, integer: operator !== 'linear' };
    case 'additive-angle':
      return { min: 0, max: Math.PI };
    case 'additive-value':
      // That of an angle of 0 over one of pi, in g.
      return { min: 0, max: 2 };
  }
}

const packOptions = packer('AngularSoftmaxOptions');

/** The results of the native operator, all of them, off the tape. */
function forward(x: Tensor, weight: Tensor, labels: Tensor, { readAnnealing, radius, values }: CheckedOptions) {
  const annealing = dynamicScalar(readAnnealing);
  const [batch, classes] = [x.shape[0], weight.shape[0]];
  const made = (...shape: number[]) => x.newEmpty(shape);
  const results = { loss: made(), logits: made(batch, classes), theta: made() };
  const saved = [made(batch, classes), made(batch, classes), made(batch), made(batch), made(classes)];
  native.angularSoftmaxForward(
    x.handle, weight.handle, radius?.handle ?? null, labels.handle, results.loss.handle, results.logits.handle,
    results.theta.handle, ...handlesOf(saved), packOptions({ ...values, annealing }),
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
  const { radius } = checked;
  requireFloat('x', x);
  requireRank('x', x, 2, '[N, D]');
  const [batch, classes] = checkOperands(x, weight, radius);
  requireLabels(labels, batch, classes, ['x', x]);
  const { loss, logits, theta, saved } = forward(x, weight, labels, checked);
  record('angularSoftmax', loss, radius ? [x, weight, radius] : [x, weight], { reads: { x, weight }, saved }, (dloss) => {
    const dx = x.requiresGrad ? x.newEmpty() : null;
    const dw = weight.requiresGrad ? weight.newEmpty() : null;
    const dradius = radius?.newEmpty() ?? null;
    native.angularSoftmaxBackward(
      x.handle, weight.handle, ...handlesOf(saved), dloss.handle, dx?.handle ?? null, dw?.handle ?? null,
      dradius?.handle ?? null,
    );
    return radius ? [dx, dw, dradius] : [dx, dw];
  });
  return { loss, logits, theta };
}

/**
 * The logits of {@link angularSoftmax}, without margin and off the tape: for evaluation, where there are no labels.
 * @param x Features `[N, D]`; N may be 0.
 * @param weight Class weights `[classes, D]`.
 * @returns `[N, classes]`: `|x| g(theta)`, or `radius g(theta)`.
 * @throws {ShapeError | DTypeError | DeviceError | OptionError} naming the argument at fault.
 */
export function angularLogits(x: Tensor, weight: Tensor, options: AngularLogitOptions = {}): Tensor {
  requireKnownKeys('angularLogits', options, logitOptionKeys);
  const checked = checkOptions(options);
  const [batch, classes] = checkOperands(x, weight, checked.radius);
  if (batch === 0) return x.newEmpty([0, classes]);
  return tidy(() => forward(x, weight, x.newFull(0, [batch], 'i32'), checked).logits);
}
