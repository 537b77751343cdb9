// Seeded data, distances and expectations that the operator tests share.
import { type SphereNetError } from '../../lib/errors';
import { memoryStats } from '../../lib/device';
import { type DType, type Shape, sizeOf, type Tensor, tensor } from '../../lib/tensor';

/** A generator of numbers in [0, 1), the same for the same seed. */
export function uniforms(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Numbers from N(0, 1). */
export function normals(count: number, seed: number): number[] {
  const next = uniforms(seed);
  return Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()));
}

/** A leaf with numbers from N(0, 1). */
export function random(shape: Shape, seed: number, dtype: DType = 'f64'): Tensor {
  return tensor(Float64Array.from(normals(sizeOf(shape), seed)), shape, { dtype, requiresGrad: true });
}

/** A leaf with numbers from [low, high). */
export function randomBetween(low: number, high: number, shape: Shape, seed: number, dtype: DType = 'f64'): Tensor {
  const next = uniforms(seed);
  const values = Float64Array.from({ length: sizeOf(shape) }, () => low + (high - low) * next());
  return tensor(values, shape, { dtype, requiresGrad: true });
}

/** Class labels, i32. */
export function randomLabels(count: number, classes: number, seed: number): Tensor {
  const next = uniforms(seed);
  return tensor(Int32Array.from({ length: count }, () => Math.floor(next() * classes)));
}

export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += a[i] * b[i];
  return total;
}

export function norm(a: ArrayLike<number>): number {
  return Math.sqrt(dot(a, a));
}

/** The angle between two vectors, without the arccos that loses it near the poles. */
export function angle(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const [lengthA, lengthB] = [norm(a), norm(b)];
  const unitA = Array.from(a, (value) => value / lengthA);
  const unitB = Array.from(b, (value) => value / lengthB);
  return 2 * Math.atan2(norm(unitA.map((value, i) => value - unitB[i])), norm(unitA.map((value, i) => value + unitB[i])));
}

// Looked up once: in jest's contexts a global costs far more than the arithmetic.
const { abs, max } = Math;

/** max |actual - expected| / max |expected|; max |actual| where nothing but zeros is expected. NaN stays NaN. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual).toHaveLength(expected.length);
  let [difference, largest] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    difference = max(difference, abs(actual[i] - expected[i]));
    largest = max(largest, abs(expected[i]));
  }
  return difference / (largest || 1);
}

export function isFinite(values: Tensor): boolean {
  return values.data().every(Number.isFinite);
}

/** Exactly zero, of either sign. */
export function isZero(values: ArrayLike<number>): boolean {
  return Array.from(values).every((value) => value === 0);
}

type ErrorClass = abstract new (...args: never[]) => SphereNetError;

/** Expects an error of exactly this class for this argument, and that no memory was taken for the attempt. */
export function expectError(run: () => unknown, type: ErrorClass, argument: string, message: RegExp): void {
  const before = memoryStats().storages;
  let caught: unknown;
  try {
    run();
  } catch (error) {
    caught = error;
  }
  expect(memoryStats().storages).toBeLessThanOrEqual(before);
  expect(caught).toBeInstanceOf(type);
  const error = caught as SphereNetError;
  expect(error.constructor).toBe(type);
  expect(error.argument).toBe(argument);
  expect(error.message).toMatch(message);
}
