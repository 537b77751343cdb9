// Values and gradients against PyTorch's MultiMarginLoss: losses.test.ts.
import { DataError, DisposedError, DTypeError, OptionError, ShapeError } from '../../lib/errors';
import { multiMargin, scale } from '../../lib/ops';
import { ones, tensor, zeros } from '../../lib/tensor';
import { expectGradients } from '../support/gradcheck';
import { expectError, random, randomLabels } from '../support/tensors';

describe.each([false, true])('squared: %p', (squared) => {
  test.each([0.5, 1, 2])('gradients with a margin of %p', (margin) => {
    expectGradients((logits) => scale(multiMargin(logits, randomLabels(5, 4, 1), { margin, squared }), -2), random([5, 4], 2));
    expectGradients((logits) => multiMargin(logits, randomLabels(3, 37, 1), { margin, squared }), random([3, 37], 3));
  });

  test('is 0 where every margin is kept, and margin^p (classes - 1) / classes for equal logits', () => {
    const logits = tensor([[3, 1, 2], [0, 5, 4]], [2, 3], { requiresGrad: true });
    const loss = multiMargin(logits, tensor(Int32Array.of(0, 1)), { squared });
    expect(loss.item()).toBe(0);
    loss.backward();
    expect([...logits.grad!.data()].map(Math.abs)).toEqual([0, 0, 0, 0, 0, 0]);
    expect(multiMargin(zeros([2, 4]), randomLabels(2, 4, 1), { margin: 2, squared }).item()).toBeCloseTo((squared ? 4 : 2) * 0.75, 6);
  });

  test('NaN shows', () => {
    expect(multiMargin(tensor([[1, NaN]]), tensor(Int32Array.of(0)), { squared }).item()).toBeNaN();
  });
});

describe('errors', () => {
  const [logits, labels] = [random([2, 4], 4, 'f32'), randomLabels(2, 4, 3)];
  const [vector, tooLarge, floats, three] = [ones([3]), tensor(Int32Array.of(0, 4)), zeros([2]), randomLabels(3, 4, 5)];
  const gone = ones([2, 3]);
  gone.dispose();

  test.each<[string, () => unknown, typeof DataError, string, RegExp]>([
    ['rank', () => multiMargin(vector, labels), ShapeError, 'logits', /logits must have shape \[N, classes\]/],
    ['label', () => multiMargin(logits, tooLarge), DataError, 'labels', /labels\[1\] is 4/],
    ['labels not i32', () => multiMargin(logits, floats), DTypeError, 'labels', /labels must be i32/],
    ['number of labels', () => multiMargin(logits, three), ShapeError, 'labels', /shape \[2\]/],
    ['margin', () => multiMargin(logits, labels, { margin: 0 }), OptionError, 'margin', /greater than 0.*but got 0/],
    ['squared', () => multiMargin(logits, labels, { squared: 2 as never }), OptionError, 'squared', /true or false/],
    ['unknown option', () => multiMargin(logits, labels, { p: 2 } as never), OptionError, 'p', /multiMargin has no option/],
    ['disposed', () => multiMargin(gone, labels), DisposedError, 'logits', /logits of shape/],
  ])('%s', (_, run, type, argument, message) => {
    expectError(run, type, argument, message);
  });
});
