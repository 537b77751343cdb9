import { type DataError, DisposedError, DTypeError, OptionError, ShapeError } from '../../lib/errors';
import { add, concat, dropout, positive, relu, scale, sum } from '../../lib/ops';
import { ones, type Tensor, tensor, zeros } from '../../lib/tensor';
import { expectGradients } from '../support/gradcheck';
import { expectError, random, relativeError } from '../support/tensors';

const precisions = ['f32', 'f64'] as const;

describe('gradients', () => {
  test.each<[string, (...inputs: Tensor[]) => Tensor, number[][]]>([
    ['relu', relu, [[2, 3, 4, 5]]],
    ['add', add, [[3, 4], [3, 4]]],
    ['add of one tensor to itself', (x) => add(x, x), [[5]]],
    ['scale', (x) => scale(x, -2.5), [[2, 3]]],
    ['scale by 0.5 of a scalar', (x) => scale(x, 0.5), [[]]],
    ['sum', sum, [[2, 3, 4]]],
    ['sum of a sum', (x) => sum(scale(sum(x), 3)), [[4]]],
    ['softplus', (x) => positive(x, 'softplus'), [[17]]],
    ['softplus of large numbers', (x) => positive(scale(x, 15), 'softplus'), [[17]]],
    ['absolute', (x) => positive(x, 'absolute'), [[17]]],
    ['dropout', (x) => dropout(x, { probability: 0.3, seed: 7 }), [[4, 25]]],
    ['concat of images', (a, b, c) => concat([a, b, c]), [[2, 3, 2, 1], [2, 3, 2, 3], [2, 3, 2, 5]]],
    ['concat of one', (a) => concat([a]), [[3, 2]]],
    ['concat of a tensor with itself', (a, b) => concat([a, b, a]), [[3, 2], [3, 1]]],
  ])('%s', (_, run, shapes) => {
    expectGradients(run, ...shapes.map((shape, i) => random(shape, i + 1)));
  });

  test('concat of a tensor without channels', () => {
    const [none, some] = [random([2, 0], 1), random([2, 3], 2)];
    const y = concat([none, some, none]);
    expect([y.shape, y.data()]).toEqual([[2, 3], some.data()]);
    y.backward({ gradient: ones([2, 3], { dtype: 'f64' }) });
    expect([none.grad!.shape, Array.from(some.grad!.data())]).toEqual([[2, 0], [1, 1, 1, 1, 1, 1]]);
  });

  test('only what requires one gets one', () => {
    const [a, b] = [random([2, 2], 1), random([2, 3], 2)];
    b.requiresGrad = false;
    concat([a, b]).backward({ gradient: ones([2, 5], { dtype: 'f64' }) });
    expect(Array.from(a.grad!.data())).toEqual([1, 1, 1, 1]);
    expect(b.grad).toBeNull();
  });
});

describe.each(precisions)('values in %s', (dtype) => {
  const make = (values: number[], shape = [values.length]) => tensor(values, shape, { dtype });

  test('relu, add, scale, sum', () => {
    const x = make([-2, 0, 3]);
    expect(relu(x).toArray()).toEqual([0, 0, 3]);
    expect(add(x, make([1, 2, 3])).toArray()).toEqual([-1, 2, 6]);
    expect(scale(x, -2).toArray()).toEqual([4, -0, -6]);
    expect(sum(x).shape).toEqual([]);
    expect(sum(x).item()).toBe(1);
  });

  test('the gradient of relu at 0 is 0', () => {
    const x = tensor([0, -0], [2], { dtype, requiresGrad: true });
    relu(x).backward({ gradient: ones([2], { dtype }) });
    expect(Array.from(x.grad!.data())).toEqual([0, 0]);
  });

  test('a long sum keeps its digits', () => {
    expect(sum(tensor(new Float64Array(1_000_000).fill(0.1), [1_000_000], { dtype })).item()).toBeCloseTo(100_000, 0);
  });

  test('softplus and absolute', () => {
    const p = [-100, -30, -1, 0, 1, 30, 100];
    const expected = p.map((value) => Math.max(value, 0) + Math.log1p(Math.exp(-Math.abs(value))));
    const found = positive(make(p), 'softplus').data();
    found.forEach((value, i) => {
      // exp(-100) is next to nothing in float32.
      expect(Math.abs(value - expected[i])).toBeLessThanOrEqual(1e-6 * expected[i] + (dtype === 'f32' ? 1e-44 : 0));
      expect(value).toBeGreaterThan(0);
    });
    expect(relativeError(positive(make([-2, 0, 2]), 'absolute').data(), [2.05, 0.05, 2.05])).toBeLessThan(1e-6);
  });

  test('concat puts channels side by side', () => {
    const y = concat([make([1, 2, 3, 4], [2, 2]), make([5, 6], [2, 1]), make([7, 8, 9, 10], [2, 2])]);
    expect(y.toArray()).toEqual([[1, 2, 5, 7, 8], [3, 4, 6, 9, 10]]);
  });

  describe('dropout', () => {
    const count = 200_000;
    const x = ones([count], { dtype });

    test.each([0, 0.1, 0.5, 0.9])('drops a share of %p and keeps the mean', (probability) => {
      const values = dropout(x, { probability, seed: 3 }).data();
      const kept = values.filter((value) => value !== 0);
      expect(Math.abs(1 - kept.length / count - probability)).toBeLessThan(0.005);
      expect(kept.every((value) => Math.abs(value * (1 - probability) - 1) < 1e-6)).toBe(true);
    });

    test('depends on the seed alone', () => {
      const few = ones([20_000], { dtype });
      const mask = (seed: number) => dropout(few, { probability: 0.5, seed }).data();
      expect(mask(1)).toEqual(mask(1));
      const [first, second] = [mask(1), mask(2)];
      const same = first.filter((value, i) => value === second[i]).length / few.size;
      expect(Math.abs(same - 0.5)).toBeLessThan(0.02);
      expect(mask(Number.MAX_SAFE_INTEGER)).not.toEqual(mask(Number.MAX_SAFE_INTEGER - 1));
    });
  });
});

describe('errors', () => {
  const x = random([2, 3], 1, 'f32');
  const [wide, tall, cube, scalar] = [ones([2, 4]), ones([3, 1]), ones([1, 2, 3]), tensor(1)];
  const [double, labels] = [ones([2, 3], { dtype: 'f64' }), zeros([2, 3], { dtype: 'i32' })];
  const gone = ones([2, 3]);
  gone.dispose();
  const drop = (options: object) => () => dropout(x, options as never);

  test.each<[string, () => Tensor, typeof DataError, string, RegExp]>([
    ['relu of integers', () => relu(labels), DTypeError, 'x', /x must be f32 or f64, but is i32/],
    ['relu of a disposed', () => relu(gone), DisposedError, 'x', /x of shape \[2, 3\]/],
    ['add, shapes', () => add(x, wide), ShapeError, 'b', /b must have shape \[2, 3\], but has \[2, 4\]/],
    ['add, dtypes', () => add(x, double), DTypeError, 'b', /b is f64 but a is f32/],
    ['add, disposed', () => add(x, gone), DisposedError, 'b', /b of shape/],
    ['scale', () => scale(x, Infinity), OptionError, 'factor', /factor must be a finite number, but got Infinity/],
    ['scale of integers', () => scale(labels, 2), DTypeError, 'x', /i32/],
    ['sum of integers', () => sum(labels), DTypeError, 'x', /i32/],
    ['positive', () => positive(x, 'exp' as never), OptionError, 'kind', /"softplus", "absolute", but got "exp"/],
    ['positive of integers', () => positive(labels, 'softplus'), DTypeError, 'p', /p must be f32 or f64/],
    ['probability of 1', drop({ probability: 1, seed: 1 }), OptionError, 'probability', /at least 0 and less than 1, but got 1/],
    ['no probability', drop({ seed: 1 }), OptionError, 'probability', /got undefined/],
    ['seed', drop({ probability: 0.5, seed: 1.5 }), OptionError, 'seed', /an integer at least 0.*got 1.5/],
    ['seed too large', drop({ probability: 0.5, seed: 2 ** 53 }), OptionError, 'seed', /at most 9007199254740991/],
    ['unknown option', drop({ probability: 0.5, seed: 1, p: 1 }), OptionError, 'p', /dropout has no option "p"/],
    ['concat of none', () => concat([]), OptionError, 'tensors', /at least one tensor, but got \[\]/],
    ['concat of no array', () => concat(x as never), OptionError, 'tensors', /got Tensor/],
    ['concat of scalars', () => concat([scalar]), ShapeError, 'tensors[0]', /channel axis/],
    ['concat, extents', () => concat([x, tall]), ShapeError, 'tensors[1]', /tensors\[1\] must have shape \[2, 1\], but has \[3, 1\]/],
    ['concat, ranks', () => concat([x, x, cube]), ShapeError, 'tensors[2]', /tensors\[2\] must have shape \[2, 3\], but has \[1, 2, 3\]/],
    ['concat, rank 0', () => concat([x, scalar]), ShapeError, 'tensors[1]', /but has \[\]/],
    ['concat, dtypes', () => concat([x, double]), DTypeError, 'tensors[1]', /tensors\[1\] is f64 but tensors\[0\] is f32/],
    ['concat, disposed', () => concat([x, gone]), DisposedError, 'tensors[1]', /tensors\[1\] of shape/],
    ['concat, hole', () => concat([x, null as never]), DTypeError, 'tensors[1]', /must be a Tensor, but got null/],
  ])('%s', (_, run, type, argument, message) => {
    expectError(run, type, argument, message);
  });
});
