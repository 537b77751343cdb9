import { OptionError } from '../../lib/errors';
import { layer, layerCase, layerLists, layersOf, outputSize } from '../../lib/bench/layerShapes';
import { convolutionCost, ratesOf, stepCost } from '../../lib/bench/cost';
import { cnn9 } from '../../lib/models';

test('a case names stride and padding only where they are not the usual ones', () => {
  expect(layerCase(layer(64, 64, 32), 128)).toBe('conv3x3 64->64 32x32 b128');
  expect(layerCase(layer(64, 128, 56, { kernel: 1, stride: 2 }), 8)).toBe('conv1x1 64->128 56x56 s2 b8');
  expect(layerCase(layer(128, 256, 4, { kernel: 4, padding: 0 }), 8)).toBe('conv4x4 128->256 4x4 p0 b8');
});

describe('the layers of a network', () => {
  test.each(layerLists)('%s: begin with three channels, each shape once, and fit together', (list) => {
    const layers = layersOf(list);
    expect(layers[0].channels).toBe(3);
    expect(new Set(layers.map((each) => layerCase(each, 1))).size).toBe(layers.length);
    for (const each of layers) expect(outputSize(each)).toBeGreaterThanOrEqual(1);
  });

  test('of ResNet-18 halve the images with 3×3 filters and 1×1 shortcuts of stride 2', () => {
    const strided = layersOf('resnet18').filter(({ stride }) => stride === 2);
    expect(strided.map((each) => [each.channels, each.filters, each.kernel, each.size, outputSize(each)])).toEqual([
      [3, 64, 7, 224, 112],
      [64, 128, 3, 56, 28], [64, 128, 1, 56, 28],
      [128, 256, 3, 28, 14], [128, 256, 1, 28, 14],
      [256, 512, 3, 14, 7], [256, 512, 1, 14, 7],
    ]);
  });

  test('take other widths, as many as there are stages', () => {
    expect(layersOf('cnn9', [16, 32, 48]).map(({ filters }) => filters)).toEqual([16, 16, 32, 32, 48, 48, 256]);
    expect(() => layersOf('resnet18', [16, 32, 48])).toThrow(OptionError);
  });
});

test('the cost of a convolution: two a multiply-add, twice as many backward; every operand read or written once', () => {
  // Two images, 4×4 outputs of 5 filters with 3·3·3 weights.
  const cost = convolutionCost(layer(3, 5, 8, { stride: 2 }), 2);
  const [x, w, y] = [2 * 64 * 3, 5 * 27, 2 * 16 * 5];
  expect(cost).toEqual({
    forward: { flops: 2 * y * 27, bytes: 4 * (x + w + y) },
    backward: { flops: 4 * y * 27, bytes: 4 * (2 * x + 2 * w + y) },
    both: { flops: 6 * y * 27, bytes: 4 * (3 * x + 3 * w + 2 * y) },
  });
});

test('the cost of a step is that of all its layers, the first without the gradient of images', () => {
  using model = cnn9({ widths: [4, 4, 4], classes: 10, features: 8 });
  const first = 1024 * 27 * 4;
  const others = 2 * 1024 * 36 * 4 + 3 * 256 * 36 * 4 + 3 * 64 * 36 * 4 + 16 * 4 * 8 + 8 * 10;
  expect(stepCost(model, [32, 32, 3], 2).step).toEqual({ flops: 2 * 2 * (2 * first + 3 * others), bytes: null });
});

test('the share of the roof is that of the resource which is nearer to its limit', () => {
  const roof = { device: 'cpu', precision: 'fp32', gflops: 100, gbps: 10 } as const;
  expect(ratesOf({ flops: 50e6, bytes: 1e6 }, 1, roof)).toEqual({ gflops: 50, gbps: 1, roofShare: 0.5 });
  expect(ratesOf({ flops: 50e6, bytes: 8e6 }, 1, roof)).toEqual({ gflops: 50, gbps: 8, roofShare: 0.8 });
  expect(ratesOf({ flops: 50e6, bytes: null }, 1, roof)).toEqual({ gflops: 50, roofShare: 0.5 });
  expect(ratesOf({ flops: 50e6, bytes: null }, 1, undefined)).toEqual({ gflops: 50 });
  expect(ratesOf(undefined, 1, roof)).toEqual({});
});
