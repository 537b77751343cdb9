import { type DataError, DisposedError, DTypeError, OptionError, ShapeError } from '../../lib/errors';
import { orthogonality, scale } from '../../lib/ops';
import { ones, type Tensor, tensor, zeros } from '../../lib/tensor';
import { expectGradients } from '../support/gradcheck';
import { testParity } from '../support/parity';
import { dot, expectError, isFinite, isZero, random } from '../support/tensors';

testParity('orthogonality.safetensors', ({ w }, { coefficient, normalized }) => ({
  loss: scale(orthogonality(w, { normalized: normalized as boolean }), coefficient as number),
}));

describe.each([true, false])('normalized: %p', (normalized) => {
  test.each([
    ['filters', [4, 3, 3, 2]],
    ['rows', [3, 17]],
    ['more rows than columns', [5, 3]],
    ['one filter', [1, 2, 2, 3]],
  ])('gradients of %s', (_, shape) => {
    // A single filter of unit length has a constant loss of 0.
    if (normalized && shape[0] === 1) return;
    expectGradients((w) => orthogonality(w, { normalized }), random(shape, 1));
    expectGradients((w) => scale(orthogonality(w, { normalized }), 1e-3), random(shape, 2));
  });

  test.each(['f32', 'f64'] as const)('is 0 for orthonormal rows in %s', (dtype) => {
    const w = tensor([[0.6, 0.8, 0], [-0.8, 0.6, 0]], [2, 3], { dtype });
    expect(orthogonality(w, { normalized }).item()).toBeCloseTo(0, 6);
  });
});

test('the length of rows counts in the raw form only', () => {
  const w = tensor([[2, 0], [0, 1]], [2, 2], { dtype: 'f64', requiresGrad: true });
  expect(orthogonality(w, { normalized: true }).item()).toBeCloseTo(0, 12);
  expect(orthogonality(w, { normalized: false }).item()).toBeCloseTo(9, 12);
});

test('two equal directions cost 2, and by default lengths count too', () => {
  const w = tensor([[3, 4], [6, 8]]);
  expect(orthogonality(w, { normalized: true }).item()).toBeCloseTo(2, 5);
  // (25 - 1)² + 2 · 50² + (100 - 1)²
  expect(orthogonality(w).item()).toBeCloseTo(15_377, 2);
});

test('a normalized gradient has no part along its row', () => {
  const w = random([4, 9], 1);
  orthogonality(w, { normalized: true }).backward();
  const [rows, gradient] = [w.data(), w.grad!.data()];
  for (let row = 0; row < 4; row++) {
    const [from, to] = [row * 9, row * 9 + 9];
    expect(Math.abs(dot(rows.slice(from, to), gradient.slice(from, to)))).toBeLessThan(1e-12);
  }
  expect(isZero(gradient)).toBe(false);
});

test('a zero row costs 1 and gets no gradient', () => {
  const w = tensor([[0, 0], [0, 1]], [2, 2], { requiresGrad: true });
  const loss = orthogonality(w, { normalized: true });
  expect(loss.item()).toBeCloseTo(1, 6);
  loss.backward();
  expect(isFinite(w.grad!)).toBe(true);
  expect(isZero(w.grad!.data().slice(0, 2))).toBe(true);
});

describe('errors', () => {
  const w = random([2, 3], 1, 'f32');
  const [vector, empty, integers] = [ones([3]), ones([0, 3]), zeros([2, 3], { dtype: 'i32' })];
  const gone = ones([2, 3]);
  gone.dispose();

  test.each<[string, () => Tensor, typeof DataError, string, RegExp]>([
    ['rank', () => orthogonality(vector), ShapeError, 'weight', /weight must have shape \[O, ...\].*but has \[3\]/],
    ['empty', () => orthogonality(empty), ShapeError, 'weight', /but has \[0, 3\]/],
    ['integers', () => orthogonality(integers), DTypeError, 'weight', /weight must be f32 or f64/],
    ['disposed', () => orthogonality(gone), DisposedError, 'weight', /weight of shape \[2, 3\]/],
    ['no boolean', () => orthogonality(w, { normalized: 1 as never }), OptionError, 'normalized', /true or false, but got 1/],
    ['unknown option', () => orthogonality(w, { normalised: true } as never), OptionError, 'normalised', /orthogonality has no option/],
  ])('%s', (_, run, type, argument, message) => {
    expectError(run, type, argument, message);
  });
});
