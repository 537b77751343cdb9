// Runs the same computation on the cpu and on cuda and holds the results against each other.
import type { Device } from '../../lib/device';
import { type Shape, sizeOf, type Tensor, tensor } from '../../lib/tensor';
import { normals, relativeError, uniforms } from './tensors';

/** The elements of an operand, the same on both devices. */
export interface Operand {
  shape: Shape;
  values: Float32Array | Int32Array;
  /** False for what has no gradient. Default true; labels have none. */
  requiresGrad?: boolean;
}

export type Operands = Record<string, Operand>;
type Inputs<O extends Operands> = Record<keyof O, Tensor>;

/** float32 operators agree within this of the largest entry. */
export const tolerance = 1e-5;

/** Numbers from N(0, 1). */
export function normal(shape: Shape, seed: number): Operand {
  return { shape, values: Float32Array.from(normals(sizeOf(shape), seed)) };
}

/** Numbers from [low, high). */
export function between(low: number, high: number, shape: Shape, seed: number): Operand {
  const next = uniforms(seed);
  return { shape, values: Float32Array.from({ length: sizeOf(shape) }, () => low + (high - low) * next()) };
}

export function labelsOf(count: number, classes: number, seed: number): Operand {
  const next = uniforms(seed);
  return { shape: [count], values: Int32Array.from({ length: count }, () => Math.floor(next() * classes)) };
}

export function fixed(operand: Operand): Operand {
  return { ...operand, requiresGrad: false };
}

/** The operands as tensors on a device. */
export function place<O extends Operands>(operands: O, device: Device): Inputs<O> {
  const entries = Object.entries(operands).map(([name, { shape, values, requiresGrad }]) => {
    const isFloat = values instanceof Float32Array;
    return [name, tensor(values, shape, { device, requiresGrad: requiresGrad ?? isFloat })];
  });
  return Object.fromEntries(entries) as Inputs<O>;
}

/**
 * What `compute` gives on a device, by name: its results and, where the first of them is on the tape, the gradient of
 * every operand that requires one, for the same gradient of the first result.
 */
export function resultsOn<O extends Operands>(
  device: Device,
  operands: O,
  compute: (inputs: Inputs<O>) => Record<string, Tensor>,
): Record<string, ArrayLike<number>> {
  const inputs = place(operands, device);
  const results = compute(inputs);
  const found = Object.fromEntries(Object.entries(results).map(([name, result]) => [name, result.data()]));
  const [output] = Object.values(results);
  if (!output.node) return found;
  output.backward({ gradient: tensor(Float32Array.from(normals(output.size, 99)), output.shape, { device }) });
  for (const [name, input] of Object.entries<Tensor>(inputs)) if (input.grad) found[`d${name}`] = input.grad.data();
  return found;
}

/** Expects the same results and gradients on both devices, in max-norm within `limit` of the largest entry. */
export function expectTwins<O extends Operands>(
  operands: O,
  compute: (inputs: Inputs<O>) => Record<string, Tensor>,
  limit = tolerance,
): void {
  const [cpu, cuda] = (['cpu', 'cuda'] as const).map((device) => resultsOn(device, operands, compute));
  expect(Object.keys(cuda)).toEqual(Object.keys(cpu));
  const errors = Object.keys(cpu).map((name) => [name, relativeError(cuda[name], cpu[name])] as const);
  // A NaN is no match either.
  expect(errors.filter(([, error]) => !(error < limit))).toEqual([]);
}
