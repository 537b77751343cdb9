import { requireNumber } from '../errors';
import { native } from '../native';
import { Tensor } from '../tensor';
import { handles } from './optimizer';

function gradientsOf(parameters: readonly Tensor[]): Tensor[] {
  return parameters.flatMap(({ grad }) => grad ?? []);
}

/** The Euclidean norm of all gradients together; 0 where there are none. */
export function gradientNorm(parameters: readonly Tensor[]): number {
  const gradients = gradientsOf(parameters);
  if (gradients.length === 0) return 0;
  using norm = Tensor.empty([], gradients[0].dtype);
  native.globalNorm(handles(gradients), norm.handle);
  return norm.item();
}

/**
 * Scales all gradients by one factor so that {@link gradientNorm} is at most `maxNorm`.
 * @param maxNorm Greater than 0.
 * @returns The norm before.
 * @throws {OptionError} when maxNorm is out of range.
 */
export function clipGradNorm(parameters: readonly Tensor[], maxNorm: number): number {
  requireNumber('maxNorm', maxNorm, { above: 0 });
  const norm = gradientNorm(parameters);
  if (norm <= maxNorm) return norm;
  for (const parameter of parameters) {
    const { grad } = parameter;
    if (!grad) continue;
    // Never in place: the gradients of two leaves that were added share their memory.
    parameter.grad = Tensor.empty(grad.shape, grad.dtype).keep();
    native.scale(grad.handle, maxNorm / norm, parameter.grad.handle);
    grad.dispose();
  }
  return norm;
}
