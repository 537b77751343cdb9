import { type DataError, DisposedError, DTypeError, OptionError, ShapeError } from '../../lib/errors';
import { memoryStats } from '../../lib/device';
import { sphereConv2d, sphereLinear, type SphereOptions } from '../../lib/ops';
import { noGrad, ones, type Tensor, zeros } from '../../lib/tensor';
import { expectGradients } from '../support/gradcheck';
import { expectError, isZero, random, randomBetween } from '../support/tensors';

const options: [string, SphereOptions][] = [
  ['linear', { operator: 'linear' }],
  ['cosine', { operator: 'cosine' }],
  ['sigmoid', { operator: 'sigmoid', k: 0.3 }],
];

test.each(options)('gradients, %s', (_, sphere) => {
  const run = (x: Tensor, w: Tensor, bias?: Tensor) => sphereLinear(x, w, { ...sphere, bias });
  expectGradients(run, random([4, 5], 1), random([3, 5], 2));
  expectGradients(run, random([2, 17], 1), random([6, 17], 2), random([6], 3));
});

test.each([1, 3])('gradients, %d learned k', (count) => {
  const run = (x: Tensor, w: Tensor, k: Tensor) => sphereLinear(x, w, { k });
  expectGradients(run, random([4, 5], 1), random([3, 5], 2), randomBetween(0.2, 0.9, [count], 3));
});

test('is SphereConv whose filters are as large as the image', () => {
  const [x, w] = [random([3, 18], 1, 'f32'), random([4, 18], 2, 'f32')];
  const [images, filters] = [x.alias([3, 3, 3, 2]), w.alias([4, 3, 3, 2])];
  const expected = Array.from(sphereConv2d(images, filters).data());
  sphereLinear(x, w).data().forEach((value, i) => {
    expect(value).toBeCloseTo(expected[i], 6);
  });
});

test('a zero row has y = 0 and no gradient', () => {
  const [x, w] = [zeros([2, 3], { requiresGrad: true }), random([4, 3], 1, 'f32')];
  const y = sphereLinear(x, w);
  y.backward({ gradient: ones([2, 4]) });
  expect([y, x.grad!, w.grad!].map((found) => isZero(found.data()))).toEqual([true, true, true]);
});

test('off the tape, nothing but the result is left', () => {
  const [x, w] = [random([2, 3], 1, 'f32'), random([4, 3], 2, 'f32')];
  sphereLinear(x, w).dispose(); // What the device keeps for these filters is made once.
  const before = memoryStats().storages;
  const y = noGrad(() => sphereLinear(x, w));
  expect(memoryStats().storages).toBe(before + 1);
  x.requiresGrad = w.requiresGrad = false;
  const z = sphereLinear(x, w);
  z.dispose();
  y.dispose();
  expect(memoryStats().storages).toBe(before);
});

describe('errors', () => {
  const [x, w] = [random([2, 3], 1, 'f32'), random([4, 3], 2, 'f32')];
  const [image, wide, double, two] = [ones([1, 2, 2, 3]), ones([4, 5]), ones([4, 3], { dtype: 'f64' }), ones([2])];
  const gone = ones([4, 3]);
  gone.dispose();

  test.each<[string, () => Tensor, typeof DataError, string, RegExp]>([
    ['rank of x', () => sphereLinear(image, w), ShapeError, 'x', /x must have shape \[N, D\], but has \[1, 2, 2, 3\]/],
    ['rank of weight', () => sphereLinear(x, image), ShapeError, 'weight', /weight must have shape \[O, D\]/],
    ['features', () => sphereLinear(x, wide), ShapeError, 'x', /x has 3 features, but weight of shape \[4, 5\] takes 5/],
    ['bias', () => sphereLinear(x, w, { bias: two }), ShapeError, 'bias', /bias must have shape \[4\], but has \[2\]/],
    ['k', () => sphereLinear(x, w, { k: two }), ShapeError, 'k', /\[1\] or \[4\], but has \[2\]/],
    ['dtypes', () => sphereLinear(x, double), DTypeError, 'weight', /weight is f64 but x is f32/],
    ['disposed', () => sphereLinear(x, gone), DisposedError, 'weight', /weight of shape \[4, 3\]/],
    ['operator', () => sphereLinear(x, w, { operator: 'relu' as never }), OptionError, 'operator', /"relu"/],
    ['unknown option', () => sphereLinear(x, w, { stride: 1 } as never), OptionError, 'stride', /sphereLinear has no option/],
  ])('%s', (_, run, type, argument, message) => {
    expectError(run, type, argument, message);
  });
});
