import { requireKnownKeys, requireNumber, ShapeError } from '../errors';
import { formatShape, requireFloat } from '../ops/checks';
import { defaultGenerator, type Generator } from '../random';
import { sizeOf, type Tensor } from '../tensor';

export interface InitOptions {
  /** Default: the one that `manualSeed` resets. */
  generator?: Generator;
}

/** Overwrites a tensor of floating type, element by element in row-major order. */
function fillWith(tensor: Tensor, draw: () => number): Tensor {
  requireFloat('tensor', tensor);
  const values = tensor.dtype === 'f64' ? new Float64Array(tensor.size) : new Float32Array(tensor.size);
  for (let i = 0; i < values.length; i++) values[i] = draw();
  return tensor.assign(values);
}

/** Inputs and outputs that a filter `[O, ..., I]` connects. */
function fans({ shape }: Tensor): [fanIn: number, fanOut: number] {
  if (shape.length < 2) throw new ShapeError('tensor', `tensor must have shape [O, ..., I], but has ${formatShape(shape)}`);
  const taps = sizeOf(shape.slice(1, -1));
  return [taps * shape.at(-1)!, taps * shape[0]];
}

/** Fills with one value. Returns the tensor. @throws {DTypeError | OptionError} */
export function constant(tensor: Tensor, value: number): Tensor {
  requireNumber('value', value);
  return fillWith(tensor, () => value);
}

/**
 * Fills from N(mean, std²), by default N(0, 1). Returns the tensor.
 * @throws {DTypeError | OptionError}
 */
export function normal(tensor: Tensor, options: InitOptions & { mean?: number; std?: number } = {}): Tensor {
  requireKnownKeys('normal', options, ['mean', 'std', 'generator']);
  const mean = requireNumber('mean', options.mean ?? 0);
  const std = requireNumber('std', options.std ?? 1, { min: 0 });
  const generator = options.generator ?? defaultGenerator();
  return fillWith(tensor, () => mean + std * generator.normal());
}

/**
 * Fills from [low, high), by default [0, 1). Returns the tensor.
 * @throws {DTypeError | OptionError}
 */
export function uniform(tensor: Tensor, options: InitOptions & { low?: number; high?: number } = {}): Tensor {
  requireKnownKeys('uniform', options, ['low', 'high', 'generator']);
  const low = requireNumber('low', options.low ?? 0);
  const high = requireNumber('high', options.high ?? 1, { min: low });
  const generator = options.generator ?? defaultGenerator();
  return fillWith(tensor, () => low + (high - low) * generator.uniform());
}

/**
 * He et al.: fills filters `[O, kH, kW, C]` from N(0, 2 / (kH kW C)), and `[O, D]` from N(0, 2 / D). Returns the tensor.
 * @throws {ShapeError | DTypeError | OptionError}
 */
export function heNormal(tensor: Tensor, options: InitOptions = {}): Tensor {
  requireKnownKeys('heNormal', options, ['generator']);
  const [fanIn] = fans(tensor);
  return normal(tensor, { std: Math.sqrt(2 / fanIn), generator: options.generator });
}

/**
 * Glorot and Bengio: fills filters `[O, kH, kW, C]` from [-a, a), a² = 6 / (kH kW (C + O)). Returns the tensor.
 * @throws {ShapeError | DTypeError | OptionError}
 */
export function xavier(tensor: Tensor, options: InitOptions = {}): Tensor {
  requireKnownKeys('xavier', options, ['generator']);
  const [fanIn, fanOut] = fans(tensor);
  const high = Math.sqrt(6 / (fanIn + fanOut));
  return uniform(tensor, { low: -high, high, generator: options.generator });
}
