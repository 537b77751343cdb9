import { OptionError } from '../../lib/errors';
import { OrthogonalityRegularizer, WSoftmaxLoss } from '../../lib/losses';
import { Classifier } from '../../lib/models';
import { Conv2d, Flatten, Sequential, SphereConv2d, SphereLinear } from '../../lib/nn';
import { orthogonality } from '../../lib/ops';
import { random } from '../support/tensors';
import { expectThrown } from '../nn/expectations';

const conv = new SphereConv2d({ inChannels: 2, outChannels: 3, kernelSize: 3 });
const linear = new SphereLinear({ inFeatures: 4, outFeatures: 2 });
const plain = new Conv2d({ inChannels: 3, outChannels: 4, kernelSize: 1 });
const network = new Sequential([conv, plain, new Flatten(), linear]);
const cost = (normalized = false) => orthogonality(conv.weight, { normalized }).item() + orthogonality(linear.weight, { normalized }).item();

test('sums over every sphere layer below a module, plain layers left out', () => {
  const regularizer = new OrthogonalityRegularizer();
  expect(regularizer.forward(network).item()).toBeCloseTo(1e-4 * cost(), 9);
  expect(regularizer.forward([conv, linear]).item()).toBeCloseTo(1e-4 * cost(), 9);
});

test('leaves out the class weights of a head', () => {
  const model = new Classifier(network, new WSoftmaxLoss({ inFeatures: 2, classes: 3 }));
  expect(new OrthogonalityRegularizer().forward(model).item()).toBeCloseTo(1e-4 * cost(), 9);
});

test('takes weights, and each filter once', () => {
  const regularizer = new OrthogonalityRegularizer({ coefficient: 1 });
  expect(regularizer.forward(plain.weight).item()).toBeCloseTo(orthogonality(plain.weight).item(), 5);
  expect(regularizer.forward([network, conv, linear.weight]).item()).toBeCloseTo(cost(), 5);
});

test('directions alone, with a coefficient', () => {
  const regularizer = new OrthogonalityRegularizer({ coefficient: 0.5, normalized: true });
  expect(regularizer.forward(network).item()).toBeCloseTo(0.5 * cost(true), 4);
  expect(cost(true)).not.toBeCloseTo(cost(), 2);
});

test('its gradient reaches the filters', () => {
  const weight = random([3, 5], 1, 'f32');
  new OrthogonalityRegularizer({ coefficient: 0.25 }).forward(weight).backward();
  const expected = random([3, 5], 1, 'f32');
  orthogonality(expected).backward();
  expected.grad!.data().forEach((value: number, i: number) => {
    expect(weight.grad!.data()[i]).toBeCloseTo(0.25 * value, 6);
  });
});

test.each<[string, () => unknown, string, RegExp]>([
  ['a negative coefficient', () => new OrthogonalityRegularizer({ coefficient: -1 }), 'coefficient', /at least 0/],
  ['normalized', () => new OrthogonalityRegularizer({ normalized: 1 as never }), 'normalized', /true or false/],
  ['an unknown option', () => new OrthogonalityRegularizer({ lambda: 1 } as never), 'lambda', /no option/],
  ['a network without sphere layers', () => new OrthogonalityRegularizer().forward(new Sequential([plain])), 'filters', /no SphereConv2d/],
])('refuses %s', (_, run, argument, message) => {
  expectThrown(run, OptionError, argument, message);
});
