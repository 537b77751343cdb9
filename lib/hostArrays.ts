// Element types, and arrays of the host that hold elements.
import type { NativeDType, TypedArray } from '../typings/native';
import { DataError, describe, DeviceError, DTypeError, ShapeError } from './errors';

/** Element types that arrays of the host have: `f32`; `f64` for gradient checks; `i32` for labels; `u8` for images. */
export const hostDTypes = ['f32', 'f64', 'i32', 'u8'] as const satisfies readonly NativeDType[];
export type HostDType = (typeof hostDTypes)[number];
/** Element type. `bf16`, the upper half of an f32, is for storage and `cast`: no other operator takes it yet. */
export const dtypes = [...hostDTypes, 'bf16'] as const satisfies readonly NativeDType[];
export type DType = (typeof dtypes)[number];
/** Extents, outermost first; images are `[N, H, W, C]`. */
export type Shape = readonly number[];
/** Nested arrays of numbers, all of one length at each depth. */
export type NestedNumbers = number | readonly NestedNumbers[];

/** In which the native side reads and writes elements. */
export const arrayTypes = { f32: Float32Array, f64: Float64Array, i32: Int32Array, u8: Uint8Array, bf16: Uint16Array } as const;

/** What `data()` gives and `assign()` takes. */
export type HostArray = Exclude<TypedArray, Uint16Array>;

/** Axes of a tensor at most; of the native Shape. */
export const maxRank = 6;

export type ValueRange = readonly [smallest: number, largest: number];

export function isInteger(dtype: DType): boolean {
  return dtype === 'i32' || dtype === 'u8';
}

/** Number of elements of a shape. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const extent of shape) size *= extent;
  return size;
}

/** bf16 as f32. */
export function widened(halves: Uint16Array): Float32Array {
  const wide = hostArray('f32', halves.length);
  const bits = new Uint32Array(wide.buffer);
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i] << 16;
  return wide;
}

export function rangeOf(values: HostArray): ValueRange | null {
  if (values.length === 0) return null;
  let [smallest, largest] = [values[0], values[0]];
  for (const value of values) {
    if (value < smallest) smallest = value;
    if (value > largest) largest = value;
  }
  return [smallest, largest];
}

export function requireSize(name: string, length: number, shape: Shape): void {
  if (length !== sizeOf(shape)) {
    throw new ShapeError(name, `${name} has ${length} elements, but shape ${describe([...shape])} needs ${sizeOf(shape)}`);
  }
}

export function requireSameShape(name: string, got: Shape, expected: Shape): void {
  if (got.length !== expected.length || got.some((extent, axis) => extent !== expected[axis])) {
    throw new ShapeError(name, `${name} has shape ${describe([...got])}, but ${describe([...expected])} is needed`);
  }
}

export function checkShape(shape: Shape): void {
  if (!Array.isArray(shape) || shape.length > maxRank || !shape.every((extent) => Number.isInteger(extent) && extent >= 0)) {
    throw new ShapeError('shape', `shape must be an array of at most ${maxRank} integers >= 0, but got ${describe(shape)}`);
  }
}

/** The class of a typed array by name, whatever realm it is of: each context of node:vm, and so each test of jest, has its own classes. */
function className(value: unknown): string {
  return ArrayBuffer.isView(value) ? Object.prototype.toString.call(value).slice('[object '.length, -1) : '';
}

/** Whether `value` is the typed array that holds elements of `dtype` on the host. */
export function isArrayOf<T extends DType>(dtype: T, value: unknown): value is InstanceType<(typeof arrayTypes)[T]> {
  // The name takes a hundred times as long.
  return value instanceof arrayTypes[dtype] || className(value) === arrayTypes[dtype].name;
}

export function dtypeOf(array: HostArray): HostDType {
  const found = hostDTypes.find((dtype) => isArrayOf(dtype, array));
  if (!found) throw noArrayOfNumbers('data', array);
  return found;
}

/**
 * @throws {DTypeError} unless it is a typed array of numbers.
 * @throws {DataError} when its buffer was given away, by a transfer or by WebAssembly, or shrunk: it would read as empty.
 */
export function requireNumbers(name: string, value: unknown): asserts value is HostArray {
  const isOwn =
    value instanceof Float32Array || value instanceof Float64Array || value instanceof Int32Array || value instanceof Uint8Array;
  if (!isOwn && !/^(Float|Int|Uint)\d+(Clamped)?Array$/.test(className(value))) throw noArrayOfNumbers(name, value);
  const { length, buffer } = value as HostArray;
  if (length > 0) return;
  const isShrunk = (buffer as { resizable?: boolean }).resizable;
  if (isShrunk || isDetached(buffer)) throw new DataError(name, `${name} has no elements any longer: its buffer was transferred or shrunk`);
}

function noArrayOfNumbers(name: string, value: unknown): DTypeError {
  return new DTypeError(name, `${name} must be an array of numbers or a Float32, Float64, Int32 or Uint8Array, but got ${describe(value)}`);
}

/** `buffer.detached`, which Node 20 does not have. */
function isDetached(buffer: ArrayBufferLike): boolean {
  try {
    new Uint8Array(buffer);
    return false;
  } catch {
    return true;
  }
}

/** A new array of zeros. @throws {DeviceError} when the host has no memory for it. */
export function hostArray<T extends DType>(dtype: T, length: number): InstanceType<(typeof arrayTypes)[T]> {
  try {
    return new arrayTypes[dtype](length) as InstanceType<(typeof arrayTypes)[T]>;
  } catch {
    throw new DeviceError('memory', `out of memory: the host has no array of ${length} elements of ${dtype}`);
  }
}

export function flatten(values: NestedNumbers, shape: number[]): number[] {
  const flat: number[] = [];
  const visit = (value: NestedNumbers, depth: number): void => {
    if (typeof value === 'number') {
      if (depth !== shape.length) throw new ShapeError('data', 'data must be nested evenly: a number stands where an array was expected');
      flat.push(value);
      return;
    }
    if (!Array.isArray(value)) throw new DTypeError('data', `data must hold numbers, but holds ${describe(value)}`);
    if (value.length !== shape[depth]) {
      throw new ShapeError('data', `data must be nested evenly: ${value.length} entries stand where ${shape[depth] ?? 'a number'} were expected`);
    }
    for (const entry of value as readonly NestedNumbers[]) visit(entry, depth + 1);
  };
  for (let at: NestedNumbers | undefined = values; Array.isArray(at); at = (at as readonly NestedNumbers[])[0]) {
    // Also the end of an array that holds itself.
    if (shape.length === maxRank) throw new ShapeError('data', `data must be nested at most ${maxRank} arrays deep`);
    shape.push(at.length);
  }
  visit(values, 0);
  return flat;
}

export function convert(values: ArrayLike<number>, dtype: HostDType): HostArray {
  const array = hostArray(dtype, values.length);
  array.set(values);
  if (isInteger(dtype)) {
    for (let i = 0; i < values.length; i++) if (array[i] !== values[i]) throw notStorable('data', `data[${i}]`, values[i], dtype);
  }
  return array;
}

/** @throws {DataError} when `value` is a fraction, NaN or out of range for an integer type. */
export function requireStorable(name: string, value: number, dtype: DType): void {
  if (isInteger(dtype) && arrayTypes[dtype].of(value)[0] !== value) throw notStorable(name, name, value, dtype);
}

function notStorable(argument: string, place: string, value: number, dtype: DType): DataError {
  return new DataError(argument, `${place} is ${value}, which ${dtype} cannot hold`);
}
