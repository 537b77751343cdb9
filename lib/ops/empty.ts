import { record } from '../autograd';
import type { Tensor } from '../tensor';

/** The result y of an operator on a batch of nothing. It has no element to compute, and every input's gradient is zero. */
export function emptyResult(op: string, y: Tensor, inputs: readonly (Tensor | null)[]): Tensor {
  return record(op, y, inputs, {}, () => inputs.map((input) => (input?.requiresGrad ? input.newFull(0) : null)));
}
