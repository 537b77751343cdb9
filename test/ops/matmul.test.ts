import { type DataError, DisposedError, DTypeError, OptionError, ShapeError } from '../../lib/errors';
import { matmul } from '../../lib/ops';
import { ones, type Tensor, tensor } from '../../lib/tensor';
import { expectGradients } from '../support/gradcheck';
import { expectError, random } from '../support/tensors';

const transposes = [
  { transposeA: false, transposeB: false },
  { transposeA: true, transposeB: false },
  { transposeA: false, transposeB: true },
  { transposeA: true, transposeB: true },
];

describe.each(transposes)('%p', (options) => {
  const shapes = (m: number, k: number, n: number): [number[], number[]] => [
    options.transposeA ? [k, m] : [m, k],
    options.transposeB ? [n, k] : [k, n],
  ];

  test('gradients', () => {
    const [a, b] = shapes(4, 3, 5);
    expectGradients((left, right) => matmul(left, right, options), random(a, 1), random(b, 2));
    expectGradients((both) => matmul(both, both, options), random([3, 3], 3));
  });

  test.each(['f32', 'f64'] as const)('is the product in %s', (dtype) => {
    const [a, b] = shapes(2, 3, 2);
    const rows = tensor(options.transposeA ? [1, 4, 2, 5, 3, 6] : [1, 2, 3, 4, 5, 6], a, { dtype });
    const columns = tensor(options.transposeB ? [1, 0, 2, -1, 1, 0] : [1, -1, 0, 1, 2, 0], b, { dtype });
    expect(matmul(rows, columns, options).toArray()).toEqual([[7, 1], [16, 1]]);
  });
});

describe('errors', () => {
  const [a, b] = [random([2, 3], 1, 'f32'), random([3, 4], 2, 'f32')];
  const [cube, double] = [ones([1, 2, 3]), ones([3, 4], { dtype: 'f64' })];
  const gone = ones([3, 4]);
  gone.dispose();

  test.each<[string, () => Tensor, typeof DataError, string, RegExp]>([
    ['rank', () => matmul(cube, b), ShapeError, 'a', /a must have shape \[M, K\], but has \[1, 2, 3\]/],
    ['rank of b', () => matmul(a, cube, { transposeB: true }), ShapeError, 'b', /b must have shape \[N, K\]/],
    ['inner extents', () => matmul(a, b, { transposeB: true }), ShapeError, 'b', /\[3, 4\] transposed does not fit a of \[2, 3\]/],
    ['dtypes', () => matmul(a, double), DTypeError, 'b', /b is f64 but a is f32/],
    ['disposed', () => matmul(a, gone), DisposedError, 'b', /b of shape \[3, 4\]/],
    ['no boolean', () => matmul(a, b, { transposeA: 1 as never }), OptionError, 'transposeA', /true or false, but got 1/],
    ['unknown option', () => matmul(a, b, { transpose: true } as never), OptionError, 'transpose', /matmul has no option/],
  ])('%s', (_, run, type, argument, message) => {
    expectError(run, type, argument, message);
  });
});
