import { type DataError, DisposedError, DTypeError, OptionError, ShapeError } from '../../lib/errors';
import { memoryStats } from '../../lib/device';
import { avgPool2d, globalAvgPool2d, maxPool2d, type PoolOptions, sum } from '../../lib/ops';
import { noGrad, ones, type Tensor, tensor, zeros } from '../../lib/tensor';
import { expectGradients } from '../support/gradcheck';
import { type Params, testParity } from '../support/parity';
import { expectError, random } from '../support/tensors';

function pool(x: Tensor, { kind, kernel, stride, padding, countIncludePad }: Params): Tensor {
  if (kind === 'globalAverage') return globalAvgPool2d(x);
  const window = { kernelSize: kernel, stride, padding } as PoolOptions;
  return kind === 'max' ? maxPool2d(x, window) : avgPool2d(x, { ...window, countPadding: countIncludePad as boolean });
}

testParity('pooling.safetensors', ({ x }, params) => ({ y: pool(x, params) }));

describe('gradients', () => {
  const windows: [string, number[], PoolOptions][] = [
    ['2x2', [2, 4, 4, 3], { kernelSize: 2 }],
    ['3x3, stride 2, padding 1', [1, 7, 6, 5], { kernelSize: 3, stride: 2, padding: 1 }],
    ['[2, 3], stride [1, 2], padding [0, 1]', [2, 5, 7, 1], { kernelSize: [2, 3], stride: [1, 2], padding: [0, 1] }],
    ['3x3, stride 1: windows overlap', [1, 5, 5, 17], { kernelSize: 3, stride: 1 }],
    ['1x1, stride 2: pixels are left out', [1, 5, 4, 3], { kernelSize: 1, stride: 2 }],
  ];

  test.each(windows)('%s', (_, shape, options) => {
    expectGradients((x) => maxPool2d(x, options), random(shape, 1));
    expectGradients((x) => avgPool2d(x, options), random(shape, 2));
    expectGradients((x) => avgPool2d(x, { ...options, countPadding: false }), random(shape, 3));
  });

  test.each([1, 3, 5, 17])('of the global mean of %d channels', (channels) => {
    expectGradients(globalAvgPool2d, random([2, 3, 4, channels], 1));
  });

  test('of equal pixels the first takes the gradient', () => {
    const x = ones([1, 2, 2, 1], { requiresGrad: true });
    maxPool2d(x, { kernelSize: 2 }).backward();
    expect(Array.from(x.grad!.data())).toEqual([1, 0, 0, 0]);
  });

  test('a window of more than 256 pixels', () => {
    const x = random([1, 18, 18, 2], 1);
    const y = maxPool2d(x, { kernelSize: 17, stride: 1 });
    y.backward({ gradient: ones(y.shape, { dtype: 'f64' }) });
    const [values, gradient] = [x.data(), x.grad!.data()];
    expect(sum(x.grad!).item()).toBe(y.size);
    y.data().forEach((value) => {
      expect(gradient[values.indexOf(value)]).toBeGreaterThan(0);
    });
  });
});

test.each(['f32', 'f64'] as const)('padding in %s: never the maximum, counted in the mean or not', (dtype) => {
  const x = tensor([-1, -2, -3, -4], [1, 2, 2, 1], { dtype });
  const options = { kernelSize: 2, stride: 2, padding: 1 };
  expect(Array.from(maxPool2d(x, options).data())).toEqual([-1, -2, -3, -4]);
  expect(Array.from(avgPool2d(x, { ...options, countPadding: false }).data())).toEqual([-1, -2, -3, -4]);
  expect(Array.from(avgPool2d(x, options).data())).toEqual([-0.25, -0.5, -0.75, -1]);
});

test('stride is the kernel by default, and a rim that no window fits is left out', () => {
  expect(maxPool2d(zeros([1, 7, 8, 1]), { kernelSize: [3, 2] }).shape).toEqual([1, 2, 4, 1]);
});

test('off the tape, nothing but the result is left', () => {
  const x = random([1, 4, 4, 2], 1, 'f32');
  const before = memoryStats().storages;
  noGrad(() => maxPool2d(x, { kernelSize: 2 }));
  expect(memoryStats().storages).toBe(before + 1);
});

describe('errors', () => {
  const x = random([1, 4, 4, 2], 1, 'f32');
  const [flat, integers, gone] = [ones([4, 4]), zeros([1, 4, 4, 2], { dtype: 'i32' }), ones([1, 4, 4, 2])];
  gone.dispose();

  describe.each([['maxPool2d', maxPool2d], ['avgPool2d', avgPool2d]])('%s', (name, pooling) => {
    test.each<[string, () => Tensor, typeof DataError, string, RegExp]>([
      ['rank', () => pooling(flat, { kernelSize: 2 }), ShapeError, 'x', /x must have shape \[N, H, W, C\], but has \[4, 4\]/],
      ['window', () => pooling(x, { kernelSize: [2, 5] }), ShapeError, 'x', /x of 4x4 pixels.*smaller than the 2x5 window/],
      ['integers', () => pooling(integers, { kernelSize: 2 }), DTypeError, 'x', /x must be f32 or f64, but is i32/],
      ['no window', () => pooling(x, {} as never), OptionError, 'kernelSize', /from 1 to \d+.*got undefined/],
      ['stride', () => pooling(x, { kernelSize: 2, stride: 0 }), OptionError, 'stride', /from 1 to \d+.*got 0/],
      ['padding', () => pooling(x, { kernelSize: [3, 2], padding: 2 }), OptionError, 'padding', /less than kernelSize \(3x2\), but is 2x2/],
      ['negative padding', () => pooling(x, { kernelSize: 2, padding: -1 }), OptionError, 'padding', /from 0 to \d+.*got -1/],
      ['disposed', () => pooling(gone, { kernelSize: 2 }), DisposedError, 'x', /x of shape \[1, 4, 4, 2\]/],
      ['unknown option', () => pooling(x, { kernelSize: 2, size: 2 } as never), OptionError, 'size', new RegExp(`${name} has no option`)],
    ])('%s', (_, run, type, argument, message) => {
      expectError(run, type, argument, message);
    });
  });

  test('globalAvgPool2d and countPadding', () => {
    expectError(() => globalAvgPool2d(flat), ShapeError, 'x', /\[N, H, W, C\]/);
    expectError(() => globalAvgPool2d(integers), DTypeError, 'x', /i32/);
    expectError(() => avgPool2d(x, { kernelSize: 2, countPadding: 0 as never }), OptionError, 'countPadding', /true or false/);
  });
});
