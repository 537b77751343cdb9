// Every operator with an extent of 0: a right result, or a typed error that names the argument. As in PyTorch, a batch of
// nothing goes through what has no mean over it, and nothing goes through without channels.
import { memoryStats } from '../../lib/device';
import { ShapeError, SphereNetError } from '../../lib/errors';
import * as ops from '../../lib/ops';
import { Adam, gradientNorm, SGD } from '../../lib/optim';
import { full, ones, type Shape, type Tensor, tensor, zeros } from '../../lib/tensor';
import { random } from '../support/tensors';

const { floor } = Math;
const labels = (count: number): Tensor => tensor(new Int32Array(count), [count]);
const channels = (x: Tensor): number => x.shape.at(-1) ?? 0;
const norm = (x: Tensor, training: boolean): ops.BatchNormOptions => ({
  gamma: ones([channels(x)]), beta: zeros([channels(x)]), runningMean: zeros([channels(x)]), runningVariance: ones([channels(x)]), training,
});

const leaf = (...shape: number[]) => full(shape, 1, { requiresGrad: true });

type Run = (x: Tensor) => Tensor;
const ofImages: Record<string, Run> = {
  conv2d: (x) => ops.conv2d(x, leaf(5, 2, 2, channels(x)), { bias: leaf(5), padding: 1 }),
  sphereConv2d: (x) => ops.sphereConv2d(x, leaf(5, 2, 2, channels(x)), { k: leaf(5) }),
  maxPool2d: (x) => ops.maxPool2d(x, { kernelSize: 2 }),
  avgPool2d: (x) => ops.avgPool2d(x, { kernelSize: 2, padding: 1, countPadding: false }),
  globalAvgPool2d: (x) => ops.globalAvgPool2d(x),
  batchNorm: (x) => ops.batchNorm(x, { ...norm(x, false), relu: true }),
  affine: (x) => ops.affine(x, { scale: full([channels(x)], 2, { requiresGrad: true }) }),
  relu: (x) => ops.relu(x),
  add: (x) => ops.add(x, x),
  scale: (x) => ops.scale(x, 2),
  positive: (x) => ops.positive(x, 'softplus'),
  dropout: (x) => ops.dropout(x, { probability: 0.5, seed: 1 }),
  concat: (x) => ops.concat([x, x]),
  flatten: (x) => ops.flatten(x),
};
const ofRows: Record<string, Run> = {
  linear: (x) => ops.linear(x, full([5, channels(x)], 1, { requiresGrad: true }), { bias: full([5], 1, { requiresGrad: true }) }),
  sphereLinear: (x) => ops.sphereLinear(x, full([5, channels(x)], 1, { requiresGrad: true })),
  batchNorm: (x) => ops.batchNorm(x, norm(x, false)),
  affine: (x) => ops.affine(x, { shift: full([channels(x)], 2, { requiresGrad: true }) }),
  angularLogits: (x) => ops.angularLogits(x, ones([5, channels(x)])),
};
/** What has no result without elements. */
const means: Record<string, Run> = {
  batchNorm: (x) => ops.batchNorm(x, norm(x, true)),
  softmaxCrossEntropy: (x) => ops.softmaxCrossEntropy(x, labels(x.shape[0])),
  multiMargin: (x) => ops.multiMargin(x, labels(x.shape[0])),
  angularSoftmax: (x) => ops.angularSoftmax(x, ones([5, channels(x)]), labels(x.shape[0])).loss,
  orthogonality: (x) => ops.orthogonality(x),
  hypersphericalEnergy: (x) => ops.hypersphericalEnergy(x),
  minimalAngle: (x) => ops.minimalAngle(x),
  matmul: (x) => ops.matmul(x, ones([channels(x), 3])),
};
/** Of the result for a batch of n. */
const batchOf = (result: Tensor): number => result.shape[0];

describe.each([['images', ofImages, [0, 4, 4, 3]], ['rows', ofRows, [0, 3]]] as [string, Record<string, Run>, Shape][])(
  'a batch of no %s', (_, runs, shape) => {
    test.each(Object.entries(runs))('%s', (name, run) => {
      const x = zeros(shape, { requiresGrad: true });
      const y = run(x);
      const one = run(random([1, ...shape.slice(1)], 1, 'f32'));
      expect([batchOf(y), y.shape.slice(1)]).toEqual([0, one.shape.slice(1)]);
      expect([...y.data()]).toEqual([]);
      if (name !== 'angularLogits') ops.sum(y).backward();
      if (name !== 'angularLogits') expect(x.grad!.shape).toEqual(shape);
    });
  },
);

test('gradients of a batch of nothing are zero', () => {
  const [weight, bias, k] = [full([2, 1, 1, 3], 1), full([2], 1), full([2], 1)];
  for (const each of [weight, bias, k]) each.requiresGrad = true;
  const x = zeros([0, 2, 2, 3]);
  ops.sum(ops.add(ops.conv2d(x, weight, { bias }), ops.sphereConv2d(x, weight, { k, bias }))).backward();
  for (const each of [weight, bias, k]) expect(each.grad!.data().every((value) => value === 0)).toBe(true);
});

test('a right result, or an error that names the argument, wherever an extent is 0', () => {
  const all = [...Object.entries(ofImages), ...Object.entries(ofRows), ...Object.entries(means)];
  const shapes = [[0], [0, 0], [2, 0], [0, 3], [0, 4, 4, 3], [2, 0, 4, 3], [2, 4, 0, 3], [2, 4, 4, 0], [0, 0, 0, 0]];
  for (const [name, run] of all) {
    for (const shape of shapes) {
      const x = zeros(shape, { requiresGrad: true });
      const before = memoryStats().storages;
      try {
        const y = run(x);
        expect([name, shape, y.data().every(Number.isFinite)]).toEqual([name, shape, true]);
        if (y.node) ops.sum(y).backward();
      } catch (error) {
        expect([name, shape, error]).toEqual([name, shape, expect.any(SphereNetError) as unknown]);
        expect((error as SphereNetError).message).toMatch((error as SphereNetError).argument.split('.')[0]);
        expect(memoryStats().storages).toBeGreaterThanOrEqual(before);
      }
    }
  }
});

test.each(Object.entries(means))('%s of nothing is refused', (_, run) => {
  expect(() => run(zeros([0, 3]))).toThrow(ShapeError);
});

test('concat takes tensors without channels', () => {
  const some = random([2, 3], 1, 'f32');
  const none = zeros([2, 0], { requiresGrad: true });
  expect(ops.concat([zeros([2, 0]), zeros([2, 0])]).shape).toEqual([2, 0]);
  const joined = ops.concat([none, some]);
  expect([...joined.data()]).toEqual([...some.data()]);
  ops.sum(joined).backward();
  expect(none.grad!.shape).toEqual([2, 0]);
});

test('sums, counts, norms and steps of nothing', () => {
  expect(ops.sum(zeros([2, 0])).item()).toBe(0);
  expect(ops.countCorrect(zeros([0, 3]), labels(0))).toBe(0);
  expect(() => ops.countCorrect(zeros([2, 0]), labels(2))).toThrow(ShapeError);
  const parameters = [zeros([0, 3], { requiresGrad: true }), full([2], 1, { requiresGrad: true })];
  for (const each of parameters) each.grad = full(each.shape, 3);
  expect(gradientNorm(parameters)).toBeCloseTo(3 * Math.SQRT2, 5);
  expect(gradientNorm(parameters.slice(0, 1))).toBe(0);
  new SGD(parameters, { learningRate: 1 }).step();
  new Adam(parameters.slice(0, 1)).step();
  expect([...parameters[1].data()].map(floor)).toEqual([-2, -2]);
});
