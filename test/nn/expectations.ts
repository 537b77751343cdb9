// What the tests of modules, losses, optimizers and models share.
import type { SphereNetError } from '../../lib/errors';
import type { Tensor } from '../../lib/tensor';

type ErrorClass = abstract new (...args: never[]) => SphereNetError;

/** Expects an error of exactly this class for this argument. */
export function expectThrown(run: () => unknown, type: ErrorClass, argument: string, message: RegExp): void {
  let caught: unknown;
  try {
    run();
  } catch (error) {
    caught = error;
  }
  expect(caught).toBeInstanceOf(type);
  const error = caught as SphereNetError;
  expect([error.constructor.name, error.argument]).toEqual([type.name, argument]);
  expect(error.message).toMatch(message);
}

/** The values of named tensors. */
export function valuesOf(tensors: Record<string, Tensor>): Record<string, ArrayLike<number>> {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, tensor.data()]));
}
