import { OptionError } from '../../lib/errors';
import {
  type Classifier, createModel, resNet18, type ResNet18Options, resNet32, type ResNet32Options, sphereResNet18, sphereResNet32,
} from '../../lib/models';
import { BatchNorm2d, Conv2d, type Module, SphereConv2d, summary } from '../../lib/nn';
import { noGrad, zeros } from '../../lib/tensor';
import { expectThrown } from '../nn/expectations';

const tiny32: ResNet32Options = { classes: 3, widths: [2, 3, 4] };
const tiny18: ResNet18Options = { classes: 3, widths: [2, 3, 4, 5] };

const parametersOf = (model: Module) => model.parameters().reduce((sum, { size }) => sum + size, 0);

function convolutionNames(model: Classifier, type: typeof Conv2d | typeof SphereConv2d): string[] {
  return model.features.namedModules().filter(([, module]) => module instanceof type).map(([name]) => name);
}

/** Filters, BatchNorm and classifier of a ResNet-32 of these widths, counted by hand. */
function resNet32Parameters([a, b, c]: [number, number, number], classes: number): number {
  const stage = (from: number, to: number) => 9 * from * to + 9 * 9 * to * to + (from === to ? 0 : from * to);
  const norms = 2 * (a + 10 * a + 11 * b + 11 * c);
  return 9 * 3 * a + stage(a, a) + stage(a, b) + stage(b, c) + norms + classes * c + classes;
}

describe('ResNet-32', () => {
  // Those of the authors' code are 96, 192 and 384: an eighth of them is quicker to make.
  test.each<[[number, number, number], number]>([
    [[16, 32, 64], 466_906],
    [[12, 24, 48], resNet32Parameters([12, 24, 48], 10)],
  ])('of widths %j has %d parameters, as its twin', (widths, expected) => {
    expect(resNet32Parameters([16, 32, 64], 10)).toBe(466_906);
    for (const make of [resNet32, sphereResNet32]) {
      using model = make({ widths, classes: 10 });
      expect(parametersOf(model)).toBe(expected);
    }
  });

  test('layers, in their order: root, three stages of five blocks, the mean, the classifier', () => {
    const { rows } = summary(resNet32(tiny32), [32, 32, 3]);
    const body = ['conv1', 'norm1', 'conv2', 'norm2'].map((name) => `body.${name}`);
    const stage = (s: number) => [1, 2, 3, 4, 5].flatMap((i) => {
      const shortcut = s > 1 && i === 1 ? ['shortcut.conv', 'shortcut.norm'] : [];
      return [...shortcut, ...body].map((layer) => `features.block${s}_${i}.${layer}`);
    });
    expect(rows.map(({ name }) => name)).toEqual([
      'features.conv0', 'features.norm0', ...stage(1), ...stage(2), ...stage(3), 'features.pool', 'head.linear',
    ]);
    const shapeOf = (name: string) => rows.find((row) => row.name === `features.${name}`)!.outputShape;
    expect(['conv0', 'block1_5.body.norm2', 'block2_1.body.conv1', 'block2_1.shortcut.conv', 'block3_5.body.norm2', 'pool'].map(shapeOf))
      .toEqual([[32, 32, 2], [32, 32, 2], [16, 16, 3], [16, 16, 3], [8, 8, 4], [4]]);
  });

  test('a SphereResNet-32 has plain convolutions in its shortcuts alone, and no bias', () => {
    const model = sphereResNet32({ ...tiny32, convolution: { operator: 'linear' } });
    expect(convolutionNames(model, Conv2d)).toEqual(['block2_1.shortcut.conv', 'block3_1.shortcut.conv']);
    expect(convolutionNames(model, SphereConv2d)).toHaveLength(31);
    expect(model.features.namedParameters().filter(([name]) => name.endsWith('bias'))).toEqual([]);
    expect(convolutionNames(resNet32(tiny32), SphereConv2d)).toEqual([]);
  });

  test('a ReLU follows the first BatchNorm of a block and the addition, none is before the addition', () => {
    const norms = resNet32({ ...tiny32, batchNorm: { momentum: 0.001, eps: 1e-3 } }).features.namedModules()
      .flatMap(([name, module]) => (module instanceof BatchNorm2d ? [{ name, module }] : []));
    expect(new Set(norms.map(({ module: { momentum, eps } }) => `${momentum} ${eps}`))).toEqual(new Set(['0.001 0.001']));
    expect(norms.filter(({ module }) => module.relu).map(({ name }) => name)).toEqual([
      'norm0', ...[1, 2, 3].flatMap((s) => [1, 2, 3, 4, 5].map((i) => `block${s}_${i}.body.norm1`)),
    ]);
  });

  test('one k for the network', () => {
    const model = sphereResNet32({ ...tiny32, convolution: { learnable: 'network' } });
    expect(model.namedParameters().filter(([name]) => name.endsWith('curvature.free')).map(([name]) => name)).toEqual(['features.conv0.curvature.free']);
  });
});

describe('ResNet-18', () => {
  // torchvision.models.resnet18().
  test('has 11,689,512 parameters with 1000 classes', () => {
    using model = resNet18({ classes: 1000 });
    expect(parametersOf(model)).toBe(11_689_512);
  });

  test('v1 has SphereConvs everywhere, v2 plain convolutions in its shortcuts', () => {
    const shortcuts = ['block2_1.shortcut.conv', 'block3_1.shortcut.conv', 'block4_1.shortcut.conv'];
    expect(convolutionNames(sphereResNet18(tiny18), Conv2d)).toEqual(shortcuts);
    expect(convolutionNames(sphereResNet18(tiny18), SphereConv2d)).toHaveLength(17);
    const v1 = sphereResNet18({ ...tiny18, sphereShortcuts: true });
    expect([convolutionNames(v1, Conv2d), convolutionNames(v1, SphereConv2d).length]).toEqual([[], 20]);
    expect(createModel({ ...tiny18, network: 'resnet18', sphereShortcuts: true, convolution: 'plain' }).config)
      .toEqual(resNet18({ ...tiny18, sphereShortcuts: true }).config);
  });

  test('halves the images at the root, the pooling and three stages', () => {
    const { rows } = summary(resNet18(tiny18), [224, 224, 3]);
    const shapeOf = (name: string) => rows.find((row) => row.name === `features.${name}`)!.outputShape;
    const names = ['conv0', 'norm0', 'pool0', 'block1_2.body.norm2', 'block2_1.shortcut.conv', 'block3_2.body.norm2', 'block4_2.body.norm2', 'pool'];
    expect(names.map(shapeOf)).toEqual([
      [112, 112, 2], [112, 112, 2], [56, 56, 2], [56, 56, 2], [28, 28, 3], [14, 14, 4], [7, 7, 5], [5],
    ]);
  });

  test.each([[1, 1], [17, 40], [32, 32]])('takes images of %d by %d pixels', (height, width) => {
    const model = sphereResNet18({ ...tiny18, inputChannels: 1 }).eval();
    expect(noGrad(() => model.predict(zeros([2, height, width, 1]))).shape).toEqual([2, 3]);
  });
});

test.each<[string, () => unknown, string, RegExp]>([
  ['ResNet-32: widths', () => resNet32({ classes: 3, widths: [1, 2, 3, 4] as never }), 'widths', /3 items, but got \[1, 2, 3, 4\]$/],
  ['ResNet-32: sphereShortcuts', () => resNet32({ ...tiny32, sphereShortcuts: true } as never), 'sphereShortcuts', /^resnet32 has no option "sphereShortcuts"$/],
  ['ResNet-18: widths', () => resNet18({ classes: 3, widths: [1, 2, 3] as never }), 'widths', /4 items, but got \[1, 2, 3\]$/],
  ['ResNet-18: sphereShortcuts', () => resNet18({ ...tiny18, sphereShortcuts: 1 as never }), 'sphereShortcuts', /expected boolean, but got 1$/],
  ['ResNet-18: imageSize', () => resNet18({ ...tiny18, imageSize: 0 }), 'imageSize', />0, but got 0$/],
])('%s is refused', (_, run, argument, message) => {
  expectThrown(run, OptionError, argument, message);
});
