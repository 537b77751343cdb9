import { DisposedError, DTypeError, OptionError, ShapeError, type DataError } from '../../lib/errors';
import {
  type AngularOperator,
  angularOperators,
  type ConvOptions,
  officialNormGuard,
  scale,
  sphereConv2d,
  sphereLinear,
  type SphereOptions,
} from '../../lib/ops';
import { type DType, noGrad, ones, Tensor, tensor, zeros } from '../../lib/tensor';
import { angularValue } from '../support/angular';
import { expectGradients } from '../support/gradcheck';
import { type Params, testParity } from '../support/parity';
import { angle, dot, expectError, isFinite, isZero, norm, random, randomBetween, relativeError } from '../support/tensors';

type Options = ConvOptions & SphereOptions;

function fixtureOptions({ operator, k, normGuard, eps, stride, padding, dilation, groups }: Params): Options {
  const geometry = { stride, padding, dilation, groups } as ConvOptions;
  const guard = { kind: normGuard, eps } as never;
  return { operator: operator as AngularOperator, k: k as number | Tensor | undefined, normGuard: guard, ...geometry };
}

testParity(
  'sphere_conv2d.safetensors',
  ({ x, w, k, bias }, params) => ({ y: sphereConv2d(x, w, { ...fixtureOptions({ k, ...params }), bias }) }),
  // 1 / sin(theta) multiplies the rounding of s by more than 20 there.
  (name) => (name.startsWith('near-pole') ? 5e-5 : 0),
);

describe('gradients', () => {
  const operators: [string, SphereOptions][] = [
    ...angularOperators.map((operator): [string, SphereOptions] => [operator, { operator }]),
    ['the official guard', { operator: 'linear', normGuard: officialNormGuard }],
  ];
  const geometries: [string, number[], number[], ConvOptions][] = [
    ['3x3 with padding', [2, 4, 3, 3], [4, 3, 3, 3], { padding: 1 }],
    ['1x1', [2, 3, 2, 5], [3, 1, 1, 5], {}],
    ['1x1, stride 2, padding 1', [1, 4, 3, 5], [2, 1, 1, 5], { stride: 2, padding: 1 }],
    ['one channel, 5x5, stride 2', [1, 6, 5, 1], [3, 5, 5, 1], { padding: 2, stride: 2 }],
    ['2x3, stride [1, 2], padding [0, 1]', [1, 4, 5, 3], [3, 2, 3, 3], { stride: [1, 2], padding: [0, 1] }],
    ['dilation [2, 1]', [1, 6, 4, 3], [2, 3, 3, 3], { dilation: [2, 1] }],
    ['two groups', [1, 4, 4, 6], [4, 3, 3, 3], { padding: 1, groups: 2 }],
    ['depthwise', [1, 4, 4, 5], [5, 3, 3, 1], { padding: 1, groups: 5 }],
    ['17 channels, the whole image', [2, 2, 2, 17], [3, 2, 2, 17], {}],
  ];

  describe.each(geometries)('%s', (_, image, filters, geometry) => {
    test.each(operators)('%s', (__, options) => {
      const run = (x: Tensor, w: Tensor, bias?: Tensor) => sphereConv2d(x, w, { ...geometry, ...options, bias });
      expectGradients(run, random(image, 1), random(filters, 2), random([filters[0]], 3));
    });

    test('sigmoid, learned k per layer', () => {
      const run = (x: Tensor, w: Tensor, k: Tensor) => sphereConv2d(x, w, { ...geometry, k });
      expectGradients(run, random(image, 1), random(filters, 2), randomBetween(0.2, 0.9, [1], 4));
    });

    test('sigmoid, learned k per filter, and bias', () => {
      const run = (x: Tensor, w: Tensor, k: Tensor, bias: Tensor) => sphereConv2d(x, w, { ...geometry, k, bias });
      const [k, bias] = [randomBetween(0.2, 0.9, [filters[0]], 4), random([filters[0]], 3)];
      expectGradients(run, random(image, 1), random(filters, 2), k, bias);
    });
  });

  test.each([0.1, 0.7, 2])('sigmoid %p', (k) => {
    expectGradients((x, w) => sphereConv2d(x, w, { k }), random([1, 3, 4, 2], 1), random([3, 2, 2, 2], 2));
  });

  test('are made only for what requires one', () => {
    const [x, w, k] = [random([1, 3, 3, 2], 1), random([2, 3, 3, 2], 2), tensor([0.4], [1], { dtype: 'f64' })];
    x.requiresGrad = false;
    sphereConv2d(x, w, { k }).backward({ gradient: random([1, 1, 1, 2], 3) });
    expect([x.grad, k.grad]).toEqual([null, null]);
    expect(w.grad!.shape).toEqual(w.shape);
  });

  test('vanish where the angle cannot change: one channel, 1x1', () => {
    const [x, w] = [random([1, 3, 3, 1], 1), random([2, 1, 1, 1], 2)];
    const y = sphereConv2d(x, w, { operator: 'linear' });
    // At the poles asin turns the rounding of s into its square root.
    expect(y.data().every((value) => Math.abs(Math.abs(value) - 1) < 1e-7)).toBe(true);
    y.backward({ gradient: ones(y.shape, { dtype: 'f64' }) });
    expect(norm(x.grad!.data())).toBeLessThan(1e-9);
    expect(norm(w.grad!.data())).toBeLessThan(1e-9);
  });
});

describe.each(angularOperators)('g of the %s operator', (operator) => {
  const steps = 2000;
  const angles = Array.from({ length: steps + 1 }, (_, i) => (i * Math.PI) / steps);
  const curvatures = operator === 'sigmoid' ? [0.05, 0.1, 0.3, 0.7, 2] : [undefined];
  const filter = (dtype: DType) => tensor([[1, 0]], [1, 2], { dtype });
  const valuesAt = (thetas: number[], dtype: DType, k?: number) => {
    const x = tensor(Float64Array.from(thetas.flatMap((theta) => [Math.cos(theta), Math.sin(theta)])), [thetas.length, 2], { dtype });
    return Array.from(sphereLinear(x, filter(dtype), { operator, k }).data());
  };

  test.each(curvatures)('is what the paper says (k %p)', (k) => {
    const expected = angles.map((theta) => angularValue(operator, theta, k));
    expect(relativeError(valuesAt(angles, 'f64', k), expected)).toBeLessThan(1e-8);
    // At the poles the cosine holds no angle below the square root of the rounding.
    expect(relativeError(valuesAt(angles.slice(20, -20), 'f32', k), expected.slice(20, -20))).toBeLessThan(1e-5);
  });

  test.each(curvatures)('falls from 1 over 0 to -1 (k %p)', (k) => {
    const values = valuesAt(angles, 'f64', k);
    // Far from the equator a sharp sigmoid is 1 to the last place.
    const slack = 1e-15;
    expect(values.slice(1).every((value, i) => value <= values[i] + slack)).toBe(true);
    const middle = values.slice(steps / 2 - 100, steps / 2 + 100);
    expect(middle.slice(1).every((value, i) => value < middle[i])).toBe(true);
    const ends = [values[0], values[steps / 2], values[steps]];
    expect(relativeError(ends, [1, 0, -1])).toBeLessThan(1e-12);
  });
});

test('a tiny k gives numbers, in both precisions', () => {
  for (const dtype of ['f32', 'f64'] as const) {
    const [x, w] = [random([2, 4, 4, 3], 1, dtype), random([3, 3, 3, 3], 2, dtype)];
    const y = sphereConv2d(x, w, { k: 0.005 });
    y.backward({ gradient: random(y.shape, 3, dtype) });
    expect([y, x.grad!, w.grad!].map(isFinite)).toEqual([true, true, true]);
  }
});

describe.each(['f32', 'f64'] as const)('in %s', (dtype) => {
  const tolerance = dtype === 'f32' ? 1e-5 : 1e-12;
  const sphereOptions: [string, SphereOptions][] = [
    ['linear', { operator: 'linear' }],
    ['cosine', { operator: 'cosine' }],
    ['sigmoid', { operator: 'sigmoid', k: 0.3 }],
  ];
  const scaledBy = (x: Tensor, factor: number) => noGrad(() => scale(x, factor));

  describe.each(sphereOptions)('%s', (_, options) => {
    test('the length of patches and filters does not count', () => {
      const [x, w] = [random([2, 5, 5, 3], 1, dtype), random([4, 3, 3, 3], 2, dtype)];
      const y = sphereConv2d(x, w, { ...options, padding: 1 }).data();
      for (const factor of [1e-3, 3.7, 1e4]) {
        expect(relativeError(sphereConv2d(scaledBy(x, factor), w, { ...options, padding: 1 }).data(), y)).toBeLessThan(tolerance);
        expect(relativeError(sphereConv2d(x, scaledBy(w, factor), { ...options, padding: 1 }).data(), y)).toBeLessThan(tolerance);
      }
    });

    test('a gradient has no part along its filter', () => {
      const [x, w] = [random([2, 5, 5, 3], 1, dtype), random([4, 3, 3, 3], 2, dtype)];
      const y = sphereConv2d(x, w, { ...options, padding: 1, stride: 2 });
      y.backward({ gradient: random(y.shape, 3, dtype) });
      const [filters, gradients] = [w.data(), w.grad!.data()];
      for (let o = 0; o < 4; o++) {
        const [filter, gradient] = [filters.slice(o * 27, o * 27 + 27), gradients.slice(o * 27, o * 27 + 27)];
        expect(Math.abs(dot(filter, gradient))).toBeLessThan(tolerance * norm(filter) * norm(gradient));
        expect(norm(gradient)).toBeGreaterThan(0);
      }
    });

    test('a zero patch gives exactly the bias and no gradient', () => {
      const x = zeros([2, 4, 4, 3], { dtype, requiresGrad: true });
      const [w, bias] = [random([4, 3, 3, 3], 2, dtype), random([4], 3, dtype)];
      const y = sphereConv2d(x, w, { ...options, padding: 1 });
      expect(isZero(y.data())).toBe(true);
      const biased = sphereConv2d(x, w, { ...options, padding: 1, bias });
      expect(biased.data().every((value, i) => value === bias.data()[i % 4])).toBe(true);
      biased.backward({ gradient: random(y.shape, 4, dtype) });
      expect([isZero(x.grad!.data()), isZero(w.grad!.data()), isZero(bias.grad!.data())]).toEqual([true, true, false]);
    });

    test('a zero filter gives exactly 0, no gradient, and leaves the others alone', () => {
      const [x, w] = [random([1, 4, 4, 3], 1, dtype), random([3, 3, 3, 3], 2, dtype)];
      const values = w.data().fill(0, 27, 54);
      w.assign(values);
      const y = sphereConv2d(x, w, options);
      const responses = y.data();
      expect(responses.filter((value, i) => (i % 3 === 1) !== (value === 0))).toHaveLength(0);
      y.backward({ gradient: random(y.shape, 4, dtype) });
      const gradient = w.grad!.data();
      expect(isZero(gradient.slice(27, 54))).toBe(true);
      expect(isZero(gradient.slice(0, 27))).toBe(false);
      expect(isFinite(x.grad!)).toBe(true);
    });

    test.each([
      ['parallel', 2.5, 1],
      ['antiparallel', -0.4, -1],
    ])('%s patch and filter: y at the pole, a finite gradient of about 0', (__, factor, pole) => {
      const w = random([1, 3, 3, 2], 1, dtype);
      const x = scaledBy(w, factor);
      x.requiresGrad = true;
      const y = sphereConv2d(x, w, options);
      expect(Math.abs(y.item() - pole)).toBeLessThan(dtype === 'f32' ? 1e-3 : 1e-7);
      expect(Math.abs(y.item())).toBeLessThanOrEqual(1 + tolerance);
      y.backward();
      // The direction of the gradient is undefined there; its length stays bounded by rounding over the floor of sin.
      for (const [input, gradient] of [[x, x.grad!], [w, w.grad!]]) {
        expect(isFinite(gradient)).toBe(true);
        expect(norm(gradient.data()) * norm(input.data())).toBeLessThan(dtype === 'f32' ? 1e-2 : 1e-9);
      }
    });

    const near = dtype === 'f32' ? [1e-3, 1e-2] : [1e-6, 1e-4, 1e-2];
    test.each([...near, ...near.map((theta) => Math.PI - theta)])('a small step up the gradient lowers an angle of %p', (theta) => {
      const direction = random([2, 9], 5).data();
      const [first, second] = [direction.slice(0, 9), direction.slice(9)];
      const along = dot(first, second) / dot(first, first);
      const normal = second.map((value, i) => value - along * first[i]);
      const patch = first.map((value, i) => (Math.cos(theta) * value) / norm(first) + (Math.sin(theta) * normal[i]) / norm(normal));
      const make = (values: Iterable<number>) => tensor(Float64Array.from(values), [1, 3, 3, 1], { dtype, requiresGrad: true });
      const [x, w] = [make(patch), make(first)];
      sphereConv2d(x, w, options).backward();
      for (const [moved, fixed] of [[x, w], [w, x]]) {
        const [values, gradient] = [Float64Array.from(moved.data()), moved.grad!.data()];
        expect(isFinite(moved.grad!)).toBe(true);
        const before = angle(values, fixed.data());
        const reach = (0.1 * Math.sin(before) * norm(values)) / norm(gradient);
        const after = angle(values.map((value, i) => value + reach * gradient[i]), fixed.data());
        expect(before - after).toBeGreaterThan(0.05 * Math.sin(before));
      }
    });
  });
});

describe('of many channels', () => {
  // Winograd's algorithm on the cpu: its rounding is relative to the largest pixels of a tile, which dark patches share
  // with bright ones.
  test.each([[1, 1e-6], [1 / 64, 3e-5], [1 / 1024, 5e-4]])('angles are right of patches %p times as bright as their neighbours', (factor, bound) => {
    const bright = random([4, 16, 16, 32], 1).data();
    const values = bright.map((value, i) => (Math.floor(i / 32) % 16 < 6 ? value : value * factor));
    const cosines = (dtype: DType) => {
      const [x, w] = [tensor(values, [4, 16, 16, 32], { dtype }), random([24, 3, 3, 32], 2, dtype)];
      return Array.from(noGrad(() => sphereConv2d(x, w, { operator: 'cosine', padding: 1 })).data());
    };
    const [found, expected] = [cosines('f32'), cosines('f64')];
    expect(Math.max(...expected.map((value, i) => Math.abs(value - found[i])))).toBeLessThan(bound);
  });
});

describe('errors', () => {
  const x = random([1, 4, 4, 4], 1, 'f32');
  const w = random([2, 3, 3, 4], 2, 'f32');
  const [one, three, double, matrix] = [ones([1]), ones([3]), ones([2], { dtype: 'f64' }), ones([1, 2])];
  const [flat, narrow, doubleW, integers] = [zeros([4, 4]), zeros([2, 3, 3, 3]), random([2, 3, 3, 4], 2), zeros([2], { dtype: 'i32' })];
  const gone = ones([1]);
  gone.dispose();

  test.each<[string, () => Tensor, typeof DataError, string, RegExp]>([
    ['rank', () => sphereConv2d(flat, w), ShapeError, 'x', /x must have shape \[N, H, W, C\], but has \[4, 4\]/],
    ['channels', () => sphereConv2d(x, narrow), ShapeError, 'x', /x has 4 channels.*take 3/],
    ['window', () => sphereConv2d(x, w, { dilation: 3 }), ShapeError, 'x', /smaller than the 3x3 filters/],
    ['dtypes', () => sphereConv2d(x, doubleW), DTypeError, 'weight', /weight is f64 but x is f32/],
    ['groups', () => sphereConv2d(x, w, { groups: 4 }), OptionError, 'groups', /must divide.*is 4/],
    ['operator', () => sphereConv2d(x, w, { operator: 'tanh' as never }), OptionError, 'operator', /one of "linear", "cosine", "sigmoid".*, but got "tanh"/],
    ['k of another operator', () => sphereConv2d(x, w, { operator: 'cosine', k: 0.3 }), OptionError, 'k', /k belongs to the sigmoid operator/],
    ['k of 0', () => sphereConv2d(x, w, { k: 0 }), OptionError, 'k', /greater than 0, but got 0/],
    ['k not a number', () => sphereConv2d(x, w, { k: NaN }), OptionError, 'k', /finite number.*NaN/],
    ['extent of k', () => sphereConv2d(x, w, { k: three }), ShapeError, 'k', /k must have shape \[1\] or \[2\], but has \[3\]/],
    ['rank of k', () => sphereConv2d(x, w, { k: matrix }), ShapeError, 'k', /but has \[1, 2\]/],
    ['dtype of k', () => sphereConv2d(x, w, { k: double }), DTypeError, 'k', /k is f64 but x is f32/],
    ['integer k', () => sphereConv2d(x, w, { k: integers }), DTypeError, 'k', /k must be f32 or f64, but is i32/],
    ['disposed k', () => sphereConv2d(x, w, { k: gone }), DisposedError, 'k', /k of shape \[1\] was used after its release/],
    ['bias', () => sphereConv2d(x, w, { bias: one }), ShapeError, 'bias', /bias must have shape \[2\], but has \[1\]/],
    ['eps', () => sphereConv2d(x, w, { normGuard: { kind: 'max', eps: 0 } }), OptionError, 'normGuard.eps', /greater than 0/],
    ['kind of guard', () => sphereConv2d(x, w, { normGuard: { kind: 'none' as never, eps: 1 } }), OptionError, 'normGuard.kind', /"max", "add"/],
    ['unknown option', () => sphereConv2d(x, w, { strides: 2 } as never), OptionError, 'strides', /sphereConv2d has no option "strides"/],
  ])('%s', (_, run, type, argument, message) => {
    expectError(run, type, argument, message);
  });
});
