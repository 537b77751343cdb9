import { OptionError } from '../../lib/errors';
import {
  createRegularizer, type FilterRegularizer, MheRegularizer, MmaRegularizer, OrthogonalityRegularizer, regularizerNames, SoftmaxLoss,
  WSoftmaxLoss,
} from '../../lib/losses';
import { regularizerSchema } from '../../lib/losses/regularizerRegistry';
import { Classifier } from '../../lib/models';
import { Conv2d, Flatten, Sequential, SphereConv2d, SphereLinear } from '../../lib/nn';
import { hypersphericalEnergy, minimalAngle, orthogonality } from '../../lib/ops';
import type { Tensor } from '../../lib/tensor';
import { expectThrown } from '../nn/expectations';

const sphere = () => new SphereConv2d({ inChannels: 3, outChannels: 3, kernelSize: 1 });
const parts = { conv1: sphere(), conv2: sphere(), plain: new Conv2d({ inChannels: 3, outChannels: 3, kernelSize: 1 }) };
const [inBlock, projection] = [sphere(), sphere()];
// Named as in a residual network; the forward pass does not matter here.
const block = new Sequential({ conv1: inBlock, shortcut: new Sequential({ conv: projection }) });
const fc = new SphereLinear({ inFeatures: 3, outFeatures: 4 });
const features = new Sequential({ ...parts, block, flatten: new Flatten(), fc });
const model = new Classifier(features, new WSoftmaxLoss({ inFeatures: 4, classes: 3 }));
const { conv1, conv2, plain } = parts;
const [inner, inShortcut] = [inBlock.weight, projection.weight];
const standard = [conv1.weight, conv2.weight, inner, fc.weight];

function sumOf(weights: readonly Tensor[], penalty: (weight: Tensor) => Tensor): number {
  return weights.reduce((sum, weight) => sum + penalty(weight).item(), 0);
}

const kinds: [string, (options: object) => FilterRegularizer, (weight: Tensor) => Tensor][] = [
  ['orthogonality', (options) => new OrthogonalityRegularizer(options), orthogonality],
  ['mhe', (options) => new MheRegularizer(options), hypersphericalEnergy],
  ['mma', (options) => new MmaRegularizer(options), minimalAngle],
];

test('every regularizer has its row here', () => {
  expect(kinds.map(([name]) => name)).toEqual(regularizerNames);
});

describe.each(kinds)('%s', (name, make, penalty) => {
  const costOf = (options: object) => make({ coefficient: 1, ...options }).forward(model).item();

  test('is of every sphere layer, but not of shortcuts, plain layers and class weights', () => {
    expect(costOf({})).toBeCloseTo(sumOf(standard, penalty), 4);
  });

  test('leaves out the layers that it is told to', () => {
    expect(costOf({ exclude: [] })).toBeCloseTo(sumOf([...standard, inShortcut], penalty), 4);
    expect(costOf({ exclude: ['shortcut', 'features.conv2', 'fc'] })).toBeCloseTo(sumOf([conv1.weight, inner], penalty), 4);
    // Both layers of this name.
    expect(costOf({ exclude: ['conv1', 'block'] })).toBeCloseTo(sumOf([conv2.weight, fc.weight], penalty), 4);
  });

  test('takes in those that are named', () => {
    const wanted = [...standard, plain.weight, inShortcut, model.head.classWeights];
    expect(costOf({ include: ['plain', 'shortcut.conv', 'head'] })).toBeCloseTo(sumOf(wanted, penalty), 4);
    expect(costOf({ exclude: ['features'], include: ['block.conv1'] })).toBeCloseTo(penalty(inner).item(), 5);
  });

  test('is made of a config, with its coefficient', () => {
    const config = regularizerSchema.parse({ regularizer: name, coefficient: 0.5, exclude: ['fc', 'shortcut'] });
    expect(createRegularizer(config).forward(model).item()).toBeCloseTo(0.5 * costOf({ exclude: ['fc', 'shortcut'] }), 4);
    expect(regularizerSchema.safeParse({ regularizer: name, lambda: 1 }).success).toBe(false);
  });

  test.each<[string, object, string, RegExp]>([
    ['a negative coefficient', { coefficient: -1 }, 'coefficient', /at least 0/],
    ['an unknown option', { lambda: 1 }, 'lambda', /no option/],
    ['no list', { exclude: 'fc' }, 'exclude', /a list of names of layers, but got "fc"/],
    ['a name that no layer has', { exclude: ['conv3'] }, 'exclude', /exclude names "conv3", but the layers are features.conv1, /],
    ['the same to include', { include: ['conv3'] }, 'include', /include names "conv3"/],
  ])('refuses %s', (_, options, argument, message) => {
    expectThrown(() => make(options).forward(model), OptionError, argument, message);
  });
});

test('orthogonality: normalized in the layers named, raw in the others', () => {
  const regularizer = new OrthogonalityRegularizer({ coefficient: 1, normalized: ['fc', 'block'], include: ['head'] });
  const raw = (weight: Tensor) => orthogonality(weight, { normalized: false });
  const directions = (weight: Tensor) => orthogonality(weight, { normalized: true });
  const expected = sumOf([conv1.weight, conv2.weight, model.head.classWeights], raw) + sumOf([inner, fc.weight], directions);
  expect(regularizer.forward(model).item()).toBeCloseTo(expected, 4);
  expectThrown(() => new OrthogonalityRegularizer({ normalized: ['fd'] }).forward(model), OptionError, 'normalized', /names "fd"/);
  const leftOut = new OrthogonalityRegularizer({ normalized: ['fc'], exclude: ['fc'] });
  expectThrown(() => leftOut.forward(model), OptionError, 'normalized', /names "fc"/);
  expectThrown(() => new OrthogonalityRegularizer({ normalized: [1] as never }), OptionError, 'normalized', /a list of names/);
});

test('options of MHE', () => {
  const cost = new MheRegularizer({ power: 0, halfSpace: true, coefficient: 2 }).forward([conv1, fc]).item();
  expect(cost).toBeCloseTo(2 * sumOf([conv1.weight, fc.weight], (w) => hypersphericalEnergy(w, { power: 0, halfSpace: true })), 4);
  expectThrown(() => new MheRegularizer({ power: 3 as never }), OptionError, 'power', /one of 0, 1, 2/);
  expectThrown(() => new MheRegularizer({ halfSpace: 1 as never }), OptionError, 'halfSpace', /true or false/);
});

test('the class weights of a softmax go by the name of the head too', () => {
  const plainModel = new Classifier(new Sequential([plain]), new SoftmaxLoss({ inFeatures: 3, classes: 3 }));
  const regularizer = new OrthogonalityRegularizer({ coefficient: 1, include: ['head'] });
  expect(regularizer.forward(plainModel).item()).toBeCloseTo(orthogonality(plainModel.head.classWeights).item(), 5);
});

test('an unknown name of a regularizer', () => {
  expectThrown(() => createRegularizer({ regularizer: 'mhs' } as never), OptionError, 'regularizer', /one of "orthogonality", "mhe", "mma"/);
});
