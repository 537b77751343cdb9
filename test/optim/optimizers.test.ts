import { memoryStats } from '../../lib/device';
import { CheckpointError, DisposedError, DTypeError, OptionError, ShapeError } from '../../lib/errors';
import { Parameter } from '../../lib/nn';
import { relu } from '../../lib/ops';
import { Adam, gradientNorm, type Optimizer, type OptimizerState, type ParameterGroup, SGD } from '../../lib/optim';
import { full, ones, type Tensor, tensor, tidy, zeros } from '../../lib/tensor';
import { expectThrown } from '../nn/expectations';
import { type FixtureCase, loadFixtures } from '../support/fixtures';
import { random, relativeError } from '../support/tensors';

function optimizerOf(params: FixtureCase['params'], parameters: Tensor[]): Optimizer {
  const { optimizer, ...options } = params as { optimizer: string; learningRate: number };
  if (optimizer === 'sgd') return new SGD(parameters, options);
  return new Adam(parameters, { ...options, decoupled: optimizer === 'adamw' });
}

/** Sets a gradient as backward() would. */
function setGradient(parameter: Tensor, values: ArrayLike<number>): void {
  parameter.grad?.dispose();
  parameter.grad = tensor(Float64Array.from(values), parameter.shape, { dtype: parameter.dtype }).keep();
}

describe.each([['f32', 1e-6], ['f64', 1e-7]] as const)('five steps agree with PyTorch in %s', (dtype, tolerance) => {
  test.each([...loadFixtures('optimizers.safetensors')])('%s', (_, { params, tensors }) => {
    const { param, grads, params: expected } = tensors;
    const length = param.data.length;
    // Two tensors, so that one native call has to update both.
    const cut = 20;
    const parts = [param.data.slice(0, cut), param.data.slice(cut)];
    const parameters = parts.map((part) => new Parameter(tensor(Float64Array.from(part), [part.length], { dtype })));
    const optimizer = optimizerOf(params, parameters);
    for (let step = 0; step < 5; step++) {
      const row = grads.data.slice(step * length, (step + 1) * length);
      setGradient(parameters[0], row.slice(0, cut));
      setGradient(parameters[1], row.slice(cut));
      optimizer.step();
      const actual = parameters.flatMap((parameter) => [...parameter.data()]);
      expect(relativeError(actual, expected.data.slice(step * length, (step + 1) * length))).toBeLessThan(tolerance);
    }
  });
});

const makers: [string, (parameters: Tensor[] | ParameterGroup[]) => Optimizer][] = [
  ['Adam', (parameters) => new Adam(parameters, { learningRate: 0.1 })],
  ['SGD', (parameters) => new SGD(parameters, { learningRate: 0.1, momentum: 0.9 })],
];

describe.each(makers)('%s', (name, make) => {
  const parametersOf = (...values: number[]) => values.map((value) => new Parameter(full([2], value)));
  const setGradients = (parameters: Tensor[], value: number) => { for (const each of parameters) setGradient(each, [value, value]); };

  test('leaves out parameters without a gradient, and counts their steps apart', () => {
    const [a, b] = parametersOf(1, 1);
    const optimizer = make([a, b]);
    setGradient(a, [1, 1]);
    optimizer.step();
    expect(b.toArray()).toEqual([1, 1]);
    const afterOne = a.toArray();
    optimizer.zeroGrad();
    setGradient(b, [1, 1]);
    optimizer.step();
    expect([a.toArray(), b.toArray()]).toEqual([afterOne, afterOne]);
    expect(optimizer.stateDict().values.steps).toEqual([1, 1]);
  });

  test('groups have rates of their own, which follow when the rate is set', () => {
    const [a, b] = parametersOf(0, 0);
    const optimizer = make([{ parameters: [a] }, { parameters: [b], learningRate: 0.02 }]);
    const step = () => {
      setGradients([a, b], 1);
      optimizer.step();
      return [a, b].map((parameter) => parameter.data()[0]);
    };
    const [a1, b1] = step();
    expect(a1 / b1).toBeCloseTo(5, 5);
    optimizer.learningRate = 0.01;
    const [a2, b2] = step();
    expect((a2 - a1) / (b2 - b1)).toBeCloseTo(5, 4);
    expect(optimizer.learningRate).toBe(0.01);
    optimizer.learningRate = 0;
    expect(step()).toEqual([a2, b2]);
  });

  test('groups have a weight decay of their own', () => {
    const [a, b] = parametersOf(1, 1);
    const optimizer = make([{ parameters: [a], weightDecay: 0.5 }, { parameters: [b], weightDecay: 0 }]);
    setGradients([a, b], 0);
    optimizer.step();
    expect(a.data()[0]).toBeLessThan(1);
    expect(b.toArray()).toEqual([1, 1]);
  });

  test('an empty group is no matter', () => {
    const [a] = parametersOf(1);
    const optimizer = make([{ parameters: [] }, { parameters: [a] }]);
    setGradients([a], 1);
    optimizer.step();
    expect(a.data()[0]).toBeLessThan(1);
  });

  test('parameters of several dtypes in one group are updated alike', () => {
    const run = (dtypes: readonly ('f32' | 'f64')[]) => {
      const parameters = dtypes.map((dtype) => new Parameter(full([1000], 1, { dtype })));
      const optimizer = make(parameters);
      for (const parameter of parameters) setGradient(parameter, new Float64Array(1000).fill(1));
      optimizer.step();
      optimizer.step();
      return parameters.map((parameter) => [...parameter.data().slice(0, 1), ...parameter.data().slice(-1)]);
    };
    const [single, double] = [run(['f32'])[0], run(['f64'])[0]];
    expect(run(['f64', 'f32', 'f64'])).toEqual([double, single, double]);
  });

  test.each<[string, () => Tensor, typeof OptionError, RegExp]>([
    ['shape', () => full([1], 1), ShapeError, /parameters\[1\]\.grad has shape \[1\], but \[2\] is needed/],
    ['dtype', () => full([2], 1, { dtype: 'f64' }), DTypeError, /parameters\[1\]\.grad must be f32 like its tensor, but is f64/],
  ])('a gradient of another %s is refused before anything is changed', (_, gradient, type, message) => {
    const [a, b] = parametersOf(1, 1);
    const optimizer = make([{ parameters: [a] }, { parameters: [...parametersOf(1), b] }]);
    setGradients([a], 1);
    // As a parameter and its gradient may come apart: setting `grad` refuses it.
    const fitting = full([2], 1);
    b.grad = fitting;
    Object.defineProperty(b, 'grad', { value: gradient() });
    expectThrown(() => { optimizer.step(); }, type, 'parameters[1].grad', message);
    expectThrown(() => gradientNorm([a, b]), type, 'parameters[1].grad', message);
    expect([a.toArray(), optimizer.stateDict().values.steps]).toEqual([[1, 1], [0, 0, 0]]);
  });

  test('a step that fails changes no parameter, moment or count of any group', () => {
    const [a, b] = parametersOf(1, 1);
    const optimizer = make([{ parameters: [a] }, { parameters: [b] }]);
    setGradients([a, b], 1);
    optimizer.step();
    const standing = () => [a, b, ...Object.values(optimizer.stateDict().tensors)].map((each) => each.toArray());
    const before = [standing(), optimizer.stateDict().values];
    b.grad!.dispose();
    expectThrown(() => { optimizer.step(); }, DisposedError, 'parameters[0].grad', /was used after its release/);
    expect([standing(), optimizer.stateDict().values]).toEqual(before);
    setGradients([b], 1);
    b.dispose();
    expect(() => { optimizer.step(); }).toThrow(DisposedError);
    expect([a.toArray(), optimizer.stateDict().values]).toEqual([[0.9, 0.9].map(Math.fround), before[1]]);
  });

  test('takes no closure', () => {
    const optimizer = make(parametersOf(1));
    expectThrown(() => { (optimizer.step as (closure: unknown) => void).call(optimizer, () => 1); }, OptionError, 'argument', /step has no further/);
  });

  test('zeroGrad releases the gradients', () => {
    const [a] = parametersOf(1);
    const optimizer = make([a]);
    setGradients([a], 1);
    const { grad } = a;
    optimizer.zeroGrad();
    expect([a.grad, grad!.disposed]).toEqual([null, true]);
  });

  test('goes on from a state as if never interrupted', () => {
    const parameters = parametersOf(1, 2, 3);
    const optimizer = make(parameters);
    const steps = (count: number, by: Optimizer, on: Tensor[]) => {
      for (let i = 0; i < count; i++) {
        setGradients(on.slice(0, 2), Math.sin(i) + 2);
        by.step();
      }
    };
    steps(3, optimizer, parameters);
    const copies = parameters.map((parameter) => new Parameter(parameter.clone()));
    const resumed = make(copies);
    const { tensors, values } = optimizer.stateDict();
    expect(Object.keys(tensors)).toEqual(name === 'SGD' ? ['0.velocity', '1.velocity'] : ['0.firstMoment', '0.secondMoment', '1.firstMoment', '1.secondMoment']);
    expect(values).toEqual({ optimizer: name, learningRate: 0.1, steps: [3, 3, 0] });
    resumed.loadStateDict({ tensors, values: JSON.parse(JSON.stringify(values)) });
    steps(3, optimizer, parameters);
    steps(3, resumed, copies);
    expect(copies.map((copy) => copy.data())).toEqual(parameters.map((parameter) => parameter.data()));
    const fresh = make(parametersOf(1, 2, 3));
    fresh.learningRate = 0.5;
    fresh.loadStateDict(optimizer.stateDict());
    expect(fresh.learningRate).toBe(0.1);
  });

  test('outlives a scope and releases all when disposed', () => {
    const [a] = parametersOf(1);
    const optimizer = make([a]);
    setGradients([a], 1);
    const before = memoryStats().storages;
    tidy(() => { optimizer.step(); });
    expect(memoryStats().storages).toBe(before + (name === 'SGD' ? 1 : 2));
    optimizer.step();
    optimizer.dispose();
    expect(memoryStats().storages).toBe(before);
  });

  test.each<[string, (state: OptimizerState) => { tensors: Record<string, Tensor>; values: unknown }, string, RegExp]>([
    ['of the other optimizer', ({ tensors, values }) => ({ tensors, values: { ...values, optimizer: 'Other' } }), 'values', /are of Other, but this optimizer is/],
    ['of more parameters', ({ tensors, values }) => ({ tensors, values: { ...values, steps: [1, 1] } }), 'values', /of 2 parameters.* has 1/],
    ['that is none', ({ tensors }) => ({ tensors, values: { learningRate: 'x' } }), 'values', /no state of an optimizer/],
    ['without tensors', ({ values }) => ({ tensors: {}, values }), 'tensors', /missing: 0\./],
    ['with tensors too many', ({ tensors, values }) => ({ tensors: { ...tensors, more: ones([1]) }, values }), 'tensors', /unexpected: more/],
    ['misshaped', ({ tensors, values }) => ({ tensors: Object.fromEntries(Object.keys(tensors).map((key) => [key, ones([3])])), values }), 'tensors', /f32 \[3\] where f32 \[2\]/],
  ])('does not load a state %s, and nothing has changed', (_, damage, argument, message) => {
    const [a, b] = parametersOf(1, 1);
    const [source, target] = [make([a]), make([b])];
    setGradients([a, b], 1);
    source.step();
    target.step();
    target.learningRate = 0.5;
    const before = target.stateDict();
    const values = Object.values(before.tensors).map((each) => each.data());
    expectThrown(() => { target.loadStateDict(damage(source.stateDict())); }, CheckpointError, argument, message);
    expect(target.stateDict().values).toEqual(before.values);
    expect(Object.values(target.stateDict().tensors).map((each) => each.data())).toEqual(values);
  });
});

test('a step works on gradients that backward() made', () => {
  const parameter = new Parameter(tensor([1, -1]));
  relu(parameter).backward({ gradient: ones([2]) });
  new SGD([parameter], { learningRate: 0.5 }).step();
  expect(parameter.toArray()).toEqual([0.5, -1]);
});

const leaf = () => new Parameter(zeros([1]));
const rate = { learningRate: 0.1 };
test.each<[string, () => unknown, new (...args: never[]) => OptionError, string, RegExp]>([
  ['Adam: learningRate', () => new Adam([leaf()], { learningRate: 0 }), OptionError, 'learningRate', /greater than 0/],
  ['Adam: beta1', () => new Adam([leaf()], { beta1: 1 }), OptionError, 'beta1', /less than 1/],
  ['Adam: beta2', () => new Adam([leaf()], { beta2: -1 }), OptionError, 'beta2', /at least 0/],
  ['Adam: eps', () => new Adam([leaf()], { eps: 0 }), OptionError, 'eps', /greater than 0/],
  ['Adam: weightDecay', () => new Adam([leaf()], { weightDecay: -1 }), OptionError, 'weightDecay', /at least 0/],
  ['Adam: decoupled', () => new Adam([leaf()], { decoupled: 1 as never }), OptionError, 'decoupled', /true or false/],
  ['Adam: unknown', () => new Adam([leaf()], { lr: 1 } as never), OptionError, 'lr', /Adam has no option/],
  ['SGD: learningRate', () => new SGD([leaf()], {} as never), OptionError, 'learningRate', /but got undefined/],
  ['SGD: momentum', () => new SGD([leaf()], { ...rate, momentum: 1 }), OptionError, 'momentum', /less than 1/],
  ['SGD: nesterov', () => new SGD([leaf()], { ...rate, nesterov: true }), OptionError, 'nesterov', /needs a momentum/],
  ['SGD: unknown', () => new SGD([leaf()], { ...rate, dampening: 1 } as never), OptionError, 'dampening', /SGD has no option/],
  ['no parameters', () => new SGD([], rate), OptionError, 'parameters', /at least one/],
  ['no array', () => new SGD(leaf() as never, rate), OptionError, 'parameters', /array of tensors or of groups, but got Parameter/],
  ['a parameter twice', () => { const a = leaf(); return new SGD([{ parameters: [a] }, { parameters: [a] }], rate); }, OptionError, 'parameters', /once/],
  ['no gradient required', () => new SGD([zeros([1])], rate), OptionError, 'parameters[0]', /leaf that requires a gradient/],
  ['a result', () => new SGD([leaf(), relu(random([1], 1))], rate), OptionError, 'parameters[1]', /leaf/],
  ['labels', () => new SGD([zeros([1], { dtype: 'i32' })], rate), DTypeError, 'parameters[0]', /f32 or f64/],
  ['an unknown key of a group', () => new SGD([{ parameters: [leaf()], lr: 1 } as never], rate), OptionError, 'lr', /no option "lr"/],
  ['a rate of a group', () => new SGD([{ parameters: [leaf()], learningRate: 0 }], rate), OptionError, 'learningRate', /greater than 0/],
  ['a decay of a group', () => new SGD([{ parameters: [leaf()], weightDecay: NaN }], rate), OptionError, 'weightDecay', /finite/],
  ['a later rate', () => { new SGD([leaf()], rate).learningRate = -1; }, OptionError, 'learningRate', /at least 0/],
])('refuses %s', (_, run, type, argument, message) => {
  expectThrown(run, type, argument, message);
});
