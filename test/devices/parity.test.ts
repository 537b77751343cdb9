// Every operator on cuda against the cpu: results and all gradients in float32. Needs cuda; the emulated build has it.
import { Parameter } from '../../lib/nn';
import {
  add, affine, angularLogits, type AngularOperator, angularOperators, angularSoftmax, avgPool2d, batchNorm, concat, conv2d,
  type ConvOptions, countCorrect, dropout, flatten, globalAvgPool2d, linear, matmul, maxPool2d, officialNormGuard,
  orthogonality, type PoolOptions, positive, relu, energyPowers, hypersphericalEnergy, minimalAngle, multiMargin,
  reshape, scale, softmaxCrossEntropy, sphereConv2d, sphereLinear, type SphereOptions, sum,
} from '../../lib/ops';
import { Adam, gradientNorm, type Optimizer, SGD } from '../../lib/optim';
import { type Tensor, tensor } from '../../lib/tensor';
import { hasCuda } from '../support/device';
import { dot, norm, relativeError } from '../support/tensors';
import { between, expectTwins, fixed, labelsOf, normal, type Operand, place, resultsOn, tolerance } from '../support/twins';

const withCuda = hasCuda ? describe : describe.skip;
const channelCounts = [1, 3, 5, 17, 64, 130];

const geometries: [name: string, image: number[], filters: number[], options: ConvOptions][] = [
  ['3 channels, padding 1', [2, 6, 5, 3], [4, 3, 3, 3], { padding: 1 }],
  ['1 channel, 5x5, stride 2, padding 2, one image', [1, 7, 6, 1], [3, 5, 5, 1], { padding: 2, stride: 2 }],
  ['5 channels, 1x1', [2, 4, 3, 5], [7, 1, 1, 5], {}],
  ['3 channels, 1x1, stride 2, padding 1: zero patches', [1, 4, 3, 3], [2, 1, 1, 3], { stride: 2, padding: 1 }],
  ['17 channels, stride 3, padding 1, dilation 2', [2, 9, 8, 17], [5, 3, 3, 17], { stride: 3, padding: 1, dilation: 2 }],
  ['64 channels, padding 1', [2, 4, 4, 64], [64, 3, 3, 64], { padding: 1 }],
  ['64 channels, 7x7, stride 3, padding 1', [1, 8, 8, 64], [6, 7, 7, 64], { stride: 3, padding: 1 }],
  ['130 channels, stride 2, padding 1', [1, 5, 5, 130], [9, 3, 3, 130], { stride: 2, padding: 1 }],
  ['130 channels, 1x1', [1, 3, 3, 130], [130, 1, 1, 130], {}],
  ['3 channels, 7x7, stride 2, padding 2', [2, 9, 9, 3], [8, 7, 7, 3], { stride: 2, padding: 2 }],
  ['5 channels, 5x5, padding 2, dilation 2', [1, 9, 9, 5], [4, 5, 5, 5], { padding: 2, dilation: 2 }],
  ['2x3, stride [1, 3], padding [0, 2], dilation [2, 1]', [2, 5, 7, 3], [5, 2, 3, 3], { stride: [1, 3], padding: [0, 2], dilation: [2, 1] }],
  ['two groups', [2, 5, 5, 6], [4, 3, 3, 3], { padding: 1, groups: 2 }],
  ['thirteen groups of 130 channels', [1, 4, 3, 130], [26, 3, 3, 10], { padding: 1, groups: 13 }],
  ['depthwise, 17 channels', [1, 5, 5, 17], [17, 3, 3, 1], { padding: 1, groups: 17, stride: 2 }],
  ['the whole image, 17 channels', [3, 4, 4, 17], [10, 4, 4, 17], {}],
];

withCuda('conv2d', () => {
  test.each(geometries)('%s', (_, image, filters, options) => {
    const operands = { x: normal(image, 1), w: normal(filters, 2), bias: normal([filters[0]], 3) };
    expectTwins(operands, ({ x, w, bias }) => ({ y: conv2d(x, w, { ...options, bias }) }));
    expectTwins({ x: operands.x, w: operands.w }, ({ x, w }) => ({ y: conv2d(x, w, options) }));
  });

  test.each([['x', 'w'], ['w', 'x'], ['bias', 'x']])('the gradient of %s alone, or without that of %s', (only, without) => {
    const operands: Record<'x' | 'w' | 'bias', Operand> = { x: normal([2, 5, 5, 3], 1), w: normal([4, 3, 3, 3], 2), bias: normal([4], 3) };
    const choose = (requires: (name: string) => boolean) => {
      const chosen = Object.entries(operands).map(([name, operand]) => [name, { ...operand, requiresGrad: requires(name) }]);
      return Object.fromEntries(chosen) as typeof operands;
    };
    for (const requires of [(name: string) => name === only, (name: string) => name !== without]) {
      expectTwins(choose(requires), ({ x, w, bias }) => ({ y: conv2d(x, w, { bias, padding: 1 }) }));
      expectTwins(choose(requires), ({ x, w, bias }) => ({ y: sphereConv2d(x, w, { bias, padding: 1 }) }));
    }
  });
});

const spheres: [string, SphereOptions][] = [
  ['linear', { operator: 'linear' }],
  ['cosine', { operator: 'cosine' }],
  ['sigmoid', { operator: 'sigmoid', k: 0.3 }],
  ['a sharp sigmoid', { operator: 'sigmoid', k: 0.05 }],
  ['the official guard', { operator: 'linear', normGuard: officialNormGuard }],
];

withCuda('sphereConv2d', () => {
  describe.each(geometries)('%s', (_, image, filters, options) => {
    const operands = { x: normal(image, 1), w: normal(filters, 2), bias: normal([filters[0]], 3) };

    test.each(spheres)('%s', (name, sphere) => {
      // 1 - tanh² of a saturated sigmoid keeps fewer digits than tanh, and one device fuses its products.
      const limit = name === 'a sharp sigmoid' ? 3e-5 : undefined;
      expectTwins(operands, ({ x, w, bias }) => ({ y: sphereConv2d(x, w, { ...options, ...sphere, bias }) }), limit);
    });

    test('a k for each filter, and bias', () => {
      const learned = { ...operands, k: between(0.2, 0.9, [filters[0]], 4) };
      expectTwins(learned, ({ x, w, k, bias }) => ({ y: sphereConv2d(x, w, { ...options, k, bias }) }));
    });

    test('one k, without bias', () => {
      const learned = { x: operands.x, w: operands.w, k: between(0.2, 0.9, [1], 4) };
      expectTwins(learned, ({ x, w, k }) => ({ y: sphereConv2d(x, w, { ...options, k }) }));
    });
  });

  test.each(spheres)('%s: zero patches and a zero filter', (_, sphere) => {
    const [x, w] = [normal([2, 6, 6, 3], 1), normal([4, 3, 3, 3], 2)];
    x.values.fill(0, 0, x.values.length / 2);
    w.values.fill(0, 27, 54);
    expectTwins({ x, w }, (inputs) => ({ y: sphereConv2d(inputs.x, inputs.w, { ...sphere, padding: 1 }) }));
    // The guard that is added leaves a zero vector its gradient.
    if (sphere.normGuard) return;
    const { y, dx, dw } = resultsOn('cuda', { x, w }, (inputs) => ({ y: sphereConv2d(inputs.x, inputs.w, { ...sphere, padding: 1 }) }));
    const zeros = (values: ArrayLike<number>, from: number, to: number) => Array.from(values).slice(from, to).every((value) => value === 0);
    expect([zeros(y, 0, y.length / 2), zeros(dx, 0, dx.length / 2), zeros(dw, 27, 54)]).toEqual([true, true, true]);
  });
});

/** A patch at this angle from its filter, and the filter. */
function patchAt(theta: number, size: number): { x: Operand; w: Operand } {
  const [first, second] = [normal([1, 1, 1, size], 1).values, normal([1, 1, 1, size], 2).values];
  const along = dot(first, second) / dot(first, first);
  const upright = Array.from(second, (value, i) => value - along * first[i]);
  // Of one number there is nothing upright, and no angle but 0 and pi.
  const tilt = size === 1 ? 0 : Math.sin(theta) / norm(upright);
  const patch = upright.map((value, i) => 1.7 * ((Math.cos(theta) * first[i]) / norm(first) + tilt * value));
  return { x: { shape: [1, 1, 1, size], values: Float32Array.from(patch) }, w: { shape: [1, 1, 1, size], values: first } };
}

withCuda.each(angularOperators)('near the poles, %s', (operator) => {
  const both = (theta: number, size: number) =>
    (['cpu', 'cuda'] as const).map((device) => resultsOn(device, patchAt(theta, size), ({ x, w }) => ({ y: sphereConv2d(x, w, { operator }) })));

  // The cosine holds no angle below the square root of the rounding, nor a gradient its direction.
  test.each([1, 3, 17, 130])('at exactly 0 and pi, of %d numbers: the same value, a finite and small gradient', (size) => {
    for (const [theta, pole] of [[0, 1], [Math.PI, -1]]) {
      for (const { y, dx, dw } of both(theta, size)) {
        expect(Math.abs(y[0] - pole)).toBeLessThan(2e-3);
        for (const gradient of [dx, dw]) expect(norm(gradient)).toBeLessThan(2e-2);
      }
    }
  });

  test.each([1e-2, 3e-2, 0.1, 0.3])('%d away from them: the same value, and a gradient of the same sign', (distance) => {
    for (const theta of [distance, Math.PI - distance]) {
      const [cpu, cuda] = both(theta, 17);
      const limit = Math.max(tolerance, 1e-6 / distance ** 2);
      expect(relativeError(cuda['y'], cpu['y'])).toBeLessThan(limit);
      for (const name of ['dx', 'dw']) {
        expect(relativeError(cuda[name], cpu[name])).toBeLessThan(limit);
        expect(dot(cuda[name], cpu[name])).toBeGreaterThan(0.9 * norm(cuda[name]) * norm(cpu[name]));
      }
    }
  });
});

withCuda('products', () => {
  const shapes = [[1, 1, 1], [4, 3, 5], [7, 17, 1], [1, 130, 64], [65, 33, 17]];

  test.each(shapes)('linear and sphereLinear: %d rows of %d numbers to %d', (rows, features, outputs) => {
    const operands = { x: normal([rows, features], 1), w: normal([outputs, features], 2), bias: normal([outputs], 3) };
    expectTwins(operands, ({ x, w, bias }) => ({ y: linear(x, w, { bias }) }));
    expectTwins({ x: operands.x, w: operands.w }, ({ x, w }) => ({ y: linear(x, w) }));
    // Of one number there is no angle but 0 and pi.
    if (features === 1) return;
    for (const [, sphere] of spheres) expectTwins(operands, ({ x, w, bias }) => ({ y: sphereLinear(x, w, { ...sphere, bias }) }));
    const learned = { ...operands, k: between(0.2, 0.9, [outputs], 4) };
    expectTwins(learned, ({ x, w, k }) => ({ y: sphereLinear(x, w, { k }) }));
  });

  describe.each(shapes)('matmul of %d, %d, %d', (m, k, n) => {
    test.each([[false, false], [true, false], [false, true], [true, true]])('transposed: %p, %p', (transposeA, transposeB) => {
      const operands = { a: normal(transposeA ? [k, m] : [m, k], 1), b: normal(transposeB ? [n, k] : [k, n], 2) };
      expectTwins(operands, ({ a, b }) => ({ c: matmul(a, b, { transposeA, transposeB }) }));
    });
  });
});

withCuda('pooling', () => {
  const windows: [string, PoolOptions][] = [
    ['2x2', { kernelSize: 2 }],
    ['3x3, stride 2, padding 1', { kernelSize: 3, stride: 2, padding: 1 }],
    ['[2, 3], stride [1, 3], padding [0, 1]', { kernelSize: [2, 3], stride: [1, 3], padding: [0, 1] }],
    ['5x5, stride 1, padding 2: windows overlap', { kernelSize: 5, stride: 1, padding: 2 }],
    ['1x1, stride 2: pixels are left out', { kernelSize: 1, stride: 2 }],
  ];

  describe.each(windows)('%s', (_, options) => {
    test.each(channelCounts)('%d channels', (channels) => {
      const operands = { x: normal([2, 7, 6, channels], channels) };
      expectTwins(operands, ({ x }) => ({ y: maxPool2d(x, options) }));
      expectTwins(operands, ({ x }) => ({ y: avgPool2d(x, options) }));
      expectTwins(operands, ({ x }) => ({ y: avgPool2d(x, { ...options, countPadding: false }) }));
    });
  });

  test.each(channelCounts)('the global mean of %d channels', (channels) => {
    expectTwins({ x: normal([1, 5, 3, channels], 1) }, ({ x }) => ({ y: globalAvgPool2d(x) }));
    expectTwins({ x: normal([3, 2, 4, channels], 1) }, ({ x }) => ({ y: globalAvgPool2d(x) }));
  });

  test('of equal pixels the same one takes the gradient', () => {
    const x = { shape: [1, 6, 6, 3], values: new Float32Array(108).fill(1) };
    expectTwins({ x }, (inputs) => ({ y: maxPool2d(inputs.x, { kernelSize: 3, stride: 2, padding: 1 }) }), 1e-7);
  });
});

withCuda('batchNorm', () => {
  const modes = [true, false].flatMap((training) => [{ training, relu: false }, { training, relu: true }]);

  describe.each(modes)('%p', (mode) => {
    test.each(channelCounts.flatMap((channels) => [[[2, 3, 5, channels]], [[9, channels]]]))('x of %p', (shape) => {
      const channels = [shape.at(-1)!];
      const operands = {
        x: normal(shape, 1), gamma: between(0.5, 2, channels, 2), beta: normal(channels, 3),
        mean: fixed(normal(channels, 4)), variance: fixed(between(0.5, 2, channels, 5)),
      };
      expectTwins(operands, ({ x, gamma, beta, mean, variance }) => {
        const y = batchNorm(x, { gamma, beta, runningMean: mean, runningVariance: variance, ...mode });
        return { y, runningMean: mean, runningVariance: variance };
      });
    });
  });
});

withCuda('elementwise', () => {
  const shapes = [[], [1], [5], [2, 3, 5, 17], [3, 130], [70_001]];

  test.each(shapes.map((shape) => [shape]))('x of %p', (shape) => {
    const [a, b] = [normal(shape, 1), normal(shape, 2)];
    expectTwins({ a }, (inputs) => ({ y: relu(inputs.a) }));
    expectTwins({ a }, (inputs) => ({ y: scale(inputs.a, -2.5) }));
    expectTwins({ a, b }, (inputs) => ({ y: add(inputs.a, inputs.b) }));
    expectTwins({ a }, (inputs) => ({ y: add(inputs.a, inputs.a) }));
    expectTwins({ a: between(0, 1, shape, 3) }, (inputs) => ({ y: sum(inputs.a) }));
    for (const kind of ['softplus', 'absolute'] as const) expectTwins({ a }, (inputs) => ({ y: positive(scale(inputs.a, 4), kind) }));
    expectTwins({ a }, (inputs) => ({ y: reshape(inputs.a, [-1]) }));
  });

  test('many sums on the way to one', () => {
    expectTwins({ a: normal([3, 5], 1) }, ({ a }) => ({ y: sum(scale(sum(add(relu(a), a)), 3)) }));
  });

  test.each([0, 0.3, 0.9])('dropout of a share of %p drops the same elements', (probability) => {
    for (const shape of [[1], [3, 17], [4, 5, 5, 64]]) {
      expectTwins({ x: normal(shape, 1) }, ({ x }) => ({ y: dropout(x, { probability, seed: Number.MAX_SAFE_INTEGER - 5 }) }), 1e-6);
    }
  });

  test.each(channelCounts)('affine of %d channels', (channels) => {
    const operands = { x: normal([2, 3, 3, channels], 1), factor: normal([channels], 2), shift: normal([channels], 3) };
    expectTwins(operands, ({ x, factor, shift }) => ({ y: affine(x, { scale: factor, shift }) }));
    expectTwins({ x: operands.x, factor: operands.factor }, ({ x, factor }) => ({ y: affine(x, { scale: factor }) }));
    expectTwins({ x: operands.x, shift: operands.shift }, ({ x, shift }) => ({ y: affine(x, { shift }) }));
  });

  test('concat and flatten', () => {
    const operands = { a: normal([2, 3, 2, 1], 1), b: normal([2, 3, 2, 17], 2), c: normal([2, 3, 2, 130], 3) };
    expectTwins(operands, ({ a, b, c }) => ({ y: concat([a, b, c, a]) }));
    expectTwins(operands, ({ a, b }) => ({ y: flatten(concat([b, a])) }));
  });
});

withCuda('softmax cross entropy', () => {
  test.each([[1, 3], [7, 10], [33, 130], [2, 1000]])('%d rows of %d classes', (rows, classes) => {
    for (const labelSmoothing of [0, 0.1]) {
      const operands = { logits: normal([rows, classes], 1), labels: labelsOf(rows, classes, 2) };
      for (const logGuard of [0, 1e-4]) {
        const options = { labelSmoothing, logGuard };
        expectTwins(operands, ({ logits, labels }) => ({ loss: softmaxCrossEntropy(scale(logits, 5), labels, options) }));
      }
    }
  });

  test.each([[1, 3], [7, 10], [33, 130], [2, 1000]])('hinges of %d rows of %d classes', (rows, classes) => {
    for (const squared of [false, true]) {
      const operands = { logits: normal([rows, classes], 1), labels: labelsOf(rows, classes, 2) };
      expectTwins(operands, ({ logits, labels }) => ({ loss: multiMargin(logits, labels, { squared }) }));
    }
  });

  test('an angular softmax whose radius is learned', () => {
    const operands = { x: normal([33, 17], 1), w: normal([10, 17], 2), radius: normal([1], 3), labels: labelsOf(33, 10, 4) };
    operands.radius.values.fill(5);
    expectTwins(operands, ({ x, w, radius, labels }) => ({ ...angularSoftmax(x, w, labels, { operator: 'cosine', radius }) }));
  });

  test('counts of right answers', () => {
    for (const [rows, classes] of [[1, 3], [200, 11], [65, 130]]) {
      const operands = { logits: fixed(normal([rows, classes], 1)), labels: labelsOf(rows, classes, 2) };
      const counts = (['cpu', 'cuda'] as const).map((device) => {
        const { logits, labels } = place(operands, device);
        return [1, 2, 3].map((top) => countCorrect(logits, labels, { top }));
      });
      expect(counts[1]).toEqual(counts[0]);
    }
  });
});

const marginsOf = (operator: AngularOperator) => (operator === 'linear' ? [1, 1.5, 2, 4] : [1, 2, 3, 4]);

withCuda.each(angularOperators)('angular softmax, %s', (operator) => {
  const sizes: [rows: number, features: number, classes: number][] = [[8, 5, 4], [1, 17, 3], [5, 130, 11], [33, 64, 130]];

  describe.each(sizes)('%d rows of %d features, %d classes', (rows, features, classes) => {
    const operands = { x: normal([rows, features], 1), w: normal([classes, features], 2), labels: labelsOf(rows, classes, 3) };

    test.each(marginsOf(operator))('margin %p', (margin) => {
      for (const annealing of [0, 5]) {
        expectTwins(operands, ({ x, w, labels }) => ({ ...angularSoftmax(x, w, labels, { operator, margin, annealing }) }));
        expectTwins(operands, ({ x, w, labels }) => ({ ...angularSoftmax(x, w, labels, { operator, margin, annealing, radius: 4 }) }));
      }
    });

    test('logits alone', () => {
      for (const options of [{ operator }, { operator, radius: 7 }]) {
        expectTwins({ x: operands.x, w: operands.w }, ({ x, w }) => ({ logits: angularLogits(x, w, options) }));
      }
    });
  });

  if (operator === 'sigmoid') {
    test.each([0.1, 0.7])('k %p', (k) => {
      const operands = { x: normal([8, 5], 1), w: normal([4, 5], 2), labels: labelsOf(8, 4, 3) };
      expectTwins(operands, ({ x, w, labels }) => ({ ...angularSoftmax(x, w, labels, { k, margin: 2 }) }));
    });
  }

  test('zero features and weights', () => {
    const [x, w] = [normal([8, 5], 1), normal([4, 5], 2)];
    x.values.fill(0, 0, 5);
    w.values.fill(0, 5, 10);
    const operands = { x, w, labels: labelsOf(8, 4, 3) };
    expectTwins(operands, (inputs) => ({ ...angularSoftmax(inputs.x, inputs.w, inputs.labels, { operator, margin: 2 }) }));
  });
});

withCuda('orthogonality', () => {
  test.each([[[3, 5]], [[4, 3, 3, 3]], [[64, 3, 3, 17]], [[130, 1, 1, 5]], [[2, 7, 7, 1]]])('of %p', (shape) => {
    for (const normalized of [true, false]) {
      const weight = normal(shape, 1);
      expectTwins({ weight }, (inputs) => ({ loss: orthogonality(inputs.weight, { normalized }) }));
    }
  });

  test('with a zero row', () => {
    const weight = normal([4, 9], 1);
    weight.values.fill(0, 9, 18);
    expectTwins({ weight }, (inputs) => ({ loss: orthogonality(inputs.weight) }));
  });
});

withCuda('energy and angles of filters', () => {
  // Where filters lie close, both devices round 1 - cos differently: enough dimensions keep them apart.
  test.each([[[3, 5]], [[4, 3, 3, 3]], [[64, 3, 3, 17]], [[130, 33]], [[2, 7, 7, 1]], [[1, 9]]])('of %p', (shape) => {
    const weight = normal(shape, 1);
    for (const power of energyPowers) {
      for (const halfSpace of [true, false]) {
        expectTwins({ weight }, (inputs) => ({ loss: hypersphericalEnergy(inputs.weight, { power, halfSpace }) }));
      }
    }
    expectTwins({ weight }, (inputs) => ({ loss: minimalAngle(inputs.weight) }));
  });
});

withCuda('optimizers', () => {
  const makers: [string, (parameters: Tensor[]) => Optimizer][] = [
    ['Adam', (parameters) => new Adam(parameters, { learningRate: 0.01 })],
    ['Adam with weight decay', (parameters) => new Adam(parameters, { learningRate: 0.01, weightDecay: 0.1 })],
    ['AdamW', (parameters) => new Adam(parameters, { learningRate: 0.01, weightDecay: 0.1, decoupled: true })],
    ['SGD', (parameters) => new SGD(parameters, { learningRate: 0.1, weightDecay: 0.01 })],
    ['SGD with momentum', (parameters) => new SGD(parameters, { learningRate: 0.1, momentum: 0.9 })],
    ['SGD, nesterov', (parameters) => new SGD(parameters, { learningRate: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.01 })],
  ];
  const shapes = [[1], [17], [3, 130], [5, 3, 3, 64], [70_001]];

  test.each(makers)('five steps of %s', (_, make) => {
    const [cpu, cuda] = (['cpu', 'cuda'] as const).map((device) => {
      const parameters = shapes.map((shape, i) => new Parameter(tensor(normal(shape, i).values, shape, { device })));
      const optimizer = make(parameters);
      for (let step = 0; step < 5; step++) {
        optimizer.zeroGrad();
        parameters.forEach((parameter, i) => {
          parameter.grad = tensor(normal(parameter.shape, 10 * step + i).values, parameter.shape, { device }).keep();
        });
        optimizer.step();
      }
      return [...parameters, ...Object.values(optimizer.stateDict().tensors)].map((each) => each.data());
    });
    cuda.forEach((values, i) => { expect(relativeError(values, cpu[i])).toBeLessThan(tolerance); });
  });

  test('the norm of all gradients', () => {
    const [cpu, cuda] = (['cpu', 'cuda'] as const).map((device) => {
      const parameters = shapes.map((shape) => new Parameter(tensor(normal(shape, 1).values, shape, { device })));
      parameters.forEach((parameter, i) => { parameter.grad = tensor(normal(parameter.shape, i).values, parameter.shape, { device }); });
      return gradientNorm(parameters);
    });
    expect(Math.abs(cuda / cpu - 1)).toBeLessThan(1e-6);
  });
});
