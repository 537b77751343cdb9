import { DataError, DisposedError, DTypeError, OptionError, ShapeError } from '../../lib/errors';
import { memoryStats } from '../../lib/device';
import { countCorrect } from '../../lib/ops';
import { ones, tensor, zeros } from '../../lib/tensor';
import { expectError, random, randomLabels } from '../support/tensors';

test.each(['f32', 'f64'] as const)('counts the rows whose label is among the largest logits, in %s', (dtype) => {
  const logits = tensor([[0.1, 0.9, 0.5], [3, 2, 1], [-1, -2, -3], [0, 1, 2]], [4, 3], { dtype });
  const labels = tensor(Int32Array.of(1, 1, 2, 0));
  const before = memoryStats().storages;
  expect([1, 2, 3].map((top) => countCorrect(logits, labels, { top }))).toEqual([1, 2, 4]);
  expect(countCorrect(logits, labels)).toBe(1);
  expect(memoryStats().storages).toBe(before);
});

test('of equal logits the first class wins, and a diverged network is never right', () => {
  const labels = tensor(Int32Array.of(0, 1));
  expect(countCorrect(zeros([2, 3]), labels)).toBe(1);
  const broken = tensor(new Float32Array(6).fill(NaN), [2, 3]);
  expect(countCorrect(broken, labels)).toBe(0);
});

test('agrees with a sort', () => {
  const [logits, labels] = [random([200, 11], 1, 'f32'), randomLabels(200, 11, 2)];
  const [values, targets] = [logits.data(), labels.data()];
  const ranks = Array.from(targets, (target, row) => {
    const own = values.slice(row * 11, row * 11 + 11);
    return own.filter((value) => value > own[target]).length;
  });
  for (const top of [1, 5, 11]) {
    expect(countCorrect(logits, labels, { top })).toBe(ranks.filter((rank) => rank < top).length);
  }
});

describe('errors', () => {
  const [logits, labels] = [random([2, 3], 1, 'f32'), randomLabels(2, 3, 1)];
  const [vector, wrong, floats, three] = [ones([3]), tensor(Int32Array.of(0, 3)), zeros([2]), randomLabels(3, 3, 2)];
  const gone = zeros([2], { dtype: 'i32' });
  gone.dispose();

  test.each<[string, () => number, typeof DataError, string, RegExp]>([
    ['rank', () => countCorrect(vector, labels), ShapeError, 'logits', /logits must have shape \[N, classes\]/],
    ['labels out of range', () => countCorrect(logits, wrong), DataError, 'labels', /labels\[1\] is 3, but there are 3 classes: 0 to 2/],
    ['labels not i32', () => countCorrect(logits, floats), DTypeError, 'labels', /labels must be i32, but are f32/],
    ['number of labels', () => countCorrect(logits, three), ShapeError, 'labels', /labels must have shape \[2\], but has \[3\]/],
    ['disposed', () => countCorrect(logits, gone), DisposedError, 'labels', /labels of shape \[2\]/],
    ['top', () => countCorrect(logits, labels, { top: 4 }), OptionError, 'top', /an integer at least 1 and at most 3, but got 4/],
    ['unknown option', () => countCorrect(logits, labels, { k: 5 } as never), OptionError, 'k', /countCorrect has no option/],
  ])('%s', (_, run, type, argument, message) => {
    expectError(run, type, argument, message);
  });
});
