// Options that are numbers, but senseless ones: refused before any native integer overflows, any loop runs for hours or any
// memory is asked for.
import { DataLoader, imageDataset } from '../../lib/data';
import { DeviceError, OptionError } from '../../lib/errors';
import { ArcFaceLoss } from '../../lib/losses';
import { createModel } from '../../lib/models';
import { BatchNorm2d, Conv2d, Curvature, Linear, MaxPool2d, SphereConv2d, SphereNorm } from '../../lib/nn';
import { angularSoftmax, avgPool2d, conv2d, maxPool2d, sphereConv2d } from '../../lib/ops';
import { barChart, histogram, lineChart } from '../../lib/report';
import { ones, type Tensor, tensor, zeros } from '../../lib/tensor';
import { expectThrown } from '../nn/expectations';

const [most, step] = [2 ** 31 - 1, 2 ** 20];
const [x, w] = [ones([1, 4, 4, 3]), ones([2, 3, 3, 3])];
const labels = tensor(Int32Array.of(0, 1));
const angular = { inFeatures: 3, classes: 4 };

test.each<[string, () => unknown, typeof OptionError, string]>([
  ['a window of 2^31 - 1', () => maxPool2d(x, { kernelSize: most }), OptionError, 'kernelSize'],
  ['a window whose padding holds the image', () => maxPool2d(x, { kernelSize: most, padding: 2 ** 30 }), OptionError, 'kernelSize'],
  ['a window of more than 2^31 pixels', () => avgPool2d(x, { kernelSize: 46_341, padding: 23_170 }), OptionError, 'kernelSize'],
  ['the same as a layer', () => new MaxPool2d({ kernelSize: 46_341 }), OptionError, 'kernelSize'],
  ['padding of 2^30', () => maxPool2d(x, { kernelSize: [most, 1], padding: [2 ** 30, 0] }), OptionError, 'padding'],
  ['padding of a convolution', () => conv2d(x, w, { padding: 2 ** 30 }), OptionError, 'padding'],
  ['padding of a sphere convolution', () => sphereConv2d(x, w, { padding: 2 ** 30 }), OptionError, 'padding'],
  ['padding that makes an output too large', () => conv2d(x, w, { padding: 1e6 }), DeviceError, 'memory'],
  ['dilation', () => conv2d(x, w, { dilation: 2 ** 30, padding: 2 ** 20 }), OptionError, 'dilation'],
  ['filters that grow beyond 2^31', () => conv2d(x, ones([1, 2050, 1, 3]), { dilation: step, padding: 1 }), OptionError, 'dilation'],
  ['stride', () => conv2d(x, w, { stride: most }), OptionError, 'stride'],
  ['groups that would count as 1', () => conv2d(x, w, { groups: 2 ** 32 + 1 }), OptionError, 'groups'],
  ['groups of a layer', () => new Conv2d({ inChannels: 3, outChannels: 3, kernelSize: 1, groups: 2 ** 32 + 1 }), OptionError, 'groups'],
  ['channels', () => new SphereConv2d({ inChannels: 2 ** 32, outChannels: 1, kernelSize: 1 }), OptionError, 'inChannels'],
  ['features', () => new Linear({ inFeatures: 2 ** 31, outFeatures: 1 }), OptionError, 'inFeatures'],
  ['more weights than memory holds', () => new Linear({ inFeatures: 2 ** 30, outFeatures: 2 ** 30 }), DeviceError, 'memory'],
  ['channels of BatchNorm', () => new BatchNorm2d({ channels: 2 ** 31 }), OptionError, 'channels'],
  ['channels of SphereNorm', () => new SphereNorm({ channels: 2 ** 31 }), OptionError, 'channels'],
  ['curvatures', () => new Curvature({ size: 2 ** 31 }), OptionError, 'size'],
  ['classes', () => new ArcFaceLoss({ ...angular, classes: 2 ** 31 }), OptionError, 'classes'],
  ['a margin', () => angularSoftmax(ones([2, 3]), ones([4, 3]), labels, { operator: 'cosine', margin: 1e9 }), OptionError, 'margin'],
  ['widths', () => createModel({ network: 'resnet32', widths: [2 ** 53 - 1, 1, 1], classes: 4 }), OptionError, 'widths.0'],
  ['image size', () => createModel({ network: 'cnn', depth: 3, imageSize: 2 ** 30, classes: 4 }), DeviceError, 'memory'],
  ['more elements than memory holds', () => zeros([1e12]), DeviceError, 'memory'],
  ['extents whose product is no exact number', () => zeros([2 ** 52, 2 ** 52]), DeviceError, 'memory'],
  ['the same beside an extent of 0', () => zeros([2 ** 52, 2 ** 52, 0]), DeviceError, 'memory'],
])('%s', (_, run, type, argument) => {
  expectThrown(run, type, argument, /./);
});

test('the largest steps and paddings', () => {
  const ofZeros = (y: Tensor) => y.data().every((value) => value === 0);
  expect([...conv2d(x, w, { stride: step }).data()]).toEqual([27, 27]);
  // Of three by three windows only the one in the middle is on the image.
  const middle = (y: Tensor) => [...y.data()].flatMap((value, at) => (value === 0 ? [] : [[at, Math.round(value)]]));
  expect(middle(conv2d(x, w, { padding: step, stride: step }))).toEqual([[8, 27], [9, 27]]);
  expect(middle(sphereConv2d(x, w, { padding: step, stride: step }))).toEqual([[8, 1], [9, 1]]);
  expect(ofZeros(conv2d(x, w, { dilation: 1e6, padding: 1e6 + 2, stride: step }))).toBe(true);
  expect(maxPool2d(x, { kernelSize: 1, stride: step }).toArray()).toEqual([[[[1, 1, 1]]]]);
  const [y] = avgPool2d(x, { kernelSize: [46_340, 46_340], padding: 23_169, stride: step }).data();
  expect(y * 46_340 ** 2).toBeCloseTo(16, 4);
});

describe('loaders', () => {
  const dataset = imageDataset({
    name: 'tiny', images: new Uint8Array(4 * 12), labels: new Int32Array(4), height: 2, width: 2, channels: 3, classes: ['a', 'b'],
  });

  test.each<[string, object, typeof OptionError, string]>([
    ['crop', { augment: { crop: 2 ** 30, padding: 2 ** 29 } }, DeviceError, 'memory'],
    ['padding', { augment: { padding: 2 ** 30 } }, OptionError, 'augment.padding'],
    ['batches in advance', { prefetch: 2 ** 53 - 1 }, OptionError, 'prefetch'],
  ])('%s', (_, options, type, argument) => {
    expectThrown(() => new DataLoader(dataset, { batchSize: 2, ...options }), type, argument, /./);
  });

  test('the last iteration that numbers tell from the next', async () => {
    const loader = new DataLoader(dataset, { batchSize: 2 });
    await expect(loader.batch(2 ** 53 - 1)).rejects.toThrow(OptionError);
    expect((await loader.batch(2 ** 52)).labels.shape).toEqual([2]);
    loader.close();
  });
});

test.each<[string, () => Promise<string>, string]>([
  ['bins', () => histogram({ title: 'a', xLabel: 'x', bins: 1e9, series: [{ name: 'a', values: [1, 2] }] }), 'bins'],
  ['width', () => lineChart({ title: 'a', xLabel: 'x', yLabel: 'y', width: 1e9, series: [{ name: 'a', points: [[0, 1]] }] }), 'width'],
  ['height', () => barChart({ title: 'a', yLabel: 'y', height: 1e9, groups: [{ name: 'a', bars: [{ name: 'b', value: 1 }] }] }), 'height'],
])('a chart of a billion %s', async (_, run, argument) => {
  await expect(run()).rejects.toMatchObject({ name: 'OptionError', argument });
});
