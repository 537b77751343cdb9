// A tensor that was changed in place between forward and backward: its gradient would be wrong without an error.
import { OptionError } from '../lib/errors';
import { BatchNorm2d, Conv2d, Linear, Sequential, SphereConv2d, SphereLinear } from '../lib/nn';
import {
  add, affine, angularSoftmax, avgPool2d, batchNorm, concat, conv2d, dropout, flatten, linear, matmul, maxPool2d, positive, relu, scale,
  softmaxCrossEntropy, sphereConv2d, sum,
} from '../lib/ops';
import { SGD } from '../lib/optim';
import { ones, type Tensor, tensor, zeros } from '../lib/tensor';
import { expectThrown } from './nn/expectations';
import { testDevice } from './support/device';
import { random } from './support/tensors';

const [images, rows] = [[2, 4, 4, 3], [2, 3]];
const labels = tensor(Int32Array.of(0, 1));
const leaf = (shape: readonly number[], seed = 1): Tensor => {
  const made = random(shape, seed, 'f32');
  made.requiresGrad = true;
  return made;
};
const overwrite = (each: Tensor) => each.assign(zeros(each.shape));
const normOptions = () => ({ gamma: leaf([3]), beta: leaf([3], 2), runningMean: zeros([3]), runningVariance: ones([3]) });

type Case = [argument: string, operator: string, run: (a: Tensor, b: Tensor) => Tensor, a: Tensor, b: Tensor, changed: 'a' | 'b'];
const filters = leaf([5, 2, 2, 3], 3);
const cases: Case[] = [
  ['x', 'conv2d', (x, w) => conv2d(x, w), leaf(images), filters, 'a'],
  ['weight', 'conv2d', (x, w) => conv2d(x, w), leaf(images), filters, 'b'],
  ['x', 'sphereConv2d', (x, w) => sphereConv2d(x, w), leaf(images), filters, 'a'],
  ['weight', 'sphereConv2d', (x, w) => sphereConv2d(x, w), leaf(images), filters, 'b'],
  ['k', 'sphereConv2d', (x, k) => sphereConv2d(x, filters, { k }), leaf(images), ones([5], { requiresGrad: true }), 'b'],
  ['weight', 'linear', (x, w) => linear(x, w), leaf(rows), leaf([4, 3]), 'b'],
  ['b', 'matmul', (a, b) => matmul(a, b), leaf(rows), leaf([3, 2]), 'b'],
  ['scale', 'affine', (x, s) => affine(x, { scale: s }), leaf(rows), leaf([3]), 'b'],
  ['p', 'positive', (p) => positive(p, 'softplus'), leaf([3]), labels, 'a'],
  ['weight', 'angularSoftmax', (x, w) => angularSoftmax(x, w, labels).loss, leaf(rows), leaf([4, 3]), 'b'],
  ['x', 'batchNorm', (x) => batchNorm(x, { ...normOptions(), training: true }), leaf(images), labels, 'a'],
  ['gamma', 'batchNorm', (x, gamma) => batchNorm(x, { ...normOptions(), gamma, training: true }), leaf(images), leaf([3]), 'b'],
  ['residual', 'batchNorm', (x, residual) => batchNorm(x, { ...normOptions(), residual, relu: true, training: true }), leaf(images), leaf(images, 2), 'b'],
  ['runningMean', 'batchNorm', (x, runningMean) => batchNorm(x, { ...normOptions(), runningMean, training: false }), leaf(images), zeros([3]), 'b'],
];

test.each(cases)('%s of %s', (argument, operator, run, a, b, which) => {
  const changed = which === 'a' ? a : b;
  const y = sum(run(a, b));
  overwrite(changed);
  expectThrown(() => { y.backward(); }, OptionError, argument, new RegExp(`^${argument} of ${operator}, of shape .* was changed in place after the forward`));
  expect([a.grad, b.grad]).toEqual([null, null]);
});

test('the output of an operator that needs it', () => {
  const x = leaf(rows);
  const y = relu(x);
  const loss = sum(y);
  overwrite(y);
  expectThrown(() => { loss.backward(); }, OptionError, 'y', /^y of relu/);
});

test('an alias, a fill by an initialiser, a step and a move count as changes', () => {
  const x = leaf(rows);
  const changes: ((w: Tensor) => void)[] = [
    (w) => overwrite(w.detach()),
    (w) => w.fill(1),
    (w) => { w.grad = ones(w.shape); new SGD([w], { learningRate: 1 }).step(); },
    (w) => { w.adopt(w.clone()); },
  ];
  for (const change of changes) {
    const w = leaf([4, 3]);
    const loss = sum(linear(x, w));
    change(w);
    expect(() => { loss.backward(); }).toThrow(/^weight of linear/);
  }
});

test('what no gradient needs may change', () => {
  const [x, w, bias] = [leaf(images), leaf([5, 1, 1, 3]), leaf([5])];
  const values = [
    conv2d(x, w, { bias }), maxPool2d(x, { kernelSize: 2 }), avgPool2d(x, { kernelSize: 2 }), flatten(x), scale(x, 2),
    add(x, x), concat([x, x]), dropout(x, { probability: 0.5, seed: 1 }),
  ];
  const losses = values.map((each) => sum(each));
  overwrite(bias);
  losses[0].backward();
  overwrite(x);
  for (const loss of losses.slice(1)) loss.backward();
  // A frozen weight's layer needs the weight, not its input.
  w.requiresGrad = false;
  const y = sum(conv2d(x, w));
  overwrite(x);
  y.backward();
  const logits = leaf(rows);
  const loss = softmaxCrossEntropy(logits, labels);
  overwrite(logits);
  loss.backward();
});

test('plain training goes on: steps after backward, statistics in training, a layer used twice', () => {
  const shared = new Linear({ inFeatures: 3, outFeatures: 3 });
  const features = new Sequential([
    new Conv2d({ inChannels: 3, outChannels: 3, kernelSize: 3, padding: 1 }), new BatchNorm2d({ channels: 3, relu: true }),
    new SphereConv2d({ inChannels: 3, outChannels: 3, kernelSize: 4, learnable: 'layer' }), new BatchNorm2d({ channels: 3 }),
  ]);
  const last = new SphereLinear({ inFeatures: 3, outFeatures: 4 });
  const parameters = [features, shared, last].flatMap((each) => each.parameters());
  const optimizer = new SGD(parameters, { learningRate: 0.1 });
  for (let step = 0; step < 3; step++) {
    const x = features.forward(random(images, step, 'f32').to(testDevice));
    const y = shared.forward(relu(shared.forward(flatten(x))));
    optimizer.zeroGrad();
    softmaxCrossEntropy(last.forward(y), labels).backward();
    optimizer.step();
  }
  expect(parameters.every(({ grad }) => grad !== null)).toBe(true);
});
