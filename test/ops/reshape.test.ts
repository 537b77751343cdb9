import { type DataError, DisposedError, DTypeError, ShapeError } from '../../lib/errors';
import { memoryStats } from '../../lib/device';
import { flatten, reshape } from '../../lib/ops';
import { ones, type Tensor, tensor, zeros } from '../../lib/tensor';
import { expectGradients } from '../support/gradcheck';
import { expectError, random } from '../support/tensors';

test.each([
  [[3, 2], [3, 2]],
  [[-1], [6]],
  [[1, -1, 2], [1, 3, 2]],
  [[6, -1], [6, 1]],
])('reshape to %p', (target, expected) => {
  const x = random([2, 3], 1);
  const y = reshape(x, target);
  expect(y.shape).toEqual(expected);
  expect(y.data()).toEqual(x.data());
  expectGradients((input) => reshape(input, target), x);
});

test('reshape keeps integers and takes no memory', () => {
  const labels = tensor(Int32Array.of(1, 2, 3, 4));
  const before = memoryStats();
  const square = reshape(labels, [2, 2]);
  expect(memoryStats().allocated).toBe(before.allocated);
  expect(square.toArray()).toEqual([[1, 2], [3, 4]]);
  labels.dispose();
  expect(square.toArray()).toEqual([[1, 2], [3, 4]]);
});

test('a scalar and one element', () => {
  expect(reshape(tensor([5]), []).item()).toBe(5);
  expect(reshape(tensor(5), [-1]).shape).toEqual([1]);
});

test.each([
  [[2, 3, 4, 5], [2, 60]],
  [[2, 3], [2, 3]],
  [[4], [4, 1]],
])('flatten of %p', (shape, expected) => {
  expect(flatten(zeros(shape)).shape).toEqual(expected);
  expectGradients(flatten, random(shape, 1));
});

describe('errors', () => {
  const x = random([2, 3], 1, 'f32');
  const [scalar, empty, gone] = [tensor(1), zeros([0, 3]), ones([2])];
  gone.dispose();

  test.each<[string, () => Tensor, typeof DataError, string, RegExp]>([
    ['size', () => reshape(x, [4, 2]), ShapeError, 'shape', /x of shape \[2, 3\] has 6 elements.*\[4, 2\]/],
    ['-1 that does not divide', () => reshape(x, [4, -1]), ShapeError, 'shape', /\[4, -1\]/],
    ['two unknown', () => reshape(x, [-1, -1]), ShapeError, 'shape', /one of them possibly -1, but got \[-1, -1\]/],
    ['fraction', () => reshape(x, [1.5, 4]), ShapeError, 'shape', /integers >= 0.*\[1.5, 4\]/],
    ['no array', () => reshape(x, 6 as never), ShapeError, 'shape', /but got 6/],
    ['too many axes', () => reshape(x, [1, 1, 1, 1, 1, 2, 3]), ShapeError, 'shape', /at most 6/],
    ['unknown of nothing', () => reshape(empty, [0, -1]), ShapeError, 'shape', /0 elements/],
    ['flatten a scalar', () => flatten(scalar), ShapeError, 'x', /x must have shape \[N, ...\]/],
    ['no tensor', () => flatten(null as never), DTypeError, 'x', /x must be a Tensor, but got null/],
    ['disposed', () => reshape(gone, [2]), DisposedError, 'x', /x of shape \[2\]/],
  ])('%s', (_, run, type, argument, message) => {
    expectError(run, type, argument, message);
  });
});
