import { record } from '../autograd';
import { describe, OptionError, requireKnownKeys, requireNumber, requireOneOf, ShapeError } from '../errors';
import { checkedReader, dynamicScalar, type DynamicScalar } from '../graph';
import { codeOf, native } from '../native';
import { requireSeed } from '../random';
import type { Tensor } from '../tensor';
import { requireAlike, requireFloat, requireShape } from './checks';

/** `y = max(0, x)`, any shape. @throws {DTypeError} */
export function relu(x: Tensor): Tensor {
  requireFloat('x', x);
  const y = x.newEmpty();
  native.reluForward(x.handle, y.handle);
  return record('relu', y, [x], { reads: { y } }, (dy) => {
    const dx = x.newEmpty();
    native.reluBackward(y.handle, dy.handle, dx.handle);
    return [dx];
  });
}

/**
 * `a + b`, element by element.
 * @param b The shape of a.
 * @throws {ShapeError | DTypeError | DeviceError} naming the argument at fault.
 */
export function add(a: Tensor, b: Tensor): Tensor {
  requireFloat('a', a);
  requireAlike(['a', a], ['b', b]);
  requireShape('b', b, a.shape);
  return record('add', a.plus(b), [a, b], {}, (dy) => [dy, dy.alias()]);
}

function scaled(x: Tensor, factor: number): Tensor {
  const y = x.newEmpty();
  native.scale(x.handle, factor, y.handle);
  return y;
}

/** `factor x`, any shape. @throws {DTypeError | OptionError} when the factor is no finite number. */
export function scale(x: Tensor, factor: number): Tensor {
  requireFloat('x', x);
  requireNumber('factor', factor);
  return record('scale', scaled(x, factor), [x], {}, (dy) => [scaled(dy, factor)]);
}

/** `x` times the only element of `factor`, off the tape. @internal */
export function scaledBy(x: Tensor, factor: Tensor): Tensor {
  const y = x.newEmpty();
  native.scaleBy(x.handle, factor.handle, y.handle);
  return y;
}

/** The sum of all elements, a scalar. @throws {DTypeError} */
export function sum(x: Tensor): Tensor {
  requireFloat('x', x);
  const total = x.newEmpty([]);
  native.sum(x.handle, total.handle);
  return record('sum', total, [x], {}, (dy) => {
    using one = x.newFull(1);
    return [scaledBy(one, dy)];
  });
}

/** How a free parameter is made positive: `softplus` is log(1 + eᵖ), `absolute` is |p| + 0.05. */
export const positivities = ['softplus', 'absolute'] as const;
export type Positivity = (typeof positivities)[number];

/**
 * A positive number from a free one, as for a learned k: `log(1 + eᵖ)` or, as in the authors' code, `|p| + 0.05`.
 * @throws {DTypeError | OptionError}
 */
export function positive(p: Tensor, kind: Positivity): Tensor {
  const code = codeOf('positivities', requireOneOf('kind', kind, positivities));
  requireFloat('p', p);
  const k = p.newEmpty();
  native.positiveForward(p.handle, k.handle, code);
  return record('positive', k, [p], { reads: { p } }, (dk) => {
    const dp = p.newEmpty();
    native.positiveBackward(p.handle, dk.handle, dp.handle, code);
    return [dp];
  });
}

/**
 * Sets elements to zero at random and divides the others by 1 - probability. For training only.
 * @param options.probability Of an element to become zero, at least 0 and less than 1.
 * @param options.seed An integer from 0 below 2^53; the same seed drops the same elements. A function is asked for one
 *   at each forward pass, replays of a captured graph included.
 * @throws {DTypeError | OptionError}
 */
export function dropout(x: Tensor, options: { probability: number; seed: DynamicScalar }): Tensor {
  requireKnownKeys('dropout', options, ['probability', 'seed']);
  const probability = requireNumber('probability', options.probability, { min: 0, below: 1 });
  const draw = checkedReader(options.seed, (seed) => requireSeed('seed', seed));
  requireFloat('x', x);
  let drawn = 0;
  const y = dropped(x, probability, () => (drawn = draw()));
  return record('dropout', y, [x], {}, (dy) => [dropped(dy, probability, () => drawn)]);
}

function dropped(x: Tensor, probability: number, readSeed: () => number): Tensor {
  const seed = dynamicScalar(readSeed);
  const y = x.newEmpty();
  native.dropout(x.handle, y.handle, probability, seed);
  return y;
}

/**
 * Tensors side by side along their last axis, the channels.
 * @param tensors At least one, of the same extents but for the last; any of them may be 0.
 * @throws {ShapeError | DTypeError | DeviceError | OptionError} naming the tensor at fault.
 */
export function concat(tensors: readonly Tensor[]): Tensor {
  const channels = concatChannels(tensors);
  const starts = channels.map((_, i) => sumOf(channels.slice(0, i)));
  const first = tensors[0];
  const y = first.newEmpty([...first.shape.slice(0, -1), sumOf(channels)]);
  tensors.forEach((x, i) => {
    if (x.size > 0) native.copyChannels(x.handle, 0, y.handle, starts[i], channels[i]);
  });
  return record('concat', y, tensors, {}, (dy) =>
    tensors.map((x, i) => {
      if (!x.requiresGrad) return null;
      const dx = x.newEmpty();
      if (dx.size > 0) native.copyChannels(dy.handle, starts[i], dx.handle, 0, channels[i]);
      return dx;
    }),
  );
}

function sumOf(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Checks the operands of {@link concat} and returns how many channels each has. */
function concatChannels(tensors: readonly Tensor[]): number[] {
  if (!Array.isArray(tensors) || tensors.length === 0) {
    throw new OptionError('tensors', `tensors must be an array of at least one tensor, but got ${describe(tensors)}`);
  }
  const [first, ...others] = tensors as [Tensor, ...Tensor[]];
  requireFloat('tensors[0]', first);
  if (first.shape.length === 0) throw new ShapeError('tensors[0]', 'tensors[0] must have a channel axis, but is a scalar');
  others.forEach((other, i) => {
    const name = `tensors[${i + 1}]`;
    requireFloat(name, other);
    requireAlike(['tensors[0]', first], [name, other]);
    requireShape(name, other, [...first.shape.slice(0, -1), other.shape.at(-1) ?? 0]);
  });
  return tensors.map((x: Tensor) => x.shape.at(-1)!);
}
