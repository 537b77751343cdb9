import { type Shape, sizeOf, type Tensor, tensor } from '../tensor';

/** Numbers spread over -1 to 1: the time of an operator depends on its numbers only where they are all alike. */
export function variedTensor(shape: Shape, phase: number): Tensor {
  return tensor(Float32Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(i + phase)), shape);
}
