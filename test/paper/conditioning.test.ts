import { conditionNumber, type Matrix, nonzeroEigenvalues, type Objective, unitRows } from '../../lib/paper/conditioning';
import { Generator } from '../../lib/random';

const [n, m, k] = [5, 4, 2];
const generator = new Generator(3);
const [u, v] = [unitRows(n, k, generator), unitRows(m, k, generator)];

/** Both objectives as the paper writes them (eq. 7 and 8), of all elements of U and V in a row. */
function objective(normalized: boolean, f: Matrix, elements: readonly number[], ks: number): number {
  const rows = Array.from({ length: elements.length / ks }, (_, i) => elements.slice(i * ks, (i + 1) * ks));
  const scaled = rows.map((row) => (normalized ? row.map((value) => value / Math.hypot(...row)) : row));
  const [us, vs] = [scaled.slice(0, f.length), scaled.slice(f.length)];
  let sum = 0;
  for (const [i, row] of f.entries()) {
    for (const [j, value] of row.entries()) sum += (value - us[i].reduce((product, each, a) => product + each * vs[j][a], 0)) ** 2 / 2;
  }
  return sum;
}

/** The trace of the Hessian and of its square, by differences: sums of eigenvalues and of their squares. */
function moments(normalized: boolean, c: number): [number, number] {
  const f = u.map((row) => v.map((other) => row.reduce((sum, value, a) => sum + value * other[a], 0)));
  const at = [...u.flat().map((value) => c * value), ...v.flat().map((value) => value / c)];
  const step = at.map((_, i) => (i < n * k ? c : 1 / c) * 1e-3);
  const value = (moves: [number, number][]): number => {
    const moved = [...at];
    for (const [index, by] of moves) moved[index] += by * step[index];
    return objective(normalized, f, moved, k);
  };
  let [trace, square] = [0, 0];
  for (const p of at.keys()) {
    for (const q of at.keys()) {
      const second = (value([[p, 1], [q, 1]]) - value([[p, 1], [q, -1]]) - value([[p, -1], [q, 1]]) + value([[p, -1], [q, -1]])) /
        (4 * step[p] * step[q]);
      if (p === q) trace += second;
      square += second ** 2;
    }
  }
  return [trace, square];
}

test.each([['G', false], ['G_S in U and V', true]] as const)('eigenvalues of %s are those of differences of the formula', (name, normalized) => {
  for (const c of [1, 1.5]) {
    const eigenvalues = nonzeroEigenvalues(name, u, v, c);
    const [trace, square] = moments(normalized, c);
    expect(eigenvalues.reduce((sum, value) => sum + value, 0) / trace).toBeCloseTo(1, 4);
    expect(eigenvalues.reduce((sum, value) => sum + value ** 2, 0) / square).toBeCloseTo(1, 4);
  }
});

test('the directions without curvature are those that change no product', () => {
  // U A, V A^-T for any A; on the spheres the lengths of the rows and a common rotation.
  const nullity = (name: Objective) => (n + m) * k - nonzeroEigenvalues(name, u, v, 7).length;
  expect(nullity('G')).toBe(k * k);
  expect(nullity('G_S on the spheres')).toBe(n + m + (k * (k - 1)) / 2);
  expect(nullity('G_S in U and V')).toBe(n + m + (k * (k - 1)) / 2);
});

// Rows along the axes: U'U = 2 I, V'V = diag(2, 2, 1). The nonzero eigenvalues of G are the sums of an eigenvalue of c²UU'
// and one of VV'/c² that are not both zero.
const axis = (i: number): number[] => [0, 1, 2].map((j) => (i % 3 === j ? 1 : 0));
const [axesU, axesV] = [Array.from({ length: 6 }, (_, i) => axis(i)), Array.from({ length: 5 }, (_, i) => axis(i))];

test('kappa of G is what theory says: it grows as c^4 where U has more rows than columns, above the c^2 of Lemma 1', () => {
  for (const c of [1, 2, 8, 32]) {
    expect(conditionNumber('G', axesU, axesV, c) / (2 * c ** 4 + 2)).toBeCloseTo(1, 9);
    expect(conditionNumber('G', axesU, axesV, c)).toBeGreaterThanOrEqual(c ** 2 * conditionNumber('G', axesU, axesV, 1));
  }
});

test('kappa of G does not grow where U is square: there the bound of Lemma 1 does not hold', () => {
  const square = [axis(0), axis(1), axis(2)];
  for (const c of [1, 2, 8, 32]) expect(conditionNumber('G', square, axesV, c)).toBeCloseTo(1 + 2 / c ** 4, 9);
});

test('eigenvalues of G_S on the spheres do not change (Lemma 2), in raw coordinates they are squeezed and stretched by c²', () => {
  const [plain, scaled] = [1, 32].map((c) => nonzeroEigenvalues('G_S on the spheres', u, v, c));
  scaled.forEach((value, i) => { expect(value / plain[i]).toBeCloseTo(1, 12); });
  nonzeroEigenvalues('G_S in U and V', u, v, 1).forEach((value, i) => { expect(value / plain[i]).toBeCloseTo(1, 9); });
  const growth = [16, 32].map((c) => conditionNumber('G_S in U and V', u, v, c));
  expect(growth[1] / growth[0]).toBeCloseTo(16, 0);
});
