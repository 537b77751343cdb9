// The Hessians of Lemmas 1 and 2 (paper, §2.3), in float64.
//
// G(U, V) = ½‖F − U Vᵀ‖² and G_S(U, V) = ½‖F − D_U U Vᵀ D_V‖², where D_U and D_V divide each row by its length. Both
// lemmas look at a global optimum, F = U Vᵀ with rows of length 1, and at (cU, V/c), which is one as well. There the
// residual is zero, so that the Hessian is JᵀJ, with J the derivative of the residual: its eigenvalues are the squares
// of the singular values of J, which are computed without forming JᵀJ, because that would halve the digits.
import { Generator } from '../random';

/** Rows of a matrix. */
export type Matrix = readonly (readonly number[])[];

/** In which coordinates the Hessian is taken. */
export const objectives = ['G', 'G_S on the spheres', 'G_S in U and V'] as const;
/**
 * `G`: in U and V. `G_S on the spheres`: in the directions of the rows, which are what the angles depend on; so Lemma 2
 * holds. `G_S in U and V`: in the raw rows, as an optimizer that keeps raw weights sees it.
 */
export type Objective = (typeof objectives)[number];

/** Rows of length 1 in random directions. */
export function unitRows(rows: number, columns: number, generator: Generator): Matrix {
  return Array.from({ length: rows }, () => {
    const row = Array.from({ length: columns }, () => generator.normal());
    return row.map((value) => value / norm(row));
  });
}

/**
 * The restricted condition number κ of the Hessian at (cU, V/c): its largest eigenvalue over the smallest nonzero one.
 * @param u `[n, k]`, rows of length 1.
 * @param v `[m, k]`, rows of length 1.
 */
export function conditionNumber(objective: Objective, u: Matrix, v: Matrix, c: number): number {
  const eigenvalues = nonzeroEigenvalues(objective, u, v, c);
  return eigenvalues[0] / eigenvalues.at(-1)!;
}

/** The Hessian's eigenvalues at (cU, V/c), but those that are zero up to rounding; the largest one first. */
export function nonzeroEigenvalues(objective: Objective, u: Matrix, v: Matrix, c: number): number[] {
  const values = singularValues(columnsOf(objective, u, v, c)).sort((a, b) => b - a);
  return values.filter((value) => value > roundingShare * values[0]).map((value) => value ** 2);
}

/** Singular values below this share of the largest one are rounding. */
const roundingShare = 1e-11;

/**
 * The columns of J, one for each element of U and then of V: the derivative of every product u_i·v_j. They are those of
 * the rows' directions on the spheres (an element moves u_i by the part of its axis that is orthogonal to u_i), and
 * divided by the rows' length in raw coordinates.
 */
function columnsOf(objective: Objective, u: Matrix, v: Matrix, c: number): number[][] {
  const lengths: Record<Objective, { ofU: number; ofV: number }> = {
    'G': { ofU: c, ofV: 1 / c },
    'G_S on the spheres': { ofU: 1, ofV: 1 },
    'G_S in U and V': { ofU: c, ofV: 1 / c },
  };
  const { ofU, ofV } = lengths[objective];
  const normalized = objective !== 'G';
  // What one element of row `row` of U, moved by 1, changes in its product with a row of V; and the other way round.
  const slope = (row: readonly number[], other: readonly number[], axis: number, length: number, otherLength: number): number =>
    normalized ? (other[axis] - dot(row, other) * row[axis]) / length : otherLength * other[axis];
  const columns: number[][] = [];
  const products = u.length * v.length;
  u.forEach((row, i) => {
    for (let axis = 0; axis < row.length; axis++) {
      const column = new Array<number>(products).fill(0);
      v.forEach((other, j) => { column[i * v.length + j] = slope(row, other, axis, ofU, ofV); });
      columns.push(column);
    }
  });
  v.forEach((row, j) => {
    for (let axis = 0; axis < row.length; axis++) {
      const column = new Array<number>(products).fill(0);
      u.forEach((other, i) => { column[i * v.length + j] = slope(row, other, axis, ofV, ofU); });
      columns.push(column);
    }
  });
  return columns;
}

/** By Jacobi's one-sided method: pairs of columns are rotated until all are orthogonal; then their lengths are the values. */
function singularValues(columns: number[][]): number[] {
  // A column that is zero up to rounding has no direction: it would be rotated for ever.
  const zero = (1e-14 * Math.max(...columns.map(norm))) ** 2;
  // Ten sweeps do; more are only rounding.
  for (let sweep = 0, rotated = true; rotated && sweep < 60; sweep++) {
    rotated = false;
    for (let p = 0; p < columns.length; p++) {
      for (let q = p + 1; q < columns.length; q++) {
        const [a, b] = [columns[p], columns[q]];
        const [aa, bb, ab] = [dot(a, a), dot(b, b), dot(a, b)];
        if (Math.min(aa, bb) <= zero || Math.abs(ab) <= 1e-15 * Math.sqrt(aa * bb)) continue;
        rotated = true;
        const zeta = (bb - aa) / (2 * ab);
        const tangent = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
        const cosine = 1 / Math.hypot(1, tangent);
        columns[p] = a.map((value, i) => cosine * (value - tangent * b[i]));
        columns[q] = b.map((value, i) => cosine * (value + tangent * a[i]));
      }
    }
  }
  return columns.map(norm);
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}

function norm(row: readonly number[]): number {
  return Math.sqrt(dot(row, row));
}
