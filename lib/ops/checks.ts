import { requireSameDevice } from '../device';
import { DataError, DTypeError, OptionError, requireNumber, ShapeError, describe } from '../errors';
import { Tensor, type DType, type Shape } from '../tensor';

/** How a shape reads in a message: `[N, H, W, C]` patterns beside `[2, 8, 8, 3]`. */
export function formatShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}

/** @throws {DTypeError | DisposedError} when `value` is no tensor, or a released one. */
export function requireTensor(name: string, value: unknown): asserts value is Tensor {
  if (!(value instanceof Tensor)) throw new DTypeError(name, `${name} must be a Tensor, but got ${describe(value)}`);
  value.requireAlive(name);
}

/** @throws {DTypeError | DisposedError} when `value` is no tensor of floating type, or a released one. */
export function requireFloat(name: string, value: unknown): asserts value is Tensor {
  requireTensor(name, value);
  if (value.dtype !== 'f32' && value.dtype !== 'f64') {
    throw new DTypeError(name, `${name} must be f32 or f64, but is ${value.dtype}`);
  }
}

/** @throws {ShapeError} when the rank is another or an extent is 0; `pattern` names the axes, such as `[N, H, W, C]`. */
export function requireRank(name: string, tensor: Tensor, rank: number, pattern: string): void {
  requireBatch(name, tensor, rank, pattern);
  if (tensor.size === 0) throw new ShapeError(name, `${name} must not be empty, but has shape ${formatShape(tensor.shape)}`);
}

/** {@link requireRank} for operators that take a batch of nothing: the first extent may be 0. @throws {ShapeError} */
export function requireBatch(name: string, tensor: Tensor, rank: number, pattern: string): void {
  const { shape } = tensor;
  if (shape.length !== rank) throw new ShapeError(name, `${name} must have shape ${pattern}, but has ${formatShape(shape)}`);
  if (shape.includes(0, 1)) throw new ShapeError(name, `${name} must not be empty, but has shape ${formatShape(shape)}`);
}

/** @throws {ShapeError | DTypeError | DisposedError} unless `weight` holds filters, one for each entry of the first axis. */
export function requireFilters(name: string, weight: Tensor): void {
  requireFloat(name, weight);
  if (weight.shape.length < 2 || weight.size === 0) {
    throw new ShapeError(name, `${name} must have shape [O, ...] with elements, but has ${formatShape(weight.shape)}`);
  }
}

/** @throws {ShapeError} when the shape is not exactly `expected`. */
export function requireShape(name: string, tensor: Tensor, expected: Shape): void {
  if (tensor.shape.length !== expected.length || tensor.shape.some((extent, axis) => extent !== expected[axis])) {
    throw new ShapeError(name, `${name} must have shape ${formatShape(expected)}, but has ${formatShape(tensor.shape)}`);
  }
}

/** @throws {DTypeError | DeviceError} when a tensor has another dtype or device than the first one. */
export function requireAlike(first: [string, Tensor], ...others: [string, Tensor | null | undefined][]): void {
  const [firstName, reference] = first;
  for (const [name, tensor] of others) {
    if (!tensor) continue;
    requireFloat(name, tensor);
    if (tensor.dtype !== reference.dtype) {
      throw new DTypeError(name, `${name} is ${tensor.dtype} but ${firstName} is ${reference.dtype}; they must agree`);
    }
    requireSameDevice(name, tensor.device, firstName, reference.device);
  }
}

/**
 * Class labels of a batch, checked before any operator runs.
 * @param beside An operand on the device where they must be.
 * @throws {DTypeError | DisposedError | ShapeError | DeviceError | DataError}
 */
export function requireLabels(labels: Tensor, batch: number, classes: number, beside: [string, Tensor]): void {
  requireTensor('labels', labels);
  const dtype: DType = labels.dtype;
  if (dtype !== 'i32') throw new DTypeError('labels', `labels must be i32, but are ${dtype}`);
  requireShape('labels', labels, [batch]);
  const [name, operand] = beside;
  requireSameDevice('labels', labels.device, name, operand.device);
  // Reading them back would make every training step wait for the device.
  if (labels.knownRange && labels.knownRange[0] >= 0 && labels.knownRange[1] < classes) return;
  labels.data().forEach((label: number, i: number) => {
    if (label < 0 || label >= classes) {
      throw new DataError('labels', `labels[${i}] is ${label}, but there are ${classes} classes: 0 to ${classes - 1}`);
    }
  });
}

/** A number for both axes, or [vertical, horizontal]. */
export type Pair = number | readonly [number, number];

/** What the native side's integers hold. */
export const largestInteger = 2 ** 31 - 1;

/** Returns `value` when it is an integer that the native side can count to. @throws {OptionError} */
export function requireCount(name: string, value: unknown, min = 1): number {
  return requireNumber(name, value, { min, max: largestInteger, integer: true });
}

/** A stride, padding or dilation at most: with room for the native side's sums of them, and more than any image needs. */
export const largestStep = 2 ** 20;

/** @throws {OptionError} unless both are integers from `min` to `max`. */
export function requirePair(name: string, value: unknown, min: number, max = largestInteger): readonly [number, number] {
  const pair = typeof value === 'number' ? [value, value] : value;
  const isAllowed = (n: unknown) => Number.isInteger(n) && (n as number) >= min && (n as number) <= max;
  if (Array.isArray(pair) && pair.length === 2 && pair.every(isAllowed)) return pair as unknown as readonly [number, number];
  throw new OptionError(name, `${name} must be an integer from ${min} to ${max}, or two of them, but got ${describe(value)}`);
}

/** @throws {OptionError} unless `value` is true or false. */
export function requireBoolean(name: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw new OptionError(name, `${name} must be true or false, but got ${describe(value)}`);
}
