// Gradients by backward() against central differences, in float64.
import { noGrad, type Tensor, tensor } from '../../lib/tensor';
import { dot, normals, relativeError } from './tensors';

/** Any function of tensors; those that require a gradient are checked. */
export type Differentiable = (...inputs: Tensor[]) => Tensor;

// Fourth order: an error of step⁴ f⁽⁵⁾ / 30 beside 1e-16 / step of rounding.
const step = 2e-4;
const stencil = [
  [-2, 1 / 12],
  [-1, -8 / 12],
  [1, 8 / 12],
  [2, -1 / 12],
] as const;

/** The output of `compute` projected on one fixed random direction: a scalar function of the inputs. */
function projected(compute: Differentiable, inputs: Tensor[], direction: ArrayLike<number>): number {
  return noGrad(() => dot(compute(...inputs).data(), direction));
}

function numericGradient(objective: () => number, input: Tensor): Float64Array {
  const values = Float64Array.from(input.data());
  const gradient = values.map((value, i) => {
    const at = (offset: number) => {
      values[i] = value + offset * step;
      input.assign(values);
      return objective();
    };
    const slope = stencil.reduce((total, [offset, weight]) => total + weight * at(offset), 0) / step;
    values[i] = value;
    return slope;
  });
  input.assign(values);
  return gradient;
}

/** The relative error, in max-norm, of each gradient that `compute` gives for `inputs`. */
export function gradientErrors(compute: Differentiable, inputs: Tensor[]): number[] {
  for (const input of inputs) input.grad = null;
  const output = compute(...inputs);
  const direction = Float64Array.from(normals(output.size, 99));
  output.backward({ gradient: tensor(direction, output.shape) });
  return inputs
    .filter((input) => input.requiresGrad)
    .map((input) => {
      const numeric = numericGradient(() => projected(compute, inputs, direction), input);
      if (numeric.every((slope) => slope === 0)) throw new Error('a gradient check of a constant checks nothing');
      return relativeError(input.grad!.data(), numeric);
    });
}

/** Expects the gradient of every input that requires one to be right within 1e-6. */
export function expectGradients(compute: Differentiable, ...inputs: Tensor[]): void {
  const errors = gradientErrors(compute, inputs);
  expect(errors.length).toBeGreaterThan(0);
  for (const error of errors) expect(error).toBeLessThan(1e-6);
}
