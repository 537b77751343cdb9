import { OptionError } from '../../lib/errors';
import { GASoftmaxLoss, SoftmaxLoss } from '../../lib/losses';
import { Classifier } from '../../lib/models';
import { BatchNorm2d, Conv2d, Linear, Parameter, Sequential, SphereConv2d, SphereLinear, SphereNorm } from '../../lib/nn';
import { add } from '../../lib/ops';
import { clipGradNorm, gradientNorm, parameterGroups } from '../../lib/optim';
import { type Tensor, tensor, zeros } from '../../lib/tensor';
import { expectThrown } from '../nn/expectations';

function withGradient(values: number[] | null): Parameter {
  const parameter = new Parameter(zeros([values?.length ?? 1]));
  parameter.grad = values && tensor(values);
  return parameter;
}

describe('gradient norms', () => {
  test('are over all gradients together; a parameter without one does not count', () => {
    expect(gradientNorm([withGradient([3, 0]), withGradient(null), withGradient([-4])])).toBeCloseTo(5, 6);
    expect(gradientNorm([withGradient(null)])).toBe(0);
  });

  test('are over gradients of several dtypes, too', () => {
    const double = new Parameter(zeros([1000], { dtype: 'f64' }));
    double.grad = tensor(new Float64Array(1000).fill(2));
    const single = withGradient(Array<number>(1000).fill(1));
    expect(gradientNorm([single, double])).toBeCloseTo(Math.sqrt(5000), 4);
    expect(gradientNorm([double, single])).toBeCloseTo(Math.sqrt(5000), 4);
  });

  test('clipping scales all gradients alike, and returns the norm before', () => {
    const parameters = [withGradient([3, 0]), withGradient(null), withGradient([-4])];
    expect(clipGradNorm(parameters, 2.5)).toBeCloseTo(5, 6);
    expect(parameters.map(({ grad }) => grad?.toArray())).toEqual([[1.5, 0], undefined, [-2]]);
    expect(gradientNorm(parameters)).toBeCloseTo(2.5, 6);
  });

  test('clipping scales gradients that share memory once', () => {
    const parameters = [new Parameter(zeros([2])), new Parameter(zeros([2]))];
    add(parameters[0], parameters[1]).backward({ gradient: tensor([3, 4]) });
    clipGradNorm(parameters, Math.SQRT1_2);
    for (const { grad } of parameters) expect(Array.from(grad!.data())).toEqual([expect.closeTo(0.3, 6), expect.closeTo(0.4, 6)]);
  });

  test('clipping leaves a smaller gradient as it is', () => {
    const parameter = withGradient([0.3, 0.4]);
    const before = parameter.grad!.data();
    expect(clipGradNorm([parameter], 0.6)).toBeCloseTo(0.5, 6);
    expect(parameter.grad!.data()).toEqual(before);
  });

  test.each([0, -1, NaN])('a limit of %d is refused', (maxNorm) => {
    expectThrown(() => clipGradNorm([withGradient([1])], maxNorm), OptionError, 'maxNorm', /greater than 0/);
  });
});

describe('parameterGroups', () => {
  const layers = new Sequential({
    conv: new Conv2d({ inChannels: 1, outChannels: 2, kernelSize: 1 }),
    norm: new BatchNorm2d({ channels: 2 }),
    sphere: new SphereConv2d({ inChannels: 2, outChannels: 2, kernelSize: 1, learnable: 'filter', bias: true }),
    rescale: new SphereNorm({ channels: 2 }),
    linear: new Linear({ inFeatures: 2, outFeatures: 2 }),
    angular: new SphereLinear({ inFeatures: 2, outFeatures: 2 }),
  });
  const size = { inFeatures: 2, classes: 2 };
  const namesOf = (module: Classifier) => {
    const names = new Map<Tensor, string>(module.namedParameters().map(([name, parameter]) => [parameter, name]));
    const groups = parameterGroups(module, { weightDecay: 5e-4, normDecay: 1e-4 });
    return groups.map(({ parameters, weightDecay }) => [weightDecay, parameters.map((each) => names.get(each))]);
  };
  const norms = ['features.norm.gamma', 'features.norm.beta'];
  const undecayed = [
    'features.conv.bias', 'features.sphere.weight', 'features.sphere.bias',
    'features.sphere.curvature.free', 'features.rescale.beta', 'features.rescale.gamma', 'features.linear.bias', 'features.angular.weight',
  ];

  test('plain weights decay, class weights of the softmax among them, and BatchNorm by a decay of its own', () => {
    expect(namesOf(new Classifier(layers, new SoftmaxLoss(size)))).toEqual([
      [5e-4, ['features.conv.weight', 'features.linear.weight', 'head.linear.weight']],
      [1e-4, norms],
      [0, [...undecayed, 'head.linear.bias']],
    ]);
  });

  test('class weights of an angular loss are not', () => {
    expect(namesOf(new Classifier(layers, new GASoftmaxLoss(size)))).toEqual([
      [5e-4, ['features.conv.weight', 'features.linear.weight']],
      [1e-4, norms],
      [0, [...undecayed, 'head.weight']],
    ]);
  });

  test('without a decay of its own BatchNorm has none, in the order that earlier checkpoints have', () => {
    expect(parameterGroups(layers, { weightDecay: 5e-4 }).map(({ weightDecay }) => weightDecay)).toEqual([5e-4, 0]);
  });

  test.each<[string, unknown, string]>([['a negative decay', { weightDecay: -1 }, 'weightDecay'], ['a negative decay of norms', { weightDecay: 0, normDecay: -1 }, 'normDecay'], ['another option', { weightDecay: 0, lr: 1 }, 'lr']])(
    'refuses %s',
    (_, options, argument) => {
      expectThrown(() => parameterGroups(layers, options as never), OptionError, argument, /./);
    },
  );
});
