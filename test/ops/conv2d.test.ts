import { type DataError, DeviceError, DisposedError, DTypeError, OptionError, ShapeError } from '../../lib/errors';
import { conv2d, type ConvOptions, reshape, sphereConv2d } from '../../lib/ops';
import { noGrad, type Tensor, zeros } from '../../lib/tensor';
import { expectGradients } from '../support/gradcheck';
import { testParity } from '../support/parity';
import { expectError, random, relativeError } from '../support/tensors';

testParity('conv2d.safetensors', ({ x, w, bias }, params) => ({ y: conv2d(x, w, { ...(params as ConvOptions), bias }) }));

describe('gradients', () => {
  test.each<[string, number[], number[], ConvOptions]>([
    ['3x3 with padding', [2, 4, 5, 3], [4, 3, 3, 3], { padding: 1 }],
    ['1x1', [2, 3, 3, 5], [3, 1, 1, 5], {}],
    ['one channel, 5x5, stride 2', [1, 7, 6, 1], [3, 5, 5, 1], { padding: 2, stride: 2 }],
    ['2x3, stride [1, 2], padding [0, 1]', [2, 4, 5, 2], [3, 2, 3, 2], { stride: [1, 2], padding: [0, 1] }],
    ['dilation [1, 2]', [1, 5, 7, 3], [2, 3, 3, 3], { dilation: [1, 2] }],
    ['two groups', [1, 5, 4, 6], [4, 3, 3, 3], { padding: 1, groups: 2 }],
    ['depthwise', [1, 4, 4, 5], [5, 3, 3, 1], { padding: 1, groups: 5 }],
    ['17 channels', [1, 3, 3, 17], [2, 3, 3, 17], {}],
  ])('%s', (_, image, filters, options) => {
    const bias = random([filters[0]], 3);
    expectGradients((x, w, b) => conv2d(x, w, { ...options, bias: b }), random(image, 1), random(filters, 2), bias);
    expectGradients((x, w) => conv2d(x, w, options), random(image, 1), random(filters, 2));
  });

  test('are made only for what requires one', () => {
    const [x, w, bias] = [random([1, 4, 4, 2], 1), random([3, 3, 3, 2], 2), random([3], 3)];
    x.requiresGrad = w.requiresGrad = false;
    conv2d(x, w, { bias }).backward({ gradient: random([1, 2, 2, 3], 4) });
    expect([x.grad, w.grad]).toEqual([null, null]);
    expect(bias.grad!.shape).toEqual([3]);
  });
});

// Enough channels and pixels for what is fastest: Winograd's algorithm on the cpu.
describe('of many channels', () => {
  test.each<[string, number[], number[], ConvOptions]>([
    ['3x3', [4, 16, 16, 32], [24, 3, 3, 32], { padding: 1 }],
    ['3x3, tiles over the edge', [10, 13, 11, 40], [36, 3, 3, 40], { padding: [0, 2] }],
    ['5x5', [2, 9, 9, 48], [40, 5, 5, 48], { padding: 2 }],
  ])('%s is in float32 what it is in float64', (_, image, filters, options) => {
    const results = (['f32', 'f64'] as const).map((dtype) => {
      const [x, w, bias] = [random(image, 1, dtype), random(filters, 2, dtype), random([filters[0]], 3, dtype)];
      const y = conv2d(x, w, { ...options, bias });
      y.backward({ gradient: random(y.shape, 4, dtype) });
      return [y, x.grad!, w.grad!, bias.grad!];
    });
    results[0].forEach((each, i) => { expect(relativeError(each.data(), results[1][i].data())).toBeLessThan(1e-5); });
  });

  test.each([conv2d, sphereConv2d])('%p does not mix up filters that share their memory in other shapes', (operator) => {
    const w = random([48, 3, 3, 32], 1, 'f32');
    const turned = reshape(w, [32, 3, 3, 48]);
    const convolve = (filters: Tensor) => operator(random([4, 16, 16, filters.shape[3]], 2, 'f32'), filters, { padding: 1 });
    const [first, second, again] = noGrad(() => [convolve(w), convolve(turned), convolve(w)]);
    expect(again.data()).toEqual(first.data());
    expect(second.data()).toEqual(noGrad(() => convolve(turned.clone())).data());
  });
});

describe('errors', () => {
  const x = random([1, 4, 4, 4], 1, 'f32');
  const w = random([2, 3, 3, 4], 2, 'f32');
  const flat = random([4, 4], 3, 'f32');
  const double = random([2, 3, 3, 4], 4);
  const labels = zeros([1, 4, 4, 4], { dtype: 'i32' });
  const noPixels = zeros([2, 0, 4, 4]);
  const twoBias = zeros([3]);
  const narrow = random([2, 3, 3, 3], 5, 'f32');
  const wide = random([2, 5, 3, 4], 5, 'f32');
  const gone = random([1, 4, 4, 4], 6, 'f32');
  gone.dispose();

  test.each<[string, () => Tensor, typeof DataError, string, RegExp]>([
    ['rank of x', () => conv2d(flat, w), ShapeError, 'x', /x must have shape \[N, H, W, C\], but has \[4, 4\]/],
    ['rank of weight', () => conv2d(x, flat), ShapeError, 'weight', /weight must have shape \[O, kH, kW, C/],
    ['no pixel', () => conv2d(noPixels, w), ShapeError, 'x', /must not be empty.*\[2, 0, 4, 4\]/],
    ['channels', () => conv2d(x, narrow), ShapeError, 'x', /x has 4 channels, but filters of shape \[2, 3, 3, 3\].*take 3/],
    ['window', () => conv2d(x, wide), ShapeError, 'x', /4x4 pixels.*smaller than the 5x3 filters/],
    ['dilated window', () => conv2d(x, w, { dilation: [1, 2] }), ShapeError, 'x', /smaller than the 3x3 filters, dilated/],
    ['bias', () => conv2d(x, w, { bias: twoBias }), ShapeError, 'bias', /bias must have shape \[2\], but has \[3\]/],
    ['integers', () => conv2d(labels, w), DTypeError, 'x', /x must be f32 or f64, but is i32/],
    ['mixed dtypes', () => conv2d(x, double), DTypeError, 'weight', /weight is f64 but x is f32/],
    ['no tensor', () => conv2d([1, 2] as never, w), DTypeError, 'x', /x must be a Tensor, but got \[1, 2\]/],
    ['groups', () => conv2d(x, w, { groups: 3 }), OptionError, 'groups', /must divide the 4 channels and the 2 filters, but is 3/],
    ['groups, fraction', () => conv2d(x, w, { groups: 0.5 }), OptionError, 'groups', /integer at least 1.*0.5/],
    ['stride', () => conv2d(x, w, { stride: 0 }), OptionError, 'stride', /stride must be an integer from 1 to \d+/],
    ['padding', () => conv2d(x, w, { padding: [0, -1] }), OptionError, 'padding', /from 0 to \d+.*\[0, -1\]/],
    ['dilation', () => conv2d(x, w, { dilation: [1, 1, 1] as never }), OptionError, 'dilation', /or two of them/],
    ['huge stride', () => conv2d(x, w, { stride: 2 ** 32 }), OptionError, 'stride', /4294967296/],
    ['an output beyond memory', () => conv2d(x, w, { padding: 1e6 }), DeviceError, 'memory', /out of memory/],
    ['unknown option', () => conv2d(x, w, { pad: 1 } as never), OptionError, 'pad', /conv2d has no option "pad"; it knows stride/],
    ['disposed x', () => conv2d(gone, w), DisposedError, 'x', /x of shape \[1, 4, 4, 4\] was used after its release/],
    ['disposed weight', () => conv2d(x, gone), DisposedError, 'weight', /weight of shape/],
    ['disposed bias', () => conv2d(x, w, { bias: gone }), DisposedError, 'bias', /bias of shape/],
  ])('%s', (_, run, type, argument, message) => {
    expectError(run, type, argument, message);
  });
});
