import { type DataError, DisposedError, DTypeError, OptionError, ShapeError } from '../../lib/errors';
import { add, batchNorm, type BatchNormOptions, relu as applyRelu } from '../../lib/ops';
import { type DType, noGrad, ones, type Tensor, tensor, zeros } from '../../lib/tensor';
import { expectGradients } from '../support/gradcheck';
import { type Inputs, type Params, testParity } from '../support/parity';
import { expectError, isFinite, random, randomBetween, relativeError } from '../support/tensors';

function normalize({ x, gamma, beta, running_mean, running_variance }: Inputs, params: Params): Inputs {
  for (const statistic of [running_mean, running_variance]) statistic.requiresGrad = false;
  const options = { gamma, beta, runningMean: running_mean, runningVariance: running_variance };
  const y = batchNorm(x, { ...options, ...(params as { training: boolean }) });
  if (!params['training']) return { y };
  return { y, running_mean_after: running_mean, running_variance_after: running_variance };
}

testParity('batch_norm.safetensors', normalize);

/** Statistics of their own for each call: training changes them. */
function statistics(channels: number, dtype: DType = 'f64') {
  const [mean, variance] = [random([channels], 5, dtype), randomBetween(0.5, 2, [channels], 6, dtype)];
  mean.requiresGrad = variance.requiresGrad = false;
  return { runningMean: mean, runningVariance: variance };
}

describe('gradients', () => {
  const modes = [
    { training: true, relu: false },
    { training: true, relu: true },
    { training: false, relu: false },
    { training: false, relu: true, eps: 0.1 },
  ];

  describe.each(modes)('%p', (mode) => {
    test.each([
      [[2, 3, 4, 1]],
      [[2, 3, 2, 3]],
      [[3, 2, 2, 5]],
      [[2, 2, 1, 17]],
      [[6, 3]],
    ])('x of %p', (shape) => {
      const channels = shape.at(-1)!;
      const run = (x: Tensor, gamma: Tensor, beta: Tensor) => batchNorm(x, { gamma, beta, ...mode, ...statistics(channels) });
      expectGradients(run, random(shape, 1), randomBetween(0.5, 2, [channels], 2), random([channels], 3));
    });
  });

  describe.each(modes)('with a residual, %p', (mode) => {
    test.each([[[2, 3, 2, 3]], [[3, 2, 2, 5]], [[2, 2, 1, 17]], [[6, 3]]])('x of %p', (shape) => {
      const channels = shape.at(-1)!;
      const run = (x: Tensor, gamma: Tensor, beta: Tensor, residual: Tensor) =>
        batchNorm(x, { gamma, beta, residual, ...mode, ...statistics(channels) });
      expectGradients(run, random(shape, 1), randomBetween(0.5, 2, [channels], 2), random([channels], 3), random(shape, 4));
    });
  });

  test('are finite for a constant channel', () => {
    const [x, gamma, beta] = [ones([2, 2, 2, 3], { requiresGrad: true }), ones([3], { requiresGrad: true }), zeros([3])];
    const y = batchNorm(x, { gamma, beta, ...statistics(3, 'f32'), training: true });
    y.backward({ gradient: random(y.shape, 1, 'f32') });
    expect([y, x.grad!, gamma.grad!].map(isFinite)).toEqual([true, true, true]);
    expect(y.data().every((value) => Math.abs(value) < 1e-3)).toBe(true);
  });
});

describe.each([true, false])('a residual, training %p', (training) => {
  const shape = [5, 9, 7, 24];
  const all = () => ({
    x: random(shape, 1, 'f32'), residual: random(shape, 2, 'f32'), gamma: randomBetween(0.5, 2, [24], 3, 'f32'), beta: random([24], 4, 'f32'),
  });

  test.each([true, false])('is added before the ReLU, in the numbers of three operators: relu %p', (relu) => {
    const run = (together: boolean) => {
      const { x, residual, gamma, beta } = all();
      const options = { gamma, beta, ...statistics(24, 'f32'), training };
      const sum = together ? batchNorm(x, { ...options, residual, relu }) : add(batchNorm(x, options), residual);
      const y = together || !relu ? sum : applyRelu(sum);
      y.keep().backward({ gradient: random(shape, 5, 'f32') });
      return [y, x.grad!, residual.grad!, gamma.grad!, beta.grad!];
    };
    const [one, other] = [run(true), run(false)];
    one.forEach((tensor, i) => { expect(relativeError(tensor.data(), other[i].data())).toBeLessThan(1e-5); });
  });

  test('that needs no gradient gets none', () => {
    const { x, residual, gamma, beta } = all();
    residual.requiresGrad = false;
    batchNorm(x, { gamma, beta, residual, relu: true, ...statistics(24, 'f32'), training }).backward({ gradient: random(shape, 5, 'f32') });
    expect([residual.grad, x.grad?.shape]).toEqual([null, shape]);
  });
});

describe('running statistics', () => {
  const x = () => tensor([[1], [3]], [2, 1], { dtype: 'f64' });
  const parameters = () => ({ gamma: ones([1], { dtype: 'f64' }), beta: zeros([1], { dtype: 'f64' }) });
  const running = () => ({ runningMean: tensor([10], [1], { dtype: 'f64' }), runningVariance: tensor([4], [1], { dtype: 'f64' }) });

  test.each([
    [0, 10, 4],
    [0.25, 8, 3.5],
    [1, 2, 2],
  ])('with momentum %p', (momentum, mean, variance) => {
    const statistic = running();
    batchNorm(x(), { ...parameters(), ...statistic, training: true, momentum });
    expect(statistic.runningMean.item()).toBeCloseTo(mean, 12);
    expect(statistic.runningVariance.item()).toBeCloseTo(variance, 12);
  });

  test('are what counts in evaluation, and stay as they are', () => {
    const statistic = running();
    const y = noGrad(() => batchNorm(x(), { ...parameters(), ...statistic, training: false, eps: 1e-12 }));
    expect(y.data()[0]).toBeCloseTo(-4.5, 9);
    expect([statistic.runningMean.item(), statistic.runningVariance.item()]).toEqual([10, 4]);
  });
});

describe('errors', () => {
  const x = random([2, 2, 2, 3], 1, 'f32');
  const options: BatchNormOptions = {
    gamma: ones([3]), beta: zeros([3]), runningMean: zeros([3]), runningVariance: ones([3]), training: true,
  };
  const [two, double, cube, single, integers] = [ones([2]), ones([3], { dtype: 'f64' }), ones([2, 2, 3]), ones([1, 1, 1, 3]), zeros([3], { dtype: 'i32' })];
  const gone = ones([3]);
  gone.dispose();
  const run = (changes: object, input = x) => () => batchNorm(input, { ...options, ...changes });

  test.each<[string, () => Tensor, typeof DataError, string, RegExp]>([
    ['rank', run({}, cube), ShapeError, 'x', /x must have shape \[N, C\] or \[N, H, W, C\], but has \[2, 2, 3\]/],
    ['one value a channel', run({}, single), ShapeError, 'x', /more than one value a channel.*\[1, 1, 1, 3\]/],
    ['gamma', run({ gamma: two }), ShapeError, 'gamma', /gamma must have shape \[3\], but has \[2\]/],
    ['dtype of beta', run({ beta: double }), DTypeError, 'beta', /beta is f64 but x is f32/],
    ['integers', run({ runningMean: integers }), DTypeError, 'runningMean', /runningMean must be f32 or f64, but is i32/],
    ['no variance', run({ runningVariance: undefined }), DTypeError, 'runningVariance', /must be a Tensor, but got undefined/],
    ['disposed', run({ gamma: gone }), DisposedError, 'gamma', /gamma of shape \[3\]/],
    ['residual', run({ residual: two }), ShapeError, 'residual', /residual must have shape \[2, 2, 2, 3\], but has \[2\]/],
    ['dtype of the residual', run({ residual: double }), DTypeError, 'residual', /residual is f64 but x is f32/],
    ['training', run({ training: undefined }), OptionError, 'training', /true or false, but got undefined/],
    ['relu', run({ relu: 'yes' }), OptionError, 'relu', /true or false, but got "yes"/],
    ['momentum', run({ momentum: 1.5 }), OptionError, 'momentum', /at least 0 and at most 1, but got 1.5/],
    ['eps', run({ eps: 0 }), OptionError, 'eps', /greater than 0, but got 0/],
    ['unknown option', run({ epsilon: 1 }), OptionError, 'epsilon', /batchNorm has no option "epsilon"/],
  ])('%s', (_, attempt, type, argument, message) => {
    expectError(attempt, type, argument, message);
    expect(Array.from(options.runningMean.data())).toEqual([0, 0, 0]);
  });
});
