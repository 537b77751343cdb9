import { OptionError, ShapeError } from '../../lib/errors';
import { OrthogonalityRegularizer, SoftmaxLoss } from '../../lib/losses';
import { Classifier, cnn, cnn9, type CnnOptions, createModel, type ModelOptions, sphereNet9 } from '../../lib/models';
import { depths } from '../../lib/models/cnn';
import { BatchNorm2d, Conv2d, type Module, Sequential, SphereConv2d, SphereNorm, summary } from '../../lib/nn';
import { add, countCorrect, orthogonality } from '../../lib/ops';
import { Adam } from '../../lib/optim';
import { Generator, manualSeed } from '../../lib/random';
import { memoryStats } from '../../lib/device';
import { noGrad, type Tensor, tensor, zeros } from '../../lib/tensor';
import { random, randomLabels } from '../support/tensors';
import { expectThrown, valuesOf } from '../nn/expectations';

/** A network that is quick to train: 8×8 images of two channels, two classes. */
const tiny = { widths: [4, 6, 8] as [number, number, number], features: 5, imageSize: 8, inputChannels: 2, classes: 2 };

function convolutionsOf(model: Module): (Conv2d | SphereConv2d)[] {
  return model.modules().filter((module) => module instanceof Conv2d || module instanceof SphereConv2d);
}

describe('architecture', () => {
  test.each([
    [undefined, 1_226_432],
    [[128, 192, 256] as [number, number, number], 3_853_696],
  ])('CNN-9 and SphereNet-9 of widths %j have %d filter weights', (widths, weights) => {
    for (const model of [cnn9({ classes: 10, widths }), sphereNet9({ classes: 10, widths })]) {
      expect(convolutionsOf(model).reduce((sum, { weight }) => sum + weight.size, 0)).toBe(weights);
      const others = 2 * 3 * (widths ?? [64, 96, 128]).reduce((sum, width) => sum + width) + 2570;
      expect(summary(model, [32, 32, 3]).totals.parameters).toBe(weights + others);
      model.dispose();
    }
  });

  test('layers, in their order: convolution, BatchNorm with ReLU, pooling after a stage, fc alone', () => {
    const { rows } = summary(cnn9({ classes: 10 }), [32, 32, 3]);
    const stage = (s: number) => [1, 2, 3].flatMap((i) => [`features.conv${s}_${i}`, `features.norm${s}_${i}`]).concat(`features.pool${s}`);
    expect(rows.map((row) => row.name)).toEqual([...stage(1), ...stage(2), ...stage(3), 'features.fc', 'features.flatten', 'head.linear']);
    const shapeOf = (name: string) => rows.find((row) => row.name === `features.${name}`)!.outputShape;
    expect(['conv1_1', 'pool1', 'pool2', 'pool3', 'fc', 'flatten'].map(shapeOf)).toEqual([
      [32, 32, 64], [16, 16, 64], [8, 8, 96], [4, 4, 128], [1, 1, 256], [256],
    ]);
  });

  test.each(depths)('depth %d', (depth) => {
    const model = cnn({ ...tiny, depth });
    expect(convolutionsOf(model)).toHaveLength(depth + 1);
    expect(model.predict(zeros([1, 8, 8, 2])).shape).toEqual([1, 2]);
  });

  test('a SphereNet has sphere convolutions only, fc too, and no bias', () => {
    const model = sphereNet9({ ...tiny, convolution: { operator: 'linear' } });
    for (const layer of convolutionsOf(model)) {
      expect(layer).toBeInstanceOf(SphereConv2d);
      expect(layer.bias).toBeNull();
    }
  });

  test('images of 28 pixels: halved to 14, 7 and 3', () => {
    const model = cnn9({ classes: 10, widths: [2, 2, 2], imageSize: 28, inputChannels: 1 });
    expect(summary(model, [28, 28, 1]).rows.find((row) => row.name === 'features.pool3')!.outputShape).toEqual([3, 3, 2]);
    expect(model.stateDict()['features.fc.weight'].shape).toEqual([256, 3, 3, 2]);
  });

  test('BatchNorm and ReLU as configured', () => {
    const norms = (options: Partial<CnnOptions>) =>
      cnn({ ...tiny, depth: 3, ...options }).modules().filter((module) => module instanceof BatchNorm2d)
        .map(({ momentum, eps, relu }) => [momentum, eps, relu]);
    expect(norms({})).toEqual(Array(3).fill([0.1, 1e-5, true]));
    expect(norms({ relu: false, batchNorm: { momentum: 0.001, eps: 1e-3 } })).toEqual(Array(3).fill([0.001, 1e-3, false]));
  });

  const layersOf = (options: Partial<CnnOptions>) =>
    summary(cnn({ ...tiny, depth: 3, ...options }), [8, 8, 2]).rows.map(({ name }) => name.replace('features.', '')).slice(0, 5);

  test.each<[string, Partial<CnnOptions>, string[]]>([
    ['BatchNorm', {}, ['conv1_1', 'norm1_1', 'pool1', 'conv2_1', 'norm2_1']],
    ['none', { batchNorm: false }, ['conv1_1', 'relu1_1', 'pool1', 'conv2_1', 'relu2_1']],
    ['none, and no ReLU', { batchNorm: false, relu: false }, ['conv1_1', 'pool1', 'conv2_1', 'pool2', 'conv3_1']],
    ['SphereNorm', { batchNorm: false, convolution: {} }, ['conv1_1', 'relu1_1', 'pool1', 'conv2_1', 'relu2_1']],
    ['rescaled SphereNorm', { batchNorm: false, convolution: {}, sphereNorm: {} }, ['conv1_1', 'scale1_1', 'relu1_1', 'pool1', 'conv2_1']],
    ['rescaled SphereNorm and BatchNorm', { convolution: {}, sphereNorm: {} }, ['conv1_1', 'scale1_1', 'norm1_1', 'pool1', 'conv2_1']],
  ])('normalised by %s', (_, options, expected) => {
    expect(layersOf(options)).toEqual(expected);
    using model = cnn({ ...tiny, depth: 3, ...options });
    const { loss } = model.forward(random([3, 8, 8, 2], 1, 'f32'), randomLabels(3, 2, 2));
    loss.backward();
    expect(model.parameters().filter(({ grad }) => !grad)).toEqual([]);
    expect(createModel(JSON.parse(JSON.stringify(model.config)) as ModelOptions).config).toEqual(model.config);
  });

  test('beta and gamma of SphereNorm are learned or fixed', () => {
    const norms = cnn({ ...tiny, depth: 3, convolution: {}, sphereNorm: { beta: 2, gamma: 'learned' } }).modules()
      .flatMap((module) => (module instanceof SphereNorm ? [module] : []));
    expect(norms.map(({ beta, gamma }) => [beta.toArray(), gamma.toArray()]))
      .toEqual([4, 6, 8].map((size) => [Array(size).fill(2), Array(size).fill(0)]));
    expect(norms.map((norm) => norm.namedParameters().map(([name]) => name))).toEqual(Array(3).fill(['gamma']));
  });

  test('a plain convolution without BatchNorm has a bias, a SphereConv has none, and the twins start from the same filters', () => {
    const convolutions = (options: Partial<CnnOptions>) => convolutionsOf(cnn({ ...tiny, depth: 3, ...options }));
    const biases = (options: Partial<CnnOptions>) => convolutions(options).map(({ bias }) => bias?.size ?? 0);
    expect(biases({ batchNorm: false })).toEqual([4, 6, 8, 0]);
    expect(biases({ batchNorm: false, convolution: {} })).toEqual([0, 0, 0, 0]);
    expect(biases({})).toEqual([0, 0, 0, 0]);
    const filters = (options: Partial<CnnOptions>) => convolutions(options).map(({ weight }) => weight.data());
    expect(filters({ batchNorm: false })).toEqual(filters({ convolution: {}, sphereNorm: {} }));
  });

  test.each([
    ['filter', [4, 6, 8, 5]],
    ['layer', [1, 1, 1, 1]],
    ['network', [1]],
  ] as const)('one k for each %s', (learnable, sizes) => {
    const model = cnn({ ...tiny, depth: 3, convolution: { learnable, k: 0.7 } });
    const curvatures = model.namedParameters().filter(([name]) => name.endsWith('curvature.free'));
    expect(curvatures.map(([, { size }]) => size)).toEqual(sizes);
  });

  test('the regulariser takes every filter and no class weight', () => {
    const model = sphereNet9({ ...tiny, head: { loss: 'w-softmax' } });
    const expected = convolutionsOf(model).reduce((sum, { weight }) => sum + orthogonality(weight).item(), 0);
    expect(new OrthogonalityRegularizer({ coefficient: 1 }).forward(model).item() / expected).toBeCloseTo(1, 5);
  });
});

describe('initial values', () => {
  test('twins start from the same filters and class weights', () => {
    const [plain, sphere] = [cnn9({ ...tiny, seed: 3 }), sphereNet9({ ...tiny, seed: 3, convolution: { learnable: 'layer' } })];
    expect(convolutionsOf(sphere).map(({ weight }) => weight.data())).toEqual(convolutionsOf(plain).map(({ weight }) => weight.data()));
    expect(sphere.head.classWeights.data()).toEqual(plain.head.classWeights.data());
  });

  test('depend on the seed alone', () => {
    manualSeed(1);
    const first = valuesOf(cnn9({ ...tiny, seed: 3 }).stateDict());
    manualSeed(2);
    expect(valuesOf(cnn9({ ...tiny, seed: 3 }).stateDict())).toEqual(first);
    expect(valuesOf(cnn9({ ...tiny, seed: 4 }).stateDict())).not.toEqual(first);
  });
});

describe('configuration', () => {
  test.each<[string, CnnOptions]>([
    ['softmax', { ...tiny, depth: 3, head: { loss: 'softmax', bias: false, labelSmoothing: 0.1 } }],
    ['w-softmax', { ...tiny, depth: 3, convolution: { operator: 'cosine' }, head: { loss: 'w-softmax', operator: 'linear' } }],
    ['a-softmax', { ...tiny, depth: 3, convolution: { learnable: 'network', positivity: 'absolute', k: 0.7 }, head: { loss: 'a-softmax', margin: 2 } }],
    ['ga-softmax', { ...tiny, depth: 3, convolution: { k: 0.1 }, head: { loss: 'ga-softmax', k: 0.2, margin: 3, annealing: 'none' }, seed: 9 }],
    ['s-softmax', { ...tiny, depth: 3, convolution: { normGuard: { kind: 'add', eps: 1e-4 } }, head: { loss: 's-softmax', radius: 4 }, relu: false }],
  ])('goes through JSON and makes the same network: %s', (_, options) => {
    const model = cnn(options);
    const again = createModel(JSON.parse(JSON.stringify(model.config)) as ModelOptions);
    expect(again.config).toEqual(model.config);
    expect(valuesOf(again.stateDict())).toEqual(valuesOf(model.stateDict()));
    const [x, labels] = [random([3, 8, 8, 2], 1, 'f32'), randomLabels(3, 2, 2)];
    expect(again.forward(x, labels).loss.item()).toBe(model.forward(x, labels).loss.item());
  });

  test('has the defaults filled in', () => {
    expect(cnn9({ classes: 10 }).config).toEqual({
      network: 'cnn', depth: 9, widths: [64, 96, 128], classes: 10, convolution: 'plain', features: 256, batchNorm: {}, relu: true,
      inputChannels: 3, imageSize: 32, head: { loss: 'softmax' }, seed: 0, sphereNorm: false,
    });
    expect(sphereNet9({ classes: 10 }).config!.convolution).toEqual({});
  });

  const make = (options: object) => () => cnn({ ...tiny, depth: 3, ...options });
  test.each<[string, () => unknown, string, RegExp]>([
    ['depth', make({ depth: 10 }), 'depth', /^depth: expected one of 3\|9\|18\|45\|60\|69, but got 10$/],
    ['classes', make({ classes: 1 }), 'classes', /^classes: expected number to be >=2, but got 1$/],
    ['no classes', make({ classes: undefined }), 'classes', /^classes: expected number, but got undefined$/],
    ['two widths', make({ widths: [1, 2] }), 'widths', /3 items, but got \[1, 2\]$/],
    ['a width', make({ widths: [1, 2, 0] }), 'widths.2', />0, but got 0$/],
    ['features', make({ features: 1.5 }), 'features', /expected int, but got 1\.5$/],
    ['imageSize', make({ imageSize: 7 }), 'imageSize', />=8, but got 7$/],
    ['inputChannels', make({ inputChannels: 0 }), 'inputChannels', />0/],
    ['relu', make({ relu: 1 }), 'relu', /expected boolean, but got 1$/],
    ['seed', make({ seed: -1 }), 'seed', />=0/],
    ['unknown option', make({ width: 3 }), 'width', /^cnn has no option "width"$/],
    ['convolution', make({ convolution: 'spherical' }), 'convolution', /^convolution: expected "plain" or options of SphereConv2d, but got "spherical"$/],
    ['operator', make({ convolution: { operator: 'sine' } }), 'convolution.operator', /"linear"\|"cosine"\|"sigmoid".*, but got "sine"$/],
    ['k', make({ convolution: { k: -1 } }), 'k', /greater than 0, but got -1$/],
    ['k of the network', make({ convolution: { k: -1, learnable: 'network' } }), 'k', /greater than 0, but got -1$/],
    ['type of k', make({ convolution: { k: '1' } }), 'convolution.k', /expected number, but got "1"$/],
    ['k of a cosine', make({ convolution: { operator: 'cosine', k: 1 } }), 'k', /belongs to the sigmoid/],
    ['learnable', make({ convolution: { learnable: 'all' } }), 'convolution.learnable', /"network", but got "all"$/],
    ['learnable cosine', make({ convolution: { operator: 'cosine', learnable: 'network' } }), 'learnable', /belongs to the sigmoid/],
    ['option of the convolution', make({ convolution: { bias: true } }), 'convolution.bias', /^convolution has no option "bias"$/],
    ['batchNorm', make({ batchNorm: { relu: true } }), 'batchNorm.relu', /^batchNorm has no option "relu"$/],
    ['kind of batchNorm', make({ batchNorm: true }), 'batchNorm', /^batchNorm: expected false or options of BatchNorm2d, but got true$/],
    ['sphereNorm', make({ sphereNorm: 'learned' }), 'sphereNorm', /^sphereNorm: expected false or options of SphereNorm, but got "learned"$/],
    ['beta', make({ convolution: {}, sphereNorm: { beta: 'fixed' } }), 'sphereNorm.beta', /^sphereNorm\.beta: expected "learned" or a number, but got "fixed"$/],
    ['option of sphereNorm', make({ convolution: {}, sphereNorm: { channels: 1 } }), 'sphereNorm.channels', /no option "channels"$/],
    ['sphereNorm of plain convolutions', make({ sphereNorm: {} }), 'sphereNorm', /belongs to SphereConvs, but convolution is "plain"$/],
    ['momentum', make({ batchNorm: { momentum: 2 } }), 'momentum', /at most 1/],
    ['loss', make({ head: { loss: 'svm' } }), 'head.loss', /'softmax' .*, but got "svm"$/],
    ['option of the loss', make({ head: { loss: 'softmax', margin: 4 } }), 'head.margin', /^head has no option "margin"$/],
    ['no radius', make({ head: { loss: 's-softmax' } }), 'head.radius', /but got undefined$/],
    ['margin', make({ head: { loss: 'a-softmax', margin: 1.5 } }), 'margin', /integer/],
    ['annealing', make({ head: { loss: 'a-softmax', annealing: 'fast' } }), 'head.annealing', /or a schedule, but got "fast"$/],
    ['schedule', make({ head: { loss: 'a-softmax', annealing: { base: 'high' } } }), 'head.annealing.base', /expected number, but got "high"$/],
    ['network', () => createModel({ ...tiny, depth: 3, network: 'vgg' as never }), 'network', /one of "cnn".*, but got "vgg"/],
  ])('refuses a wrong %s', (_, run, argument, message) => {
    expectThrown(run, OptionError, argument, message);
  });
});

describe('Classifier', () => {
  const model = cnn({ ...tiny, depth: 3 });

  test('errors name the layer, or the head', () => {
    expectThrown(() => model.predict(zeros([2, 8, 8, 3])), ShapeError, 'x', /^features\.conv1_1 \(Conv2d\): x has 3 channels/);
    const labels = tensor(Int32Array.of(0));
    expectThrown(() => model.forward(random([2, 8, 8, 2], 1, 'f32'), labels), ShapeError, 'labels', /^head \(SoftmaxLoss\): labels must/);
  });

  test('assembled by hand has no config', () => {
    const head = new SoftmaxLoss({ inFeatures: 2, classes: 2 });
    expect(new Classifier(new Sequential([new BatchNorm2d({ channels: 2 })]), head).config).toBeNull();
    expectThrown(() => new Classifier(undefined as never, head), OptionError, 'features', /must be a Module/);
    expectThrown(() => new Classifier(head as never, {} as never), OptionError, 'head', /must be a Module/);
  });
});

describe('training', () => {
  /** Noise, with a brighter left or right half that tells the class. */
  function toyProblem(): { images: Tensor; labels: Tensor } {
    const [count, generator] = [32, new Generator(1)];
    const labels = Int32Array.from({ length: count }, (_, i) => i % 2);
    const pixels = Float32Array.from({ length: count * 128 }, (_, i) => {
      const isLeft = i % 16 < 8;
      return 0.5 * generator.normal() + (isLeft === (labels[Math.floor(i / 128)] === 0) ? 0.5 : -0.5);
    });
    return { images: tensor(pixels, [count, 8, 8, 2]), labels: tensor(labels) };
  }

  function train(model: Classifier, steps: number): number[] {
    const { images, labels } = toyProblem();
    const optimizer = new Adam(model.parameters(), { learningRate: 0.01 });
    const regularizer = new OrthogonalityRegularizer();
    return Array.from({ length: steps }, (_, iteration) => {
      model.head.atIteration(iteration);
      optimizer.zeroGrad();
      const { loss, logits, theta } = model.forward(images, labels);
      const total = add(loss, regularizer.forward(model)).keep();
      total.backward();
      optimizer.step();
      const value = total.item();
      for (const each of [total, logits, theta]) each?.dispose();
      return value;
    });
  }

  const convolution = { learnable: 'network' } as const;

  test.each<[string, CnnOptions['head']]>([
    ['softmax', { loss: 'softmax' }],
    ['ga-softmax', { loss: 'ga-softmax', annealing: { base: 100, gamma: 1, power: 1, minimum: 1 } }],
    ['s-softmax', { loss: 's-softmax', radius: 10 }],
  ])('a SphereNet learns two classes in 30 steps with %s', (_, head) => {
    const model = cnn({ ...tiny, depth: 3, convolution, head });
    const { images, labels } = toyProblem();
    const correct = () => noGrad(() => countCorrect(model.eval().predict(images), labels));
    const kBefore = model.stateDict()['features.conv1_1.curvature.free'].item();
    expect(correct()).toBeLessThan(29);
    model.train();
    const losses = train(model, 30);
    expect(losses[29]).toBeLessThan(0.5 * losses[0]);
    expect(correct()).toBe(32);
    expect(model.stateDict()['features.conv1_1.curvature.free'].item()).not.toBe(kBefore);
  });

  test('the same seed twice gives the same weights, bit for bit', () => {
    const trained = (seed: number) => {
      const model = cnn({ ...tiny, depth: 3, convolution, seed });
      return [train(model, 5), valuesOf(model.stateDict())];
    };
    expect(trained(1)).toEqual(trained(1));
    expect(trained(1)).not.toEqual(trained(2));
  });

  test('memory is flat from one step to the next', () => {
    const model = cnn({ ...tiny, depth: 3, convolution, head: { loss: 'ga-softmax' } });
    const after: number[] = [];
    const { images, labels } = toyProblem();
    const optimizer = new Adam(model.parameters());
    for (let i = 0; i < 5; i++) {
      optimizer.zeroGrad();
      const { loss, logits, theta } = model.forward(images, labels);
      loss.backward();
      optimizer.step();
      for (const each of [loss, logits, theta]) each?.dispose();
      after.push(memoryStats().storages);
    }
    expect(new Set(after.slice(1)).size).toBe(1);
  });
});
