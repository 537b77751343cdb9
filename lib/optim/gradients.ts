import { requireSameDevice } from '../device';
import { requireNumber } from '../errors';
import { native } from '../native';
import type { Tensor } from '../tensor';
import { gradientOf, handles } from './optimizer';

function gradientsOf(parameters: readonly Tensor[]): Tensor[] {
  const gradients = parameters.flatMap((parameter, i) => gradientOf(`parameters[${i}]`, parameter) ?? []);
  for (const { device } of gradients) requireSameDevice('parameters', device, 'the first of their gradients', gradients[0].device);
  return gradients;
}

/**
 * The Euclidean norm of all gradients together; 0 where there are none. On cuda this waits for them.
 * @throws {DeviceError} when they are on several devices.
 * @throws {DTypeError | ShapeError | DisposedError} when a gradient is not like its parameter, or was released.
 */
export function gradientNorm(parameters: readonly Tensor[]): number {
  return globalNorm(gradientsOf(parameters));
}

/** The Euclidean norm of tensors on one device together, of any floating dtypes; 0 where there are none. @internal */
export function globalNorm(tensors: readonly Tensor[]): number {
  // The native operator takes tensors of one dtype.
  const dtypes = [...new Set(tensors.map(({ dtype }) => dtype))];
  const norms = dtypes.map((dtype) => {
    const alike = dtypes.length === 1 ? tensors : tensors.filter((each) => each.dtype === dtype);
    using norm = alike[0].newEmpty([]);
    native.globalNorm(handles(alike), norm.handle);
    return norm.item();
  });
  return Math.hypot(...norms);
}

/**
 * Scales all gradients by one factor so that {@link gradientNorm} is at most `maxNorm`. On cuda this waits for them.
 * @param maxNorm Greater than 0.
 * @returns The norm before.
 * @throws {OptionError | DeviceError} when maxNorm is out of range or the gradients are on several devices.
 * @throws {DTypeError | ShapeError | DisposedError} as {@link gradientNorm}.
 */
export function clipGradNorm(parameters: readonly Tensor[], maxNorm: number): number {
  requireNumber('maxNorm', maxNorm, { above: 0 });
  const norm = gradientNorm(parameters);
  if (norm <= maxNorm) return norm;
  // Never in place: the gradients of two leaves that were added share their memory.
  const clipped = parameters.map(({ grad }) => grad?.newEmpty().keep() ?? null);
  parameters.forEach((parameter, i) => {
    const { grad } = parameter;
    if (!grad) return;
    native.scale(grad.handle, maxNorm / norm, clipped[i]!.handle);
    parameter.grad = clipped[i];
    grad.dispose();
  });
  return norm;
}
