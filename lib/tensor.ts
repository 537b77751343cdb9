// Over 400 lines: one class with private members, and the scopes that reach into it, cannot be spread over files.
import { isPromise } from 'node:util/types';
import './disposeSymbols';
import type { Handle } from '../typings/native';
import { type GraphNode, isGradEnabled, record, runBackward, withGrad } from './autograd';
import { defaultDevice, type Device, type DeviceChoice, requireMemory, requireSameDevice, resolveDevice } from './device';
import {
  describe, DisposedError, DTypeError, markAsOurs, OptionError, requireKnownKeys, requireOneOf, ShapeError,
} from './errors';
import {
  arrayTypes, checkShape, convert, type DType, dtypeOf, dtypes, flatten, type HostArray, hostArray, isArrayOf, isInteger,
  type NestedNumbers, rangeOf, requireNumbers, requireSameShape, requireSize, requireStorable, type Shape, sizeOf, type ValueRange,
  widened,
} from './hostArrays';
import { native } from './native';

export { type DType, dtypes, type HostArray, type HostDType, type NestedNumbers, type Shape, sizeOf } from './hostArrays';

const tensorOptionKeys = ['dtype', 'device', 'requiresGrad'] as const satisfies readonly (keyof TensorOptions)[];

export interface TensorOptions {
  /** Default: a typed array's own, else `f32`. */
  dtype?: DType;
  /** Default: the default device, `'cpu'` until `setDefaultDevice`. */
  device?: DeviceChoice;
  /** Default false. */
  requiresGrad?: boolean;
}

/** Handles of released tensors, to be filled again: making and collecting a handle costs more than a small operator. */
const spareHandles: Handle[] = [];
/** The tensors of a large network's step. */
const mostSpareHandles = 4096;

function release(handle: Handle): void {
  native.release(handle);
  if (spareHandles.length < mostSpareHandles) spareHandles.push(handle);
}

/** The innermost scope of {@link tidy}: what was made in it and not yet released. */
let scope: Set<Tensor> | null = null;

/** What the host knows of a tensor's memory; all aliases of the memory share it. */
interface Memory {
  /** The smallest and the largest of integers that the host has written. */
  range: ValueRange | null;
  /** Grows with each change in place: what was kept for `backward()` is compared with it. */
  version: number;
}

/**
 * A contiguous, row-major array on a device, and a variable of the tape.
 *
 * Its memory is released by `dispose()`, at the end of a `using` block, at the end of the {@link tidy} scope it was
 * made in, by `backward()` when it is an intermediate result, and at last by the garbage collector.
 */
export class Tensor {
  /** Whether `backward()` leaves a gradient here (leaves) or passes one on (results). */
  requiresGrad = false;
  /** The operator this is the result of, while the tape holds it. @internal */
  node: GraphNode | null = null;
  /** Whether `backward()` has taken the node away. @internal */
  differentiated = false;

  #handle: Handle | null;
  // Private and frozen: operators size their outputs by it, and the native side knows no other.
  readonly #shape: Shape;
  readonly #dtype: DType;
  #device: Device;
  #grad: Tensor | null = null;
  #memory: Memory = { range: null, version: 0 };
  #kept = false;
  #released: 'dispose' | 'backward' = 'dispose';

  /** @internal Use {@link tensor}, {@link zeros} and the operators. */
  constructor(handle: Handle, shape: Shape, dtype: DType, device: Device) {
    this.#handle = handle;
    this.#shape = Object.freeze(shape);
    this.#dtype = dtype;
    this.#device = device;
    scope?.add(this);
  }

  /** An uninitialised tensor. @internal @throws {DeviceError} when there is no memory for it. */
  static empty(shape: Shape, dtype: DType, device: Device): Tensor {
    requireMemory(device, arrayTypes[dtype].BYTES_PER_ELEMENT, shape);
    return new Tensor(native.empty(device, dtype, shape, spareHandles.pop()), shape, dtype, device);
  }

  /** An uninitialised tensor beside this one, by default as large. @internal @throws {DeviceError} */
  newEmpty(shape: Shape = this.shape, dtype: DType = this.dtype): Tensor {
    return Tensor.empty(shape, dtype, this.#device);
  }

  /** A tensor of one value beside this one, by default as large. @internal @throws {DeviceError} */
  newFull(value: number, shape: Shape = this.shape, dtype: DType = this.dtype): Tensor {
    return this.newEmpty(shape, dtype).fill(value);
  }

  /** Extents, outermost first; images are `[N, H, W, C]`. The array is frozen. */
  get shape(): Shape {
    return this.#shape;
  }

  /** Element type. */
  get dtype(): DType {
    return this.#dtype;
  }

  /** The gradient, after `backward()`, of a leaf that requires one. */
  get grad(): Tensor | null {
    return this.#grad;
  }

  /** @throws {ShapeError | DTypeError | DeviceError | DisposedError} unless it is null, or like this tensor. */
  set grad(gradient: Tensor | null) {
    if (gradient !== null) this.requireGradient('grad', gradient);
    this.#grad = gradient;
  }

  /** @internal @throws {ShapeError | DTypeError | DeviceError | DisposedError} unless `gradient` is a gradient of this tensor. */
  requireGradient(name: string, gradient: unknown): asserts gradient is Tensor {
    if (!(gradient instanceof Tensor)) throw new DTypeError(name, `${name} must be a Tensor, but got ${describe(gradient)}`);
    gradient.requireAlive(name);
    requireSameShape(name, gradient.#shape, this.#shape);
    if (gradient.#dtype !== this.#dtype) {
      throw new DTypeError(name, `${name} must be ${this.#dtype} like its tensor, but is ${gradient.#dtype}`);
    }
    requireSameDevice(name, gradient.#device, 'its tensor', this.#device);
  }

  /** Where the elements are. `to()` gives a copy elsewhere; `Module.to()` moves parameters. */
  get device(): Device {
    return this.#device;
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  /** Bytes of the elements. */
  get bytes(): number {
    return this.size * arrayTypes[this.dtype].BYTES_PER_ELEMENT;
  }

  get disposed(): boolean {
    return this.#handle === null;
  }

  /** The native handle. @internal @throws {DisposedError} after release. */
  get handle(): Handle {
    this.requireAlive('tensor');
    return this.#handle!;
  }

  /** @internal @throws {DisposedError} after release, calling this tensor `name`. */
  requireAlive(name: string): void {
    if (this.#handle !== null) return;
    const why =
      this.#released === 'backward'
        ? 'backward() released it as an intermediate result; call keep() on it before, or backward({ retainGraph: true })'
        : 'it was disposed, or its tidy() or noGrad() scope has ended; return it from the scope or call keep()';
    throw new DisposedError(name, `${name} of shape ${describe([...this.shape])} was used after its release: ${why}`);
  }

  /** Releases the memory now. Doing it twice is allowed. */
  dispose(): void {
    if (this.#handle === null) return;
    release(this.#handle);
    this.#handle = null;
    scope?.delete(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  static {
    markAsOurs(this);
  }

  /** Excepts this tensor from the release by scopes and by `backward()`; `dispose()` still works. Returns itself. */
  keep(): this {
    this.#kept = true;
    scope?.delete(this);
    return this;
  }

  /** Whether keep() was called. @internal */
  get kept(): boolean {
    return this.#kept;
  }

  /** @internal */
  releaseAfterBackward(): void {
    if (this.#kept || this.disposed) return;
    this.dispose();
    this.#released = 'backward';
  }

  /** Leaves the current scope for the one around it. @internal */
  moveToOuterScope(outer: Set<Tensor> | null): void {
    if (!this.#kept && !this.disposed) outer?.add(this);
  }

  /**
   * The elements, copied, in row-major order; those of bf16 as f32. On cuda this waits for the work that makes them.
   * @throws {DeviceError} when the host has no memory for them.
   */
  data(): HostArray {
    const array = hostArray(this.dtype, this.size);
    native.read(this.handle, array);
    return this.#dtype === 'bf16' ? widened(array as Uint16Array) : (array as HostArray);
  }

  /**
   * The only element.
   * @throws {ShapeError} when there are more.
   */
  item(): number {
    if (this.size !== 1) {
      throw new ShapeError('tensor', `item() needs a tensor of one element, but this one has shape ${describe([...this.shape])}`);
    }
    return this.data()[0];
  }

  /** The elements as nested arrays, a number for a scalar. */
  toArray(): NestedNumbers {
    const data = this.data();
    let position = 0;
    const build = (axis: number): NestedNumbers =>
      axis === this.shape.length ? data[position++] : Array.from({ length: this.shape[axis] }, () => build(axis + 1));
    return build(0);
  }

  /** The same memory, off the tape. */
  detach(): Tensor {
    return this.alias(this.shape);
  }

  /** A second tensor over the same memory, off the tape. @internal */
  alias(shape: Shape = this.shape): Tensor {
    const alias = new Tensor(native.alias(this.handle, shape, spareHandles.pop()), shape, this.dtype, this.#device);
    alias.#memory = this.#memory;
    return alias;
  }

  /** A copy in memory of its own, off the tape. */
  clone(): Tensor {
    return this.#copyOn(this.#device);
  }

  /**
   * This tensor where it is on `device` already, else a copy there; the copy is on the tape.
   * @throws {DeviceError} when the device cannot be used or has no memory for it.
   */
  to(device: DeviceChoice): Tensor {
    this.requireAlive('tensor');
    const [from, target] = [this.#device, resolveDevice(device)];
    if (target === from) return this;
    return record('to', this.#copyOn(target), [this], {}, (grad) => [grad.#copyOn(from)]);
  }

  /**
   * The same numbers in another dtype: floats are rounded to the nearest, and integers lose the fraction. Between
   * floats a gradient goes back in this tensor's dtype; to or from integers the result is off the tape.
   * @throws {DeviceError | OptionError}
   */
  cast(dtype: DType): Tensor {
    requireOneOf('dtype', dtype, dtypes);
    const converted = this.#converted(dtype);
    // Integers have no gradient.
    if (isInteger(dtype) || isInteger(this.dtype)) return converted;
    return record('cast', converted, [this], {}, (grad) => [grad.#converted(this.dtype)]);
  }

  #converted(dtype: DType): Tensor {
    const { handle } = this;
    const converted = this.newEmpty(this.shape, dtype);
    native.cast(handle, converted.handle);
    return converted;
  }

  #copyOn(device: Device): Tensor {
    const { handle } = this;
    const copy = Tensor.empty(this.shape, this.dtype, device);
    native.copy(handle, copy.handle);
    copy.#memory.range = this.#memory.range;
    return copy;
  }

  /** Takes over the memory of `from`, of the same shape and dtype, which is released. @internal */
  adopt(from: Tensor): void {
    release(this.handle);
    this.#handle = from.handle;
    this.#device = from.#device;
    // Not the other's version: a result that this tensor went into must see that it has moved.
    this.#memory = { range: from.#memory.range, version: this.#memory.version + 1 };
    from.#handle = null;
    scope?.delete(from);
  }

  /** The smallest and the largest of integers that the host has written; null where it does not know. @internal */
  get knownRange(): ValueRange | null {
    return this.#memory.range;
  }

  /** How often the contents were changed in place. @internal */
  get version(): number {
    return this.#memory.version;
  }

  /** To be called for every change in place, also where an operator makes it. @internal */
  markChanged(range: ValueRange | null = null): void {
    this.#memory.range = range;
    this.#memory.version++;
  }

  /**
   * Overwrites the elements, from a typed array of the matching type and length or a tensor of the same shape and dtype,
   * on any device.
   * @throws {ShapeError | DTypeError}
   */
  assign(from: Tensor | HostArray): this {
    if (from instanceof Tensor) {
      if (from.dtype !== this.dtype) throw new DTypeError('from', `assign() to ${this.dtype} got a tensor of ${from.dtype}`);
      requireSameShape('from', from.shape, this.shape);
      native.copy(from.handle, this.handle);
      this.markChanged(from.#memory.range);
    } else {
      if (this.dtype === 'bf16') throw new DTypeError('from', 'assign() to bf16 needs a tensor: cast() makes one');
      if (!isArrayOf(this.dtype, from)) {
        throw new DTypeError('from', `assign() to ${this.dtype} needs a ${arrayTypes[this.dtype].name}, but got ${describe(from)}`);
      }
      requireNumbers('from', from);
      requireSize('from', from.length, this.shape);
      native.write(from, this.handle);
      this.markChanged(this.dtype === 'i32' ? rangeOf(from) : null);
    }
    return this;
  }

  /** Overwrites every element. @internal */
  fill(value: number): this {
    native.fill(value, this.handle);
    this.markChanged(this.dtype === 'i32' ? [value, value] : null);
    return this;
  }

  /** this + other, off the tape. @internal */
  plus(other: Tensor): Tensor {
    if (this.dtype === 'bf16') {
      using a = this.#converted('f32');
      using b = other.#converted('f32');
      using total = a.plus(b);
      return total.#converted('bf16');
    }
    const sum = this.newEmpty();
    native.add(this.handle, other.handle, sum.handle);
    return sum;
  }

  /**
   * Adds d(this)/d(leaf) to the `grad` of every leaf that requires one. Intermediate results are released on the way
   * unless `retainGraph`, or unless they were kept by `keep()`.
   * @param options.gradient d(objective)/d(this); needed unless this has one element, and then 1.
   * @throws {OptionError} when nothing was recorded for this tensor, or a tensor that an operator needs for its gradient was
   *   changed in place after the operator had run; no gradient has been changed.
   * @throws {ShapeError | DTypeError | DeviceError} when the gradient is missing, or of another shape, dtype or device.
   */
  backward(options: { gradient?: Tensor; retainGraph?: boolean } = {}): void {
    requireKnownKeys('backward', options, ['gradient', 'retainGraph']);
    const { gradient, retainGraph = false } = options;
    if (!this.node) {
      throw new OptionError(
        'tensor',
        'backward() needs a tensor that was computed from one with requiresGrad, outside noGrad(), and not yet differentiated',
      );
    }
    if (!gradient && this.size !== 1) {
      throw new ShapeError('gradient', `backward() of shape ${describe([...this.shape])} needs options.gradient of that shape`);
    }
    if (gradient) this.requireGradient('gradient', gradient);
    const seed = () => gradient?.alias() ?? this.newFull(1);
    runBackward(this, seed, retainGraph);
  }
}

/**
 * A tensor holding a copy of `data`: a number, nested arrays, or a typed array with a shape.
 * @param shape Extents; for a typed array without one, its length.
 * @throws {ShapeError} when the data does not fill the shape or is nested unevenly.
 * @throws {DataError} when an integer type gets a fraction, NaN or a number out of its range.
 * @throws {DeviceError} when the device cannot be used or has no memory for it.
 */
export function tensor(data: NestedNumbers | HostArray, shape?: Shape, options: TensorOptions = {}): Tensor {
  requireKnownKeys('tensor', options, tensorOptionKeys);
  let extents: Shape;
  let values: ArrayLike<number>;
  let dtype = options.dtype;
  if (typeof data === 'number' || Array.isArray(data)) {
    const nested: number[] = [];
    values = flatten(data as NestedNumbers, nested);
    extents = shape ?? nested;
    dtype ??= 'f32';
  } else {
    requireNumbers('data', data);
    dtype ??= dtypeOf(data);
    values = data;
    extents = shape ?? [values.length];
  }
  requireOneOf('dtype', dtype, dtypes);
  checkShape(extents);
  requireSize('data', values.length, extents);
  const hostDType = dtype === 'bf16' ? 'f32' : dtype;
  const array = isArrayOf(hostDType, values) ? values : convert(values, hostDType);
  let result = Tensor.empty([...extents], hostDType, chosenDevice(options)).assign(array);
  if (dtype !== hostDType) {
    using wide = result;
    result = wide.cast(dtype);
  }
  result.requiresGrad = options.requiresGrad ?? false;
  return result;
}

function chosenDevice({ device }: TensorOptions): Device {
  return device === undefined ? defaultDevice() : resolveDevice(device);
}

/**
 * A tensor of one value, default dtype `f32`.
 * @throws {ShapeError | OptionError | DeviceError}
 * @throws {DataError} when an integer type gets a fraction, NaN or a number out of its range.
 */
export function full(shape: Shape, value: number, options: TensorOptions = {}): Tensor {
  requireKnownKeys('full', options, tensorOptionKeys);
  const dtype = requireOneOf('dtype', options.dtype ?? 'f32', dtypes);
  checkShape(shape);
  requireStorable('value', value, dtype);
  const result = Tensor.empty([...shape], dtype, chosenDevice(options)).fill(value);
  result.requiresGrad = options.requiresGrad ?? false;
  return result;
}

/** A tensor of zeros. @throws {ShapeError | OptionError | DeviceError} */
export function zeros(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 0, options);
}

/** A tensor of ones. @throws {ShapeError | OptionError | DeviceError} */
export function ones(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 1, options);
}

/**
 * Runs `body` and releases every tensor made in it, except those it returns (also inside arrays and plain objects)
 * and those marked by `keep()`. Gradients of leaves are kept.
 * @throws {OptionError} when the body is asynchronous: tensors made after its first `await` would be missed.
 */
export function tidy<R>(body: () => R): R {
  const outer = scope;
  const inner = new Set<Tensor>();
  scope = inner;
  try {
    const result = body();
    if (isPromise(result)) throw new OptionError('body', 'the body of tidy() must not be asynchronous');
    for (const kept of tensorsIn(result)) {
      inner.delete(kept);
      kept.moveToOuterScope(outer);
    }
    return result;
  } finally {
    scope = outer;
    for (const made of inner) made.dispose();
  }
}

function* tensorsIn(value: unknown): Generator<Tensor> {
  if (value instanceof Tensor) yield value;
  else if (Array.isArray(value)) for (const entry of value) yield* tensorsIn(entry);
  else if (value !== null && typeof value === 'object' && isPlain(value)) {
    for (const entry of Object.values(value)) yield* tensorsIn(entry);
  }
}

/** Whether an object is of no class, in whatever realm it was made. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** {@link tidy} without recording: for evaluation. Activations are released as soon as the body returns. */
export function noGrad<R>(body: () => R): R {
  return withGrad(false, () => tidy(body));
}

export { isGradEnabled };
