// A batch normalisation that is done with the convolution before it: the same as one after the other.
import { memoryStats, resetPeakMemory } from '../../lib/device';
import { variedNumbers, variedTensor } from '../../lib/bench/variedTensor';
import { angularOperators, batchNorm, type BatchNormOptions, conv2d, sphereConv2d, type SphereOptions } from '../../lib/ops';
import { checkBatchNorm } from '../../lib/ops/batchNorm';
import { convGeometry, type ConvOptions, kernelOf, prepareConv2d } from '../../lib/ops/conv2d';
import { prepareSphereConv2d, sphereArguments } from '../../lib/ops/sphereConv2d';
import { type DType, noGrad, sizeOf, type Tensor, tensor } from '../../lib/tensor';
import { testDevice } from '../support/device';
import { collectGarbage } from '../support/garbage';
import { expectGradients } from '../support/gradcheck';
import { random, randomBetween, relativeError } from '../support/tensors';

type Mode = Pick<BatchNormOptions, 'training' | 'relu' | 'eps'>;

/** Statistics of their own for each call: training changes them. */
function statistics(channels: number, dtype: DType) {
  const [runningMean, runningVariance] = [random([channels], 5, dtype), randomBetween(0.5, 2, [channels], 6, dtype)];
  runningMean.requiresGrad = runningVariance.requiresGrad = false;
  return { runningMean, runningVariance };
}

interface Operands {
  x: Tensor;
  weight: Tensor;
  bias?: Tensor;
  k?: Tensor;
  gamma: Tensor;
  beta: Tensor;
}

type Convolution = 'plain' | SphereOptions;

function together(kind: Convolution, { x, weight, bias, k, gamma, beta }: Operands, conv: ConvOptions, norm: BatchNormOptions): Tensor {
  const geometry = convGeometry(conv, kernelOf(weight));
  const prepared =
    kind === 'plain'
      ? prepareConv2d(x, weight, bias ?? null, geometry)
      : prepareSphereConv2d(x, weight, bias ?? null, geometry, sphereArguments({ ...kind, ...(k && { k }) }));
  return prepared.run(checkBatchNorm(prepared.y, { ...norm, gamma, beta }));
}

function apart(kind: Convolution, { x, weight, bias, k, gamma, beta }: Operands, conv: ConvOptions, norm: BatchNormOptions): Tensor {
  const y = kind === 'plain' ? conv2d(x, weight, { ...conv, bias }) : sphereConv2d(x, weight, { ...conv, ...kind, ...(k && { k }), bias });
  return batchNorm(y, { ...norm, gamma, beta });
}

const modes: Mode[] = [
  { training: true, relu: true },
  { training: true, relu: false, eps: 0.1 },
  { training: false, relu: true },
];

const kinds: [string, Convolution][] = [
  ['plain', 'plain'],
  ...angularOperators.map((operator): [string, Convolution] => [operator, { operator }]),
];

const geometries: { x: number[]; w: number[]; conv: ConvOptions }[] = [
  { x: [2, 4, 3, 3], w: [2, 3, 3, 3], conv: { padding: 1 } },
  { x: [3, 2, 2, 2], w: [5, 1, 1, 2], conv: {} },
  { x: [1, 5, 5, 4], w: [6, 3, 3, 2], conv: { stride: 2, padding: 1, groups: 2 } },
];

function operands(x: readonly number[], w: readonly number[], dtype: DType, extra: { bias?: boolean; k?: boolean } = {}): Operands {
  return {
    x: random(x, 1, dtype),
    weight: random(w, 2, dtype),
    gamma: randomBetween(0.5, 2, [w[0]], 3, dtype),
    beta: random([w[0]], 4, dtype),
    ...(extra.bias && { bias: random([w[0]], 7, dtype) }),
    ...(extra.k && { k: randomBetween(0.2, 0.8, [w[0]], 8, dtype) }),
  };
}

describe.each(kinds)('gradients behind the %s operator', (_, kind) => {
  describe.each(modes)('%p', (mode) => {
    test.each(geometries)('%p', ({ x, w, conv }) => {
      const { x: images, weight, gamma, beta } = operands(x, w, 'f64');
      const run = (x: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor) =>
        together(kind, { x, weight, gamma, beta }, conv, { ...mode, gamma, beta, ...statistics(w[0], 'f64') });
      expectGradients(run, images, weight, gamma, beta);
    });
  });
});

test('gradients of a bias in front of the normalisation vanish in training, those of k are right', () => {
  const { x, weight, k, gamma, beta } = operands([2, 3, 3, 2], [3, 3, 3, 2], 'f64', { k: true });
  const run = (x: Tensor, weight: Tensor, k: Tensor, gamma: Tensor, beta: Tensor) =>
    together({ operator: 'sigmoid' }, { x, weight, k, gamma, beta }, { padding: 1 }, { training: true, relu: true, gamma, beta, ...statistics(3, 'f64') });
  expectGradients(run, x, weight, k!, gamma, beta);
  const bias = random([3], 7, 'f64');
  const y = together({}, { x, weight, bias, gamma, beta }, {}, { training: true, relu: true, gamma, beta, ...statistics(3, 'f64') });
  y.backward({ gradient: random(y.shape, 9) });
  expect(Math.max(...bias.grad!.data().map(Math.abs))).toBeLessThan(1e-12);
});

// On the cpu large enough for several chunks of the batch, the last of them smaller.
const batch = testDevice === 'cpu' ? 67 : 5;
const images = [batch, 32, 32, 3];
const filters = [20, 3, 3, 3];
const leaf = (shape: number[], phase: number) => tensor(variedNumbers(sizeOf(shape), phase), shape, { requiresGrad: true });

describe.each(kinds)('together and apart are the same behind the %s operator', (_, kind) => {
  test.each(modes)('%p', (mode) => {
    const run = (how: typeof together) => {
      const all = { ...operands([1], filters, 'f32', { bias: true }), x: leaf(images, 1) };
      const running = statistics(filters[0], 'f32');
      const y = how(kind, all, { padding: 1 }, { ...mode, gamma: all.gamma, beta: all.beta, ...running });
      y.backward({ gradient: variedTensor(y.shape, 2, testDevice) });
      const { gamma, beta, weight, x } = all;
      return [y, running.runningMean, running.runningVariance, ...[x, weight, gamma, beta].map((each) => each.grad!)];
    };
    const [one, other] = [run(together), run(apart)];
    one.forEach((tensor, i) => { expect(relativeError(tensor.data(), other[i].data())).toBeLessThan(1e-5); });
  });

  test.each(modes)('without recording, %p', (mode) => {
    const all = { ...operands([1], filters, 'f32', { bias: true }), x: leaf(images, 1) };
    const run = (how: typeof together) =>
      how(kind, all, { padding: 1 }, { ...mode, gamma: all.gamma, beta: all.beta, ...statistics(filters[0], 'f32') });
    const [one, other] = noGrad(() => [run(together), run(apart)]);
    expect(one.node).toBeNull();
    expect(relativeError(one.data(), other.data())).toBeLessThan(1e-6);
  });
});

test('in evaluation nothing is kept for a backward', async () => {
  await collectGarbage();
  const { x, weight, gamma, beta } = operands([8, 16, 16, 8], [16, 3, 3, 8], 'f32');
  const running = statistics(16, 'f32');
  const norm = { training: false, relu: true, gamma, beta, ...running };
  const run = () => noGrad(() => together({}, { x, weight, gamma, beta }, { padding: 1 }, norm));
  run().dispose(); // unit filters are kept until they change
  resetPeakMemory();
  const { allocated } = memoryStats();
  const y = run();
  const bytes = 4 * y.size;
  // The output stays; the room of one chunk is as large here, but for the norms and what products need.
  expect(memoryStats().allocated - allocated).toBe(bytes);
  expect(memoryStats().peak - allocated).toBeLessThan(3.5 * bytes);
});
