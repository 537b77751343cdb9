// Images whose numbers differ by many powers of ten: what is dark beside what is bright, and lengths whose squares do not
// fit in float32. The reference is the same operator in float64.
import { type SphereOptions, sphereConv2d } from '../../lib/ops';
import { tensor } from '../../lib/tensor';
import { testDevice } from '../support/device';
import { normals, uniforms } from '../support/tensors';

interface Case {
  images: number;
  channels: number;
  filters: number;
  size: number;
  padding: number;
}
// The first two go through Winograd's algorithm on the cpu; tiles of the second reach over the edge.
const wide: Case = { images: 2, channels: 48, filters: 40, size: 16, padding: 1 };
const odd: Case = { images: 2, channels: 33, filters: 48, size: 18, padding: 0 };
const small: Case = { images: 1, channels: 3, filters: 5, size: 6, padding: 1 };

/** Output and gradients of the sum of y times fixed numbers. */
function run(dtype: 'f32' | 'f64', c: Case, x: Float32Array, w: Float32Array, options: SphereOptions) {
  const leaves = [
    tensor(x, [c.images, c.size, c.size, c.channels], { dtype, requiresGrad: true }),
    tensor(w, [c.filters, 3, 3, c.channels], { dtype, requiresGrad: true }),
  ];
  const y = sphereConv2d(leaves[0], leaves[1], { padding: c.padding, ...options });
  const values = y.data();
  y.backward({ gradient: tensor(Float32Array.from(normals(values.length, 3)), y.shape, { dtype }) });
  const [dx, dw] = leaves.map(({ grad }) => grad!.data());
  return { y: values, dx, dw };
}

// Looked up once: in jest's contexts a global costs far more than the arithmetic.
const { abs, floor, max } = Math;
const { isFinite, POSITIVE_INFINITY: infinite } = Number;

/** The largest difference, and the largest number of the reference. */
function compare(actual: ArrayLike<number>, reference: ArrayLike<number>): { error: number; size: number } {
  let [error, size] = [0, 0];
  for (let i = 0; i < reference.length; i++) {
    // A number that is not finite is a difference of Infinity.
    error = max(error, isFinite(actual[i]) ? abs(actual[i] - reference[i]) : infinite);
    size = max(size, abs(reference[i]));
  }
  return { error, size };
}

function expectClose(c: Case, x: Float32Array, options: SphereOptions = { operator: 'cosine' }, w = filtersOf(c)): void {
  const actual = run('f32', c, x, w, options), reference = run('f64', c, x, w, options);
  expect(compare(actual.y, reference.y).error).toBeLessThan(1e-4);
  const dw = compare(actual.dw, reference.dw), dx = compare(actual.dx, reference.dx);
  expect(dw.error).toBeLessThan(1e-4 * dw.size);
  expect(dx.error).toBeLessThan(1e-4 * dx.size);
}

const filtersOf = (c: Case) => Float32Array.from(normals(c.filters * 9 * c.channels, 2));
const noise = (c: Case) => Float32Array.from(normals(c.images * c.size * c.size * c.channels, 1));

/** Multiplies the pixels at which `factor` is not 1. */
function scalePixels(c: Case, x: Float32Array, factor: (row: number, column: number) => number): Float32Array {
  return x.map((value, i) => {
    const pixel = floor(i / c.channels) % c.size ** 2;
    return value * factor(floor(pixel / c.size), pixel % c.size);
  });
}

describe.each([['whole tiles', wide], ['tiles beyond the edge', odd]])('%s', (_, c) => {
  test.each([200, 1e3, 1e6, 1e9])('one pixel is %p times brighter', (factor) => {
    expectClose(c, scalePixels(c, noise(c), (row, column) => (row === 5 && column === 5 ? factor : 1)));
  });

  test.each([1e3, 1e6])('half of the image is %p times darker', (factor) => {
    expectClose(c, scalePixels(c, noise(c), (_row, column) => (column < 6 ? 1 / factor : 1)));
  });

  test('activations behind a ReLU, nine of ten of them 0, over nine powers of ten', () => {
    const next = uniforms(7);
    expectClose(c, noise(c).map((value) => (next() < 0.9 ? 0 : abs(value) * 10 ** (9 * next() - 4))));
  });
});

const operators: SphereOptions[] = [{ operator: 'cosine' }, { operator: 'sigmoid' }, { normGuard: { kind: 'add', eps: 1e-4 }, operator: 'linear' }];

// On cuda, lengths must stay below 1.8e19.
(testDevice === 'cpu' ? describe : describe.skip)('long vectors', () => {
  test.each(operators.flatMap((options) => [1e18, 1e20, 1e37].map((size) => [size, options] as const)))('numbers of about %p, %p', (size, options) => {
    expectClose(small, noise(small).map((value) => value * size), options);
  });

  test("numbers of about 1e30 through Winograd's algorithm", () => {
    expectClose(wide, noise(wide).map((value) => value * 1e30));
  });

  test('3e38 beside ordinary numbers, which count as zero: all results are finite', () => {
    const x = noise(wide);
    for (let i = 0; i < wide.channels; i++) x[(5 * wide.size + 5) * wide.channels + i] = i % 2 ? 3e38 : -3e38;
    const results = run('f32', wide, x, filtersOf(wide), { operator: 'cosine' });
    for (const values of Object.values(results)) expect(values.every((value) => isFinite(value))).toBe(true);
    expect(results.y[0]).toBe(0);
  });

  test('an image beside one of 1e25 comes out as it does alone', () => {
    const [w, x] = [filtersOf(wide), noise(wide)];
    const half = x.length / 2;
    const alone = { ...wide, images: 1 };
    const expected = run('f64', alone, x.slice(0, half), w, { operator: 'cosine' });
    const actual = run('f32', wide, x.map((value, i) => (i < half ? value : value * 1e25)), w, { operator: 'cosine' });
    expect(compare(actual.y.slice(0, expected.y.length), expected.y).error).toBeLessThan(1e-4);
    expect(compare(actual.dx.slice(0, half), expected.dx).error).toBeLessThan(1e-4 * compare(expected.dx, expected.dx).size);
  });

  test.each([1e30, 7e37])('filters of about %p', (size) => {
    expectClose(small, noise(small), {}, filtersOf(small).map((value) => value * size));
  });
});

test.each([1e-30, 1e-38, 1e-45])('numbers of %p are zero patches', (size) => {
  const { y, dx, dw } = run('f32', small, noise(small).fill(size), filtersOf(small), {});
  for (const values of [y, dx, dw]) expect(values.every((value) => value === 0)).toBe(true);
});
