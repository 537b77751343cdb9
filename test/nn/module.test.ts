import { memoryStats } from '../../lib/device';
import { CheckpointError, DTypeError, OptionError, ShapeError } from '../../lib/errors';
import {
  BatchNorm2d, Conv2d, Curvature, Dropout, Flatten, type Layer, Linear, Module, ModuleBuffer, Parameter, ReLU, Sequential, SphereConv2d,
} from '../../lib/nn';
import { sum } from '../../lib/ops';
import { Generator, type GeneratorState } from '../../lib/random';
import { noGrad, ones, type Tensor, tensor, tidy, zeros } from '../../lib/tensor';
import { random, relativeError } from '../support/tensors';
import { expectThrown, valuesOf } from './expectations';

class Block extends Module {
  readonly branches = [new Linear({ inFeatures: 2, outFeatures: 3 }), new Linear({ inFeatures: 2, outFeatures: 3, bias: false })];
  readonly offset = new Parameter(zeros([3]));
  readonly count = new ModuleBuffer(zeros([1], { dtype: 'i32' }));
  readonly note = { not: 'a module' };
  readonly nothing = null;
  readonly dropout = new Dropout();
  readonly again = this.branches[0];

  forward(x: Tensor): Tensor {
    return this.branches[0].forward(x);
  }
}

describe('names', () => {
  const block = new Block();

  test('of parameters, in the order of the properties, own ones first, shared ones once', () => {
    expect(block.namedParameters().map(([name]) => name)).toEqual(['offset', 'branches.0.weight', 'branches.0.bias', 'branches.1.weight']);
    expect(block.parameters()[0]).toBe(block.offset);
    expect(block.parameters()).toHaveLength(4);
  });

  test('of a parameter in two places: the first', () => {
    class Tied extends Module {
      readonly inner = new Linear({ inFeatures: 1, outFeatures: 1, bias: false });
      readonly first = new Parameter(zeros([1]));
      readonly second = this.first;
      readonly third = [this.inner.weight];
      forward(x: Tensor): Tensor {
        return x;
      }
    }
    expect(new Tied().namedParameters().map(([name]) => name)).toEqual(['first', 'third.0']);
  });

  test('of buffers', () => {
    expect(block.namedBuffers()).toEqual([['count', block.count]]);
  });

  test('of modules', () => {
    expect(block.namedModules().map(([name]) => name)).toEqual(['', 'branches.0', 'branches.1', 'dropout']);
    expect(block.modules()[0]).toBe(block);
    expect(block.children()).toEqual([...block.branches, block.dropout, block.again]);
  });

  test('of a Sequential: the index or the key, without a prefix', () => {
    const named = new Sequential({ first: new Sequential([new ReLU(), new Linear({ inFeatures: 1, outFeatures: 1 })]) });
    expect(named.namedParameters().map(([name]) => name)).toEqual(['first.1.weight', 'first.1.bias']);
  });
});

describe('Parameter', () => {
  test('requires a gradient and survives a scope, and takes its tensor over', () => {
    const parameter = tidy(() => ({ box: new (class { value = new Parameter(ones([3])); })() })).box.value;
    expect(parameter.requiresGrad).toBe(true);
    expect(parameter.toArray()).toEqual([1, 1, 1]);
    const from = ones([2]);
    const before = memoryStats().storages;
    const second = new Parameter(from);
    expect(from.disposed).toBe(true);
    expect(second.toArray()).toEqual([1, 1]);
    second.dispose();
    expect(memoryStats().storages).toBe(before - 1);
  });

  test('is of floating type', () => {
    expectThrown(() => new Parameter(zeros([1], { dtype: 'i32' })), DTypeError, 'from', /must be f32 or f64/);
  });
});

describe('train and eval', () => {
  test('reach every module', () => {
    const block = new Block();
    const flags = () => block.modules().map((module) => module.training);
    expect(block.eval()).toBe(block);
    expect(flags()).toEqual([false, false, false, false]);
    block.train();
    expect(flags()).toEqual([true, true, true, true]);
  });
});

describe('state', () => {
  const network = (seed: number) => {
    const generator = new Generator(seed);
    return new Sequential({
      conv: new SphereConv2d({ inChannels: 2, outChannels: 3, kernelSize: 3, learnable: 'filter', generator }),
      norm: new BatchNorm2d({ channels: 3 }),
      dropout: new Dropout({ generator }),
    });
  };

  test('goes round: the copy computes the same', () => {
    const [a, b] = [network(1), network(2)];
    const x = random([2, 5, 5, 2], 3, 'f32');
    a.forward(x);
    expect(Object.keys(a.stateDict())).toEqual([
      'conv.weight', 'conv.curvature.free', 'norm.gamma', 'norm.beta', 'norm.runningMean', 'norm.runningVariance',
    ]);
    expect(valuesOf(b.stateDict())).not.toEqual(valuesOf(a.stateDict()));
    b.loadStateDict(a.stateDict());
    expect(valuesOf(b.stateDict())).toEqual(valuesOf(a.stateDict()));
    expect(b.eval().forward(x).data()).toEqual(a.eval().forward(x).data());
  });

  test('an option that others have is refused, and nothing loaded', () => {
    const [a, b] = [network(1), network(2)];
    const before = valuesOf(b.stateDict());
    const load = b.loadStateDict.bind(b) as (...given: unknown[]) => void;
    expectThrown(() => { load(a.stateDict(), { strict: false }); }, OptionError, 'strict', /loadStateDict has no option "strict"/);
    expectThrown(() => { load(a.stateDict(), true); }, OptionError, 'argument', /loadStateDict has no further argument true/);
    expect(valuesOf(b.stateDict())).toEqual(before);
  });

  test('is copied: the source may change later', () => {
    const [a, b] = [network(1), network(2)];
    b.loadStateDict(a.stateDict());
    const before = b.parameters()[0].data();
    a.parameters()[0].assign(zeros(a.parameters()[0].shape));
    expect(b.parameters()[0].data()).toEqual(before);
  });

  test.each<[string, (dict: Record<string, Tensor>) => void, RegExp]>([
    ['missing', (dict) => { delete dict['conv.weight']; delete dict['norm.beta']; }, /missing: conv\.weight, norm\.beta$/],
    ['unexpected', (dict) => { dict['conv.bias'] = zeros([3]); }, /unexpected: conv\.bias$/],
    ['misshaped', (dict) => { dict['norm.gamma'] = zeros([4]); }, /different: norm\.gamma is f32 \[4\] where f32 \[3\] is needed$/],
    ['of another dtype', (dict) => { dict['norm.gamma'] = zeros([3], { dtype: 'f64' }); }, /norm\.gamma is f64 \[3\]/],
    [
      'all of that',
      (dict) => { delete dict['norm.beta']; dict['x'] = zeros([1]); dict['conv.curvature.free'] = zeros([1]); },
      /missing: norm\.beta; unexpected: x; different: conv\.curvature\.free is f32 \[1\] where f32 \[3\]/,
    ],
  ])('does not load where a tensor is %s, and nothing has changed', (_, damage, message) => {
    const [a, b] = [network(1), network(2)];
    const dict = a.stateDict();
    damage(dict);
    const before = valuesOf(b.stateDict());
    expectThrown(() => { b.loadStateDict(dict); }, CheckpointError, 'stateDict', message);
    expect(valuesOf(b.stateDict())).toEqual(before);
  });

  test('random streams go through JSON', () => {
    const [a, b] = [network(1), network(2)];
    const x = random([4, 9, 9, 2], 3, 'f32');
    a.forward(x);
    b.loadStateDict(a.stateDict());
    b.loadRandomState(JSON.parse(JSON.stringify(a.randomState())) as Record<string, GeneratorState>);
    expect(Object.keys(a.randomState())).toEqual(['dropout.generator']);
    expect(b.forward(x).data()).toEqual(a.forward(x).data());
    expectThrown(() => { a.loadRandomState({}); }, CheckpointError, 'states', /must name \["dropout\.generator"\], but names \[\]/);
  });
});

describe('memory', () => {
  test('zeroGrad releases the gradients, dispose everything', () => {
    const before = memoryStats().storages;
    tidy(() => {
      const layer = new Linear({ inFeatures: 3, outFeatures: 2 });
      layer.forward(ones([4, 3])).backward({ gradient: ones([4, 2]) });
      const { grad } = layer.weight;
      layer.zeroGrad();
      expect([layer.weight.grad, layer.bias!.grad, grad!.disposed]).toEqual([null, null, true]);
      layer.dispose();
      expect(layer.weight.disposed && layer.bias!.disposed).toBe(true);
    });
    expect(memoryStats().storages).toBeLessThanOrEqual(before);
  });

  test('a Sequential holds one activation at a time when nothing is recorded', () => {
    const layers: Layer[] = Array.from({ length: 8 }, () => new ReLU());
    const seen: number[] = [];
    class Probe extends Module {
      forward(x: Tensor): Tensor {
        seen.push(memoryStats().storages);
        return x;
      }
    }
    const network = new Sequential(layers.flatMap((layer) => [layer, new Probe()]));
    const x = random([2, 3], 1, 'f32');
    noGrad(() => network.forward(x));
    expect(new Set(seen).size).toBe(1);
    expect(x.disposed).toBe(false);
  });
});

describe('a BatchNorm2d after a convolution in a Sequential', () => {
  const make = (sphere: boolean, channels = 4) => {
    const generator = new Generator(3);
    const options = { inChannels: 3, outChannels: 4, kernelSize: 3, padding: 1, bias: false, generator };
    const conv = sphere ? new SphereConv2d(options) : new Conv2d(options);
    return new Sequential({ conv, norm: new BatchNorm2d({ channels, relu: true }) });
  };
  const apart = ({ layers: { conv, norm } }: Sequential, x: Tensor) => norm.forward(conv.forward(x));

  test.each([true, false])('gives what the two give one after the other (sphere: %p)', (sphere) => {
    const outputs = [(network: Sequential, x: Tensor) => network.forward(x), apart].map((run) => {
      const network = make(sphere);
      const x = random([2, 5, 5, 3], 1, 'f32');
      const trained = run(network, x);
      trained.backward({ gradient: random(trained.shape, 2, 'f32') });
      network.eval();
      const [recorded, evaluated] = [run(network, x), noGrad(() => run(network, x))];
      const gradients = network.parameters().map(({ grad }) => grad!);
      const running = network.namedBuffers().map(([, buffer]) => buffer);
      return [trained, recorded, evaluated, x.grad!, ...gradients, ...running].map((each) => each.data());
    });
    outputs[0].forEach((values, i) => { expect(relativeError(values, outputs[1][i])).toBeLessThan(1e-5); });
  });

  test('is passed by when somebody replaced a forward pass', () => {
    const network = make(true);
    const seen: number[][] = [];
    const { norm } = network.layers;
    const forward = norm.forward.bind(norm);
    norm.forward = (x: Tensor) => {
      seen.push([...x.shape]);
      return forward(x);
    };
    network.forward(random([2, 5, 5, 3], 1, 'f32'));
    expect(seen).toEqual([[2, 5, 5, 4]]);
  });

  test('is passed by when somebody replaced the forward pass of a class', () => {
    const { norm } = make(true).layers;
    const prototype = Object.getPrototypeOf(norm) as BatchNorm2d;
    const original = Object.getOwnPropertyDescriptor(prototype, 'forward')!;
    let calls = 0;
    Object.defineProperty(prototype, 'forward', {
      ...original,
      value(this: BatchNorm2d, x: Tensor): Tensor {
        calls++;
        return (original.value as (x: Tensor) => Tensor).call(this, x);
      },
    });
    try {
      make(true).forward(random([2, 5, 5, 3], 1, 'f32'));
      make(false).forward(random([2, 5, 5, 3], 1, 'f32'));
    } finally {
      Object.defineProperty(prototype, 'forward', original);
    }
    expect(calls).toBe(2);
  });

  test.each([true, false])('behind a frozen convolution leaves no memory to the garbage collector: sphere %s', (sphere) => {
    const network = make(sphere);
    network.layers['conv'].parameters().forEach((each) => { each.requiresGrad = false; });
    const x = random([2, 5, 5, 3], 1, 'f32');
    for (const mode of [true, false]) {
      network.train(mode);
      const step = () => {
        const loss = sum(network.forward(x));
        loss.backward();
        loss.dispose();
        return memoryStats().storages;
      };
      const after = step();
      expect(step()).toBe(after);
    }
  });

  test('errors name the one at fault', () => {
    const x = zeros([2, 5, 5, 3]);
    expectThrown(() => make(true, 5).forward(x), ShapeError, 'gamma', /^norm \(BatchNorm2d\): gamma must have shape \[4\]/);
    expectThrown(() => make(false).forward(zeros([2, 5, 5, 2])), ShapeError, 'x', /^conv \(Conv2d\): x has 2 channels/);
  });
});

describe('errors in a layer', () => {
  const network = new Sequential({
    features: new Sequential([
      new Conv2d({ inChannels: 3, outChannels: 4, kernelSize: 3 }),
      new ReLU(),
      new SphereConv2d({ inChannels: 5, outChannels: 2, kernelSize: 1 }),
    ]),
    flatten: new Flatten(),
    linear: new Linear({ inFeatures: 7, outFeatures: 2 }),
  });

  test('name it, and keep class and argument', () => {
    expectThrown(() => network.forward(zeros([1, 5, 5, 3])), ShapeError, 'x', /^features\.2 \(SphereConv2d\): x has 4 channels/);
    expectThrown(() => network.forward(zeros([1, 5, 5, 2])), ShapeError, 'x', /^features\.0 \(Conv2d\): x has 2 channels/);
    expectThrown(() => network.forward(zeros([5, 5, 3])), ShapeError, 'x', /^features\.0 \(Conv2d\): x must have shape/);
  });

  test('have the original as their cause', () => {
    const located = (() => {
      try {
        return network.forward(zeros([1, 5, 5, 3]));
      } catch (error) {
        return error as Error;
      }
    })();
    expect((located as Error).cause).toBeInstanceOf(ShapeError);
    expect(((located as Error).cause as Error).message).toMatch(/^x has 4 channels/);
  });

  test('that are not ours pass unchanged', () => {
    const fault = new TypeError('bug');
    class Faulty extends Module {
      forward(): Tensor {
        throw fault;
      }
    }
    expect(() => new Sequential([new Faulty()]).forward(zeros([1]))).toThrow(fault);
  });
});

test.each<[string, () => unknown, RegExp]>([
  ['no layer', () => new Sequential([]), /at least one layer/],
  ['something else', () => new Sequential([tensor([1]) as never]), /layers\.0 must be a Module, but got Tensor/],
  ['a dot', () => new Sequential({ 'a.b': new ReLU() }), /no dot, but got "a\.b"/],
])('Sequential refuses %s', (what, run, message) => {
  expectThrown(run, OptionError, what === 'something else' ? 'layers.0' : 'layers', message);
});

test('a shared Curvature is one parameter, under the first name', () => {
  const learnable = new Curvature();
  const sphere = () => new SphereConv2d({ inChannels: 1, outChannels: 1, kernelSize: 1, learnable });
  expect(new Sequential([sphere(), sphere()]).namedParameters().map(([name]) => name)).toEqual(['0.weight', '0.curvature.free', '1.weight']);
});
