import { OptionError } from '../../lib/errors';
import {
  AvgPool2d, BatchNorm2d, Conv2d, Curvature, Dropout, Flatten, GlobalAvgPool2d, Linear, MaxPool2d, type Module, ReLU, SphereConv2d,
  SphereLinear, SphereNorm,
} from '../../lib/nn';
import { batchNorm, conv2d, linear, officialNormGuard, relu, sphereConv2d, sphereLinear } from '../../lib/ops';
import { Generator, manualSeed } from '../../lib/random';
import { full, noGrad, ones, type Tensor, tensor, zeros } from '../../lib/tensor';
import { random, relativeError } from '../support/tensors';
import { expectThrown } from './expectations';

const conv = { inChannels: 4, outChannels: 6, kernelSize: 3 };

function parameterNames(module: Module): string[] {
  return module.namedParameters().map(([name]) => name);
}

describe('convolutions', () => {
  const x = random([2, 7, 6, 4], 1, 'f32');
  const geometry = { stride: 2, padding: [1, 2], dilation: 2, groups: 2 } as const;

  test('compute their operators, options included', () => {
    const plain = new Conv2d({ ...conv, ...geometry });
    plain.bias!.assign(random([6], 2, 'f32'));
    expect(plain.weight.shape).toEqual([6, 3, 3, 2]);
    expect(plain.forward(x).data()).toEqual(conv2d(x, plain.weight, { ...geometry, bias: plain.bias }).data());
    const sphere = new SphereConv2d({ ...conv, ...geometry, k: 0.7, normGuard: officialNormGuard, bias: true });
    sphere.bias!.assign(random([6], 2, 'f32'));
    const expected = sphereConv2d(x, sphere.weight, { ...geometry, k: 0.7, normGuard: officialNormGuard, bias: sphere.bias });
    expect(sphere.forward(x).data()).toEqual(expected.data());
  });

  test.each([[{}, 0.3], [{ operator: 'linear' }, undefined], [{ operator: 'cosine' }, undefined], [{ k: 2 }, 2]] as const)(
    'SphereConv2d with %j',
    (options, k) => {
      const layer = new SphereConv2d({ ...conv, ...options });
      const operator = 'operator' in options ? options.operator : 'sigmoid';
      expect(layer.forward(x).data()).toEqual(sphereConv2d(x, layer.weight, { operator, k }).data());
      expect(parameterNames(layer)).toEqual(['weight']);
    },
  );

  test('only plain ones have a bias by default', () => {
    expect(parameterNames(new Conv2d(conv))).toEqual(['weight', 'bias']);
    expect(parameterNames(new Conv2d({ ...conv, bias: false }))).toEqual(['weight']);
    expect(parameterNames(new Linear({ inFeatures: 1, outFeatures: 1 }))).toEqual(['weight', 'bias']);
    expect(parameterNames(new SphereLinear({ inFeatures: 1, outFeatures: 1 }))).toEqual(['weight']);
  });

  test('twins start from the same filters, drawn from the given or the default generator', () => {
    const given = (seed: number) => ({ ...conv, generator: new Generator(seed) });
    const [plain, sphere] = [new Conv2d(given(3)), new SphereConv2d({ ...given(3), learnable: 'filter' })];
    expect(sphere.weight.data()).toEqual(plain.weight.data());
    expect(new Conv2d(given(4)).weight.data()).not.toEqual(plain.weight.data());
    manualSeed(3);
    expect(new Conv2d(conv).weight.data()).toEqual(plain.weight.data());
  });

  test('filters come from N(0, 2 / (kH kW C))', () => {
    const values = new Conv2d({ inChannels: 32, outChannels: 64, kernelSize: 3 }).weight.data() as Float32Array;
    const variance = values.reduce((total, value) => total + value ** 2, 0) / values.length;
    expect(variance / (2 / (9 * 32))).toBeCloseTo(1, 1);
  });
});

test('fully connected layers compute their operators', () => {
  const x = random([5, 4], 1, 'f32');
  const plain = new Linear({ inFeatures: 4, outFeatures: 3 });
  plain.bias!.assign(random([3], 2, 'f32'));
  expect(plain.forward(x).data()).toEqual(linear(x, plain.weight, { bias: plain.bias }).data());
  const sphere = new SphereLinear({ inFeatures: 4, outFeatures: 3, operator: 'linear' });
  expect(sphere.forward(x).data()).toEqual(sphereLinear(x, sphere.weight, { operator: 'linear' }).data());
});

describe('learned k', () => {
  const x = random([2, 6, 6, 3], 1, 'f32');
  const options = { inChannels: 3, outChannels: 4, kernelSize: 3, generator: new Generator(1) };

  test.each([
    ['layer', 1, 'softplus', undefined, 0.5],
    ['filter', 4, 'softplus', 1.5, 1.5],
    ['layer', 1, 'absolute', 0.7, 0.7],
    ['filter', 4, 'absolute', undefined, 0.5],
  ] as const)('one for each %s: %d, %s from %d on', (learnable, size, positivity, k, initial) => {
    const layer = new SphereConv2d({ ...options, learnable, positivity, k });
    const values = layer.curvature!.forward().data();
    expect(relativeError(values, new Array<number>(size).fill(initial))).toBeLessThan(1e-6);
    expect(layer.curvature!.free.shape).toEqual([size]);
    expect(relativeError(layer.forward(x).data(), sphereConv2d(x, layer.weight, { k: initial }).data())).toBeLessThan(1e-5);
  });

  /** d(objective)/dk by central differences in float64. */
  const slope = (objective: (k: number) => number, k: number): number => (objective(k + 1e-5) - objective(k - 1e-5)) / 2e-5;
  const double = (from: Tensor): Tensor => tensor(Float64Array.from(from.data()), from.shape);
  const total = (y: Tensor): number => (y.data() as Float64Array).reduce((sum, value) => sum + value, 0);
  const positive = tensor((x.data() as Float32Array).map(Math.abs), x.shape);
  /** dk/dp of the softplus, from k. */
  const softplusSlope = (k: number) => -Math.expm1(-k);

  test('gets its gradient: for each filter', () => {
    const layer = new SphereConv2d({ ...options, learnable: 'filter' });
    const y = layer.forward(positive);
    y.backward({ gradient: ones(y.shape) });
    const exact = Array.from({ length: 4 }, (_, filter) => {
      const weight = tensor(double(layer.weight).data().slice(27 * filter, 27 * (filter + 1)), [1, 3, 3, 3]);
      return softplusSlope(0.5) * slope((k) => total(sphereConv2d(double(positive), weight, { k })), 0.5);
    });
    expect(relativeError(layer.curvature!.free.grad!.data(), exact)).toBeLessThan(1e-4);
  });

  test('gets its gradient: for a layer', () => {
    const layer = new SphereConv2d({ ...options, learnable: 'layer' });
    const y = layer.forward(positive);
    y.backward({ gradient: ones(y.shape) });
    const exact = softplusSlope(0.5) * slope((k) => total(sphereConv2d(double(positive), double(layer.weight), { k })), 0.5);
    expect(relativeError(layer.curvature!.free.grad!.data(), [exact])).toBeLessThan(1e-4);
  });

  test('gets its gradient: for a network, summed over the layers that share it', () => {
    const learnable = new Curvature({ k: 0.8 });
    const first = new SphereConv2d({ ...options, learnable });
    const second = new SphereLinear({ inFeatures: 64, outFeatures: 3, learnable, generator: options.generator });
    const flatten = new Flatten();
    const y = second.forward(flatten.forward(first.forward(positive.detach())).detach());
    expect(y.shape).toEqual([2, 3]);
    const whole = second.forward(flatten.forward(first.forward(positive)));
    whole.backward({ gradient: ones(whole.shape) });
    const objective = (k: number) => {
      const hidden = flatten.forward(sphereConv2d(double(positive), double(first.weight), { k }));
      return total(sphereLinear(hidden, double(second.weight), { k }));
    };
    const exact = softplusSlope(0.8) * slope(objective, 0.8);
    expect(relativeError(learnable.free.grad!.data(), [exact])).toBeLessThan(1e-4);
    expect(learnable.free.grad!.shape).toEqual([1]);
  });
});

describe('BatchNorm2d', () => {
  const x = random([4, 3, 3, 2], 1, 'f32');

  test('normalises by the batch in training and by the running statistics in evaluation', () => {
    const layer = new BatchNorm2d({ channels: 2, momentum: 0.25 });
    const reference = { gamma: ones([2]), beta: zeros([2]), runningMean: zeros([2]), runningVariance: ones([2]) };
    expect(layer.eval().forward(x).data()).toEqual(batchNorm(x, { ...reference, training: false }).data());
    expect(layer.runningMean.toArray()).toEqual([0, 0]);
    const trained = layer.train().forward(x).data();
    expect(trained).toEqual(batchNorm(x, { ...reference, training: true, momentum: 0.25 }).data());
    expect(layer.runningMean.data()).toEqual(reference.runningMean.data());
    expect(layer.runningVariance.data()).toEqual(reference.runningVariance.data());
    expect(layer.runningMean.toArray()).not.toEqual([0, 0]);
    const evaluated = layer.eval().forward(x).data();
    expect(evaluated).toEqual(batchNorm(x, { ...reference, training: false }).data());
    expect(evaluated).not.toEqual(trained);
  });

  test('passes eps and the fused ReLU on', () => {
    const [plain, fused] = [new BatchNorm2d({ channels: 2, eps: 1 }), new BatchNorm2d({ channels: 2, eps: 1, relu: true })];
    const y = plain.forward(x);
    expect(fused.forward(x).data()).toEqual(relu(y).data());
    expect(y.data()).not.toEqual(new BatchNorm2d({ channels: 2 }).forward(x).data());
  });
});

test('SphereNorm: beta x + gamma, learned or fixed', () => {
  const x = tensor([[1, 2], [3, 4]]);
  const learned = new SphereNorm({ channels: 2 });
  expect(learned.forward(x).toArray()).toEqual([[1, 2], [3, 4]]);
  expect(parameterNames(learned)).toEqual(['beta', 'gamma']);
  const mixed = new SphereNorm({ channels: 2, beta: 2, gamma: 'learned' });
  mixed.gamma.assign(Float32Array.of(10, 20));
  expect(mixed.forward(x).toArray()).toEqual([[12, 24], [16, 28]]);
  expect(parameterNames(mixed)).toEqual(['gamma']);
  expect(parameterNames(new SphereNorm({ channels: 2, beta: 2, gamma: -1 }))).toEqual([]);
  expect(new SphereNorm({ channels: 2, beta: 2, gamma: -1 }).forward(x).toArray()).toEqual([[1, 3], [5, 7]]);
});

test('pooling, ReLU and Flatten compute their operators', () => {
  const x = tensor([-1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 3, 3, 1]);
  expect(new MaxPool2d({ kernelSize: 2 }).forward(x).toArray()).toEqual([[[[5]]]]);
  expect(new MaxPool2d({ kernelSize: 2, stride: 1 }).forward(x).data()).toEqual(Float32Array.of(5, 6, 8, 9));
  expect(new AvgPool2d({ kernelSize: 2, padding: 1 }).forward(x).data()).toEqual(Float32Array.of(-0.25, 1.25, 2.75, 7));
  expect(new AvgPool2d({ kernelSize: 2, padding: 1, countPadding: false }).forward(x).data()).toEqual(Float32Array.of(-1, 2.5, 5.5, 7));
  expect(new GlobalAvgPool2d().forward(x).item()).toBeCloseTo(43 / 9);
  expect(new ReLU().forward(x).data()).toEqual(Float32Array.of(0, 2, 3, 4, 5, 6, 7, 8, 9));
  expect(new Flatten().forward(zeros([2, 3, 4, 5])).shape).toEqual([2, 60]);
});

describe('Dropout', () => {
  const x = full([1000], 1);

  test('drops in training, scales what is left, and does nothing in evaluation', () => {
    const layer = new Dropout({ probability: 0.75 });
    const values = layer.forward(x).data() as Float32Array;
    const kept = values.filter((value) => value !== 0);
    expect(new Set(kept)).toEqual(new Set([4]));
    expect(Math.abs(kept.length - 250)).toBeLessThan(70);
    expect(layer.eval().forward(x)).toBe(x);
  });

  test('draws anew each time, from a stream that the seed decides', () => {
    const masks = (seed: number) => {
      const layer = new Dropout({ generator: new Generator(seed) });
      return [layer.forward(x).data(), layer.forward(x).data()];
    };
    const [first, second] = masks(1);
    expect(first).not.toEqual(second);
    expect(masks(1)).toEqual([first, second]);
    expect(masks(2)[0]).not.toEqual(first);
  });

  test('of a network have streams of their own', () => {
    const generator = new Generator(1);
    const [a, b] = [new Dropout({ generator }), new Dropout({ generator })];
    expect(a.forward(x).data()).not.toEqual(b.forward(x).data());
  });

  test('evaluation leaves the stream where it is', () => {
    const layer = new Dropout();
    const before = layer.generator.state();
    noGrad(() => layer.eval().forward(x));
    expect(layer.generator.state()).toEqual(before);
  });
});

const shared = new Curvature();
test.each<[string, () => unknown, string, RegExp]>([
  ['Conv2d: unknown option', () => new Conv2d({ ...conv, strides: 2 } as never), 'strides', /Conv2d has no option "strides"/],
  ['Conv2d: no channels', () => new Conv2d({ ...conv, inChannels: 0 }), 'inChannels', /at least 1 and at most 2147483647, but got 0/],
  ['Conv2d: outChannels missing', () => new Conv2d({ inChannels: 1, kernelSize: 1 } as never), 'outChannels', /but got undefined/],
  ['Conv2d: kernelSize', () => new Conv2d({ ...conv, kernelSize: [3, 0] }), 'kernelSize', /got \[3, 0\]/],
  ['Conv2d: stride', () => new Conv2d({ ...conv, stride: 0 }), 'stride', /but got 0/],
  ['Conv2d: padding', () => new Conv2d({ ...conv, padding: -1 }), 'padding', /but got -1/],
  ['Conv2d: dilation', () => new Conv2d({ ...conv, dilation: 1.5 }), 'dilation', /integer/],
  ['Conv2d: groups', () => new Conv2d({ ...conv, groups: 4 }), 'groups', /divide inChannels \(4\) and outChannels \(6\), but is 4/],
  ['Conv2d: bias', () => new Conv2d({ ...conv, bias: 1 as never }), 'bias', /true or false/],
  ['Conv2d has no k', () => new Conv2d({ ...conv, k: 1 } as never), 'k', /no option "k"/],
  ['SphereConv2d: unknown option', () => new SphereConv2d({ ...conv, learn: true } as never), 'learn', /SphereConv2d has no option/],
  ['SphereConv2d: operator', () => new SphereConv2d({ ...conv, operator: 'sine' as never }), 'operator', /one of "linear"/],
  ['SphereConv2d: operator, learnable', () => new SphereConv2d({ ...conv, operator: 'sine' as never, learnable: 'layer' }), 'operator', /one of/],
  ['SphereConv2d: k', () => new SphereConv2d({ ...conv, k: 0 }), 'k', /greater than 0/],
  ['SphereConv2d: k of a cosine', () => new SphereConv2d({ ...conv, operator: 'cosine', k: 1 }), 'k', /belongs to the sigmoid/],
  ['SphereConv2d: learnable', () => new SphereConv2d({ ...conv, learnable: true as never }), 'learnable', /"layer" or a Curvature, but got true/],
  ['SphereConv2d: learnable linear', () => new SphereConv2d({ ...conv, operator: 'linear', learnable: 'layer' }), 'learnable', /belongs to the sigmoid/],
  ['SphereConv2d: positivity', () => new SphereConv2d({ ...conv, learnable: 'layer', positivity: 'exp' as never }), 'positivity', /one of "softplus"/],
  ['SphereConv2d: positivity of a fixed k', () => new SphereConv2d({ ...conv, positivity: 'softplus' }), 'positivity', /needs learnable/],
  ['SphereConv2d: positivity beside a Curvature', () => new SphereConv2d({ ...conv, learnable: shared, positivity: 'softplus' }), 'positivity', /its own/],
  ['SphereConv2d: k beside a Curvature', () => new SphereConv2d({ ...conv, learnable: shared, k: 1 }), 'k', /shared Curvature/],
  ['SphereConv2d: k too small for absolute', () => new SphereConv2d({ ...conv, learnable: 'layer', positivity: 'absolute', k: 0.05 }), 'k', /than 0\.05/],
  ['SphereConv2d: normGuard', () => new SphereConv2d({ ...conv, normGuard: { kind: 'max', eps: 0 } }), 'normGuard.eps', /greater than 0/],
  ['Curvature: size', () => new Curvature({ size: 0 }), 'size', /at least 1/],
  ['Curvature: k', () => new Curvature({ k: -1 }), 'k', /greater than 0/],
  ['Curvature: unknown option', () => new Curvature({ initial: 1 } as never), 'initial', /no option/],
  ['Linear: inFeatures', () => new Linear({ inFeatures: 0, outFeatures: 1 }), 'inFeatures', /at least 1/],
  ['Linear: outFeatures', () => new Linear({ inFeatures: 1, outFeatures: 1.5 }), 'outFeatures', /integer/],
  ['Linear: unknown option', () => new Linear({ inFeatures: 1, outFeatures: 1, operator: 'linear' } as never), 'operator', /Linear has no option/],
  ['SphereLinear: unknown option', () => new SphereLinear({ inFeatures: 1, outFeatures: 1, stride: 1 } as never), 'stride', /no option/],
  ['SphereLinear: k', () => new SphereLinear({ inFeatures: 1, outFeatures: 1, k: NaN }), 'k', /finite/],
  ['BatchNorm2d: channels', () => new BatchNorm2d({ channels: 0 }), 'channels', /at least 1/],
  ['BatchNorm2d: momentum', () => new BatchNorm2d({ channels: 1, momentum: 2 }), 'momentum', /at most 1/],
  ['BatchNorm2d: eps', () => new BatchNorm2d({ channels: 1, eps: 0 }), 'eps', /greater than 0/],
  ['BatchNorm2d: relu', () => new BatchNorm2d({ channels: 1, relu: 'yes' as never }), 'relu', /true or false/],
  ['BatchNorm2d: unknown option', () => new BatchNorm2d({ channels: 1, affine: true } as never), 'affine', /no option/],
  ['SphereNorm: channels', () => new SphereNorm({ channels: -1 }), 'channels', /at least 1/],
  ['SphereNorm: beta', () => new SphereNorm({ channels: 1, beta: 'fixed' as never }), 'beta', /finite number, but got "fixed"/],
  ['SphereNorm: gamma', () => new SphereNorm({ channels: 1, gamma: NaN }), 'gamma', /finite number/],
  ['SphereNorm: unknown option', () => new SphereNorm({ channels: 1, relu: true } as never), 'relu', /no option/],
  ['MaxPool2d: kernelSize', () => new MaxPool2d({ kernelSize: 0 }), 'kernelSize', /but got 0/],
  ['MaxPool2d: padding', () => new MaxPool2d({ kernelSize: 2, padding: 2 }), 'padding', /less than kernelSize/],
  ['MaxPool2d: unknown option', () => new MaxPool2d({ kernelSize: 2, countPadding: true } as never), 'countPadding', /no option/],
  ['AvgPool2d: countPadding', () => new AvgPool2d({ kernelSize: 2, countPadding: 0 as never }), 'countPadding', /true or false/],
  ['AvgPool2d: unknown option', () => new AvgPool2d({ kernelSize: 2, dilation: 2 } as never), 'dilation', /no option/],
  ['Dropout: probability', () => new Dropout({ probability: 1 }), 'probability', /less than 1/],
  ['Dropout: unknown option', () => new Dropout({ p: 0.5 } as never), 'p', /no option/],
])('%s', (_, run, argument, message) => {
  expectThrown(run, OptionError, argument, message);
});

test('BatchNorm2d adds a residual before its ReLU', () => {
  const [x, residual] = [random([2, 3, 3, 4], 1, 'f32'), random([2, 3, 3, 4], 2, 'f32')];
  const layer = new BatchNorm2d({ channels: 4, relu: true });
  const { gamma, beta } = layer;
  const options = { gamma, beta, runningMean: zeros([4]), runningVariance: ones([4]), training: true, relu: true };
  expect(layer.forward(x, residual).data()).toEqual(batchNorm(x, { ...options, residual }).data());
});
