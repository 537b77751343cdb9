import { type DataError, DisposedError, DTypeError, OptionError, ShapeError } from '../../lib/errors';
import { linear } from '../../lib/ops';
import { ones, type Tensor, tensor } from '../../lib/tensor';
import { expectGradients } from '../support/gradcheck';
import { expectError, random, relativeError } from '../support/tensors';

test.each(['f32', 'f64'] as const)('y = x weightᵀ + bias in %s', (dtype) => {
  const x = tensor([[1, 2, 3], [4, 5, 6]], [2, 3], { dtype });
  const weight = tensor([[1, 0, -1], [2, 1, 0]], [2, 3], { dtype });
  const bias = tensor([10, -10], [2], { dtype });
  expect(linear(x, weight).toArray()).toEqual([[-2, 4], [-2, 13]]);
  expect(linear(x, weight, { bias }).toArray()).toEqual([[8, -6], [8, 3]]);
});

test.each([[4, 5, 3], [1, 17, 2], [6, 1, 1]])('gradients, %d rows of %d features to %d', (rows, features, outputs) => {
  const run = (x: Tensor, w: Tensor, bias?: Tensor) => linear(x, w, { bias });
  expectGradients(run, random([rows, features], 1), random([outputs, features], 2));
  expectGradients(run, random([rows, features], 1), random([outputs, features], 2), random([outputs], 3));
});

test('float32 gradients agree with float64 ones', () => {
  const gradients = (['f32', 'f64'] as const).map((dtype) => {
    const inputs = [random([33, 65], 1, dtype), random([17, 65], 2, dtype), random([17], 3, dtype)];
    linear(inputs[0], inputs[1], { bias: inputs[2] }).backward({ gradient: random([33, 17], 4, dtype) });
    return inputs.map((input) => input.grad!.data());
  });
  for (const i of [0, 1, 2]) expect(relativeError(gradients[0][i], gradients[1][i])).toBeLessThan(1e-5);
});

test('only what requires a gradient gets one', () => {
  const [x, w, bias] = [random([2, 3], 1), random([4, 3], 2), random([4], 3)];
  w.requiresGrad = bias.requiresGrad = false;
  linear(x, w, { bias }).backward({ gradient: random([2, 4], 4) });
  expect([w.grad, bias.grad]).toEqual([null, null]);
  expect(x.grad!.shape).toEqual([2, 3]);
});

describe('errors', () => {
  const [x, w] = [random([2, 3], 1, 'f32'), random([4, 3], 2, 'f32')];
  const [vector, wide, double, two] = [ones([3]), ones([4, 5]), ones([4], { dtype: 'f64' }), ones([2])];
  const gone = ones([2, 3]);
  gone.dispose();

  test.each<[string, () => Tensor, typeof DataError, string, RegExp]>([
    ['rank of x', () => linear(vector, w), ShapeError, 'x', /x must have shape \[N, D\], but has \[3\]/],
    ['rank of weight', () => linear(x, vector), ShapeError, 'weight', /weight must have shape \[O, D\]/],
    ['features', () => linear(x, wide), ShapeError, 'x', /x has 3 features.*takes 5/],
    ['bias', () => linear(x, w, { bias: two }), ShapeError, 'bias', /bias must have shape \[4\]/],
    ['dtypes', () => linear(x, w, { bias: double }), DTypeError, 'bias', /bias is f64 but x is f32/],
    ['disposed', () => linear(gone, w), DisposedError, 'x', /x of shape \[2, 3\]/],
    ['unknown option', () => linear(x, w, { biases: two } as never), OptionError, 'biases', /linear has no option/],
  ])('%s', (_, run, type, argument, message) => {
    expectError(run, type, argument, message);
  });
});
