// null where options belong: an error that says whose options are meant.
import { DataLoader, imageDataset, loadDataset, trainingLoader } from '../lib/data';
import { OptionError } from '../lib/errors';
import { ArcFaceLoss, createHead, createRegularizer, MheRegularizer, SoftmaxLoss } from '../lib/losses';
import { cnn9, createModel } from '../lib/models';
import { BatchNorm2d, Conv2d, Dropout, Linear, MaxPool2d, Residual, SphereConv2d, SphereNorm } from '../lib/nn';
import { Adam, ConstantSchedule, SGD } from '../lib/optim';
import { affine, conv2d, dropout, linear, matmul, maxPool2d, sphereConv2d, sphereLinear } from '../lib/ops';
import { histogram, lineChart } from '../lib/report';
import { ones } from '../lib/tensor';
import { Trainer } from '../lib/train';

const nothing = null as never;
const [x, w] = [ones([1, 4, 4, 2]), ones([2, 3, 3, 2])];
const [rows, matrix] = [ones([2, 2]), ones([2, 2])];
const dataset = imageDataset({
  name: 'one', images: new Uint8Array(12), labels: Int32Array.of(0), height: 2, width: 2, channels: 3, classes: ['a', 'b'],
});

test.each<[string, () => unknown]>([
  ['sphereConv2d', () => sphereConv2d(x, w, nothing)],
  ['conv2d', () => conv2d(x, w, nothing)],
  ['maxPool2d', () => maxPool2d(x, nothing)],
  ['affine', () => affine(x, nothing)],
  ['dropout', () => dropout(x, nothing)],
  ['linear', () => linear(rows, matrix, nothing)],
  ['sphereLinear', () => sphereLinear(rows, matrix, nothing)],
  ['matmul', () => matmul(rows, matrix, nothing)],
  ['Conv2d', () => new Conv2d(nothing)],
  ['SphereConv2d', () => new SphereConv2d(nothing)],
  ['Linear', () => new Linear(nothing)],
  ['BatchNorm2d', () => new BatchNorm2d(nothing)],
  ['SphereNorm', () => new SphereNorm(nothing)],
  ['MaxPool2d', () => new MaxPool2d(nothing)],
  ['Dropout', () => new Dropout(nothing)],
  ['Residual', () => new Residual(nothing)],
  ['SoftmaxLoss', () => new SoftmaxLoss(nothing)],
  ['ArcFaceLoss', () => new ArcFaceLoss(nothing)],
  ['MheRegularizer', () => new MheRegularizer(nothing)],
  ['createHead', () => createHead(nothing, { inFeatures: 2, classes: 2 })],
  ['createRegularizer', () => createRegularizer(nothing)],
  ['Adam', () => new Adam([], nothing)],
  ['SGD', () => new SGD([], nothing)],
  ['ConstantSchedule', () => new ConstantSchedule(nothing)],
  ['createModel', () => createModel(nothing)],
  ['classes', () => cnn9(nothing)],
  ['imageDataset', () => imageDataset(nothing)],
  ['DataLoader', () => new DataLoader(dataset, nothing)],
  ['augment', () => new DataLoader(dataset, { batchSize: 1, augment: nothing })],
  ['loadDataset', () => loadDataset('mnist', nothing)],
  ['trainingLoader', () => trainingLoader(dataset, nothing)],
  ['Trainer', () => new Trainer(nothing)],
  ['lineChart', () => lineChart(nothing)],
  ['histogram', () => histogram(nothing)],
])('%s', async (name, call) => {
  const error: unknown = await Promise.resolve().then(call).catch((raised: unknown) => raised);
  expect(error).toBeInstanceOf(OptionError);
  expect((error as OptionError).message).toContain(name);
});
