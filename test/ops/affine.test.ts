import { type DataError, DisposedError, DTypeError, OptionError, ShapeError } from '../../lib/errors';
import { affine } from '../../lib/ops';
import { ones, type Tensor, tensor } from '../../lib/tensor';
import { expectGradients } from '../support/gradcheck';
import { expectError, random } from '../support/tensors';

test.each(['f32', 'f64'] as const)('y = scale x + shift in %s', (dtype) => {
  const x = tensor([[1, 2], [3, 4]], [2, 2], { dtype });
  const [scale, shift] = [tensor([2, -1], [2], { dtype }), tensor([10, 20], [2], { dtype })];
  expect(affine(x, { scale, shift }).toArray()).toEqual([[12, 18], [16, 16]]);
  expect(affine(x, { scale }).toArray()).toEqual([[2, -2], [6, -4]]);
  expect(affine(x, { shift }).toArray()).toEqual([[11, 22], [13, 24]]);
});

test.each([[[2, 3, 4, 5]], [[4, 3]], [[2, 2, 3, 17]], [[3, 2, 2, 1]], [[3]]])('gradients, x of %p', (shape) => {
  const channels = shape.slice(-1);
  expectGradients((x, scale, shift) => affine(x, { scale, shift }), random(shape, 1), random(channels, 2), random(channels, 3));
  expectGradients((x, scale) => affine(x, { scale }), random(shape, 1), random(channels, 2));
  expectGradients((x, shift) => affine(x, { shift }), random(shape, 1), random(channels, 3));
});

test('fixed coefficients get no gradient', () => {
  const [x, scale, shift] = [random([2, 3], 1), random([3], 2), random([3], 3)];
  scale.requiresGrad = false;
  affine(x, { scale, shift }).backward({ gradient: ones([2, 3], { dtype: 'f64' }) });
  expect(scale.grad).toBeNull();
  expect(x.grad!.data()).toEqual(Float64Array.of(...scale.data(), ...scale.data()));
  expect(Array.from(shift.grad!.data())).toEqual([2, 2, 2]);
});

describe('errors', () => {
  const x = random([2, 3], 1, 'f32');
  const [three, two, double, scalar] = [ones([3]), ones([2]), ones([3], { dtype: 'f64' }), tensor(1)];
  const gone = ones([3]);
  gone.dispose();

  test.each<[string, () => Tensor, typeof DataError, string, RegExp]>([
    ['scale', () => affine(x, { scale: two }), ShapeError, 'scale', /scale must have shape \[3\], but has \[2\]/],
    ['shift', () => affine(x, { scale: three, shift: two }), ShapeError, 'shift', /shift must have shape \[3\]/],
    ['scalar', () => affine(scalar, { scale: three }), ShapeError, 'x', /x must have a channel axis/],
    ['dtype', () => affine(x, { shift: double }), DTypeError, 'shift', /shift is f64 but x is f32/],
    ['disposed', () => affine(x, { scale: gone }), DisposedError, 'scale', /scale of shape \[3\]/],
    ['neither', () => affine(x, {}), OptionError, 'scale', /a scale, a shift, or both, but got neither/],
    ['unknown option', () => affine(x, { bias: three } as never), OptionError, 'bias', /affine has no option "bias"/],
  ])('%s', (_, run, type, argument, message) => {
    expectError(run, type, argument, message);
  });
});
