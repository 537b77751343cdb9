import type { Device } from '../device';
import { type Shape, sizeOf, type Tensor, tensor } from '../tensor';

/** After so many elements they come again, since a sine takes time. bench/peers/pytorch.py does the same. */
const tile = 2 ** 20;

/** Numbers spread over -1 to 1: the time of an operator depends on its numbers only where they are all alike. */
export function variedTensor(shape: Shape, phase: number, device: Device): Tensor {
  return tensor(variedNumbers(sizeOf(shape), phase), shape, { device });
}

/** The numbers of {@link variedTensor}. */
export function variedNumbers(count: number, phase: number): Float32Array {
  const values = new Float32Array(count);
  for (let i = 0; i < Math.min(count, tile); i++) values[i] = Math.sin(i + phase);
  for (let start = tile; start < count; start += tile) values.copyWithin(start, 0, Math.min(tile, count - start));
  return values;
}
