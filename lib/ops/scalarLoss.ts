import type { Handle } from '../../typings/native';
import { record } from '../autograd';
import type { Tensor } from '../tensor';
import { scaledBy } from './elementwise';

/**
 * A scalar function of one tensor, whose native operator writes value and gradient in one call.
 * @param compute Called with the handles of the loss and of the gradient, which has the shape of `input`.
 * @internal
 */
export function scalarLoss(name: string, input: Tensor, compute: (loss: Handle, gradient: Handle) => void): Tensor {
  const loss = input.newEmpty([]);
  const gradient = input.newEmpty();
  compute(loss.handle, gradient.handle);
  return record(name, loss, [input], { saved: [gradient] }, (dloss) => [scaledBy(gradient, dloss)]);
}
