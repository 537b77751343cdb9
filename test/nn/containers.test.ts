import { memoryStats } from '../../lib/device';
import { OptionError, ShapeError } from '../../lib/errors';
import {
  AvgPool2d, BatchNorm2d, Concat, Conv2d, type Layer, Module, ReLU, Residual, type ResidualOptions, Sequential, SphereConv2d,
} from '../../lib/nn';
import { add, concat, relu } from '../../lib/ops';
import { Generator } from '../../lib/random';
import { noGrad, type Tensor, tensor, tidy, zeros } from '../../lib/tensor';
import { random, relativeError } from '../support/tensors';
import { expectThrown } from './expectations';

const channels = 4;

function convolution(sphere: boolean, options: { outChannels?: number; kernelSize?: number; stride?: number } = {}, seed = 3): Layer {
  const { kernelSize = 3 } = options;
  const all = {
    outChannels: channels, ...options, inChannels: channels, kernelSize, padding: kernelSize >> 1, bias: false,
    generator: new Generator(seed),
  };
  return sphere ? new SphereConv2d(all) : new Conv2d(all);
}

const norm = (hasRelu: boolean, size = channels) => new BatchNorm2d({ channels: size, relu: hasRelu });

/** What a block computes, with one operator after the other. */
function apart({ body, shortcut, relu: hasRelu }: Residual, x: Tensor): Tensor {
  const through = (layer: Layer, from: Tensor): Tensor =>
    layer instanceof Sequential ? Object.values(layer.layers).reduce((y, each) => each.forward(y), from) : layer.forward(from);
  const sum = add(through(body, x), shortcut ? through(shortcut, x) : x);
  return hasRelu ? relu(sum) : sum;
}

describe('Residual', () => {
  const basic = (sphere: boolean) => ({ conv: convolution(sphere), norm: norm(false) });
  const strided = (sphere: boolean): ResidualOptions => ({
    body: {
      conv1: convolution(sphere, { stride: 2 }), norm1: norm(true),
      conv2: convolution(sphere, {}, 4), norm2: norm(false),
    },
    shortcut: new Sequential([convolution(sphere, { kernelSize: 1, stride: 2 }, 5), norm(false)]),
    relu: true,
  });
  const blocks: [string, () => ResidualOptions][] = [true, false].flatMap((sphere): [string, () => ResidualOptions][] => {
    const kind = sphere ? 'sphere' : 'plain';
    return [
      [`${kind}, a ReLU after the addition`, () => ({ body: basic(sphere), relu: true })],
      [`${kind}, without a ReLU`, () => ({ body: basic(sphere) })],
      [`${kind}, another shape by its shortcut`, () => strided(sphere)],
      [`${kind}, a ReLU before the addition too`, () => ({ body: { conv: convolution(sphere), norm: norm(true) }, relu: true })],
      [`${kind}, no BatchNorm`, () => ({ body: [convolution(sphere)], relu: true })],
      [`${kind}, a BatchNorm after something else`, () => ({ body: [convolution(sphere), new ReLU(), norm(false)], relu: true })],
    ];
  });

  test.each(blocks)('is body(x) + shortcut(x), gradients included: %s', (_, options) => {
    const outputs = [(block: Residual, x: Tensor) => block.forward(x), apart].map((run) => {
      const block = new Residual(options());
      const x = random([2, 5, 5, channels], 1, 'f32');
      const trained = run(block, x);
      trained.backward({ gradient: random(trained.shape, 2, 'f32') });
      block.eval();
      const [recorded, evaluated] = [run(block, x), noGrad(() => run(block, x))];
      const gradients = block.parameters().map(({ grad }) => grad!);
      const running = block.namedBuffers().map(([, buffer]) => buffer);
      return [trained, recorded, evaluated, x.grad!, ...gradients, ...running].map((each) => each.data());
    });
    outputs[0].forEach((values, i) => { expect(relativeError(values, outputs[1][i])).toBeLessThan(1e-5); });
  });

  test('makes addition and ReLU part of the BatchNorm behind a convolution, unless that has a ReLU of its own', () => {
    const lastOperator = (body: ResidualOptions['body']) =>
      new Residual({ body, relu: true }).forward(random([2, 5, 5, channels], 1, 'f32')).node!.op;
    expect(lastOperator(basic(true))).toBe('sphereConv2dBatchNorm');
    expect(lastOperator(basic(false))).toBe('batchNorm');
    expect(lastOperator([convolution(true), norm(true)])).toBe('relu');
  });

  test.each(['body', 'norm'])('calls a forward pass that somebody replaced: %s', (replaced) => {
    const block = new Residual({ body: basic(true), relu: true });
    const seen: number[][] = [];
    const layer: Layer = replaced === 'body' ? block.body : block.body.layers['norm'];
    const forward = layer.forward.bind(layer);
    layer.forward = (x: Tensor) => {
      seen.push([...x.shape]);
      return forward(x);
    };
    const x = random([2, 5, 5, channels], 1, 'f32');
    const y = block.forward(x).data();
    expect(seen).toEqual([[2, 5, 5, 4]]);
    expect(relativeError(y, new Residual({ body: basic(true), relu: true }).forward(x).data())).toBeLessThan(1e-5);
  });

  test.each(blocks)('leaves nothing but its output when nothing is recorded: %s', (_, options) => {
    const block = new Residual(options()).eval();
    const x = random([2, 5, 5, channels], 1, 'f32');
    noGrad(() => block.forward(x));
    const before = memoryStats().storages;
    const y = noGrad(() => block.forward(x));
    expect(memoryStats().storages).toBe(before + 1);
    expect([x.disposed, y.disposed]).toEqual([false, false]);
  });

  test('may have a body that gives x back', () => {
    class Same extends Module {
      forward(x: Tensor): Tensor {
        return x;
      }
    }
    const x = tensor([1, -2]);
    const block = new Residual({ body: [new Same()], shortcut: new Same(), relu: true });
    expect(noGrad(() => block.forward(x)).toArray()).toEqual([2, 0]);
    expect(x.disposed).toBe(false);
  });

  test('names its parameters by body and shortcut', () => {
    const names = new Residual(strided(true)).namedParameters().map(([name]) => name);
    expect(names.filter((name) => name.endsWith('weight'))).toEqual(['body.conv1.weight', 'body.conv2.weight', 'shortcut.0.weight']);
  });

  test('errors name the part at fault', () => {
    const x = zeros([2, 5, 5, channels]);
    const wide = new Residual({ body: { conv: convolution(true, { outChannels: 6 }), norm: norm(false, 6) } });
    expectThrown(() => wide.forward(x), ShapeError, 'residual', /^body\.norm \(BatchNorm2d\): residual must have shape \[2, 5, 5, 6\]/);
    const apartWide = new Residual({ body: [convolution(true, { outChannels: 6 })] });
    expectThrown(() => apartWide.forward(x), ShapeError, 'b', /^body \(Sequential\): b must have shape/);
    const shortcut = new Conv2d({ inChannels: 3, outChannels: 4, kernelSize: 1 });
    expectThrown(() => new Residual({ body: basic(true), shortcut }).forward(x), ShapeError, 'x', /^shortcut \(Conv2d\): x has 4 channels/);
  });

  test.each<[string, () => unknown, string, RegExp]>([
    ['no body', () => new Residual({} as never), 'body', /body must hold at least one layer, but got undefined/],
    ['an empty body', () => new Residual({ body: [] }), 'body', /body must hold at least one layer/],
    ['a body of something else', () => new Residual({ body: [1 as never] }), 'body.0', /must be a Module, but got 1/],
    ['another shortcut', () => new Residual({ body: basic(true), shortcut: 'x' as never }), 'shortcut', /must be a Module, but got "x"/],
    ['another relu', () => new Residual({ body: basic(true), relu: 1 as never }), 'relu', /true or false/],
    ['an unknown option', () => new Residual({ body: basic(true), stride: 2 } as never), 'stride', /Residual has no option "stride"/],
  ])('refuses %s', (_, run, argument, message) => {
    expectThrown(run, OptionError, argument, message);
  });
});

describe('Concat', () => {
  const branches = () => ({
    narrow: new Conv2d({ inChannels: 2, outChannels: 3, kernelSize: 1, generator: new Generator(1) }),
    wide: new SphereConv2d({ inChannels: 2, outChannels: 4, kernelSize: 3, padding: 1, generator: new Generator(2) }),
    pool: new AvgPool2d({ kernelSize: 3, stride: 1, padding: 1 }),
  });

  test('joins the outputs of its branches along the channels, gradients included', () => {
    const joined = new Concat(branches());
    const [x, same] = [random([2, 4, 5, 2], 1, 'f32'), random([2, 4, 5, 2], 1, 'f32')];
    const y = joined.forward(x);
    const { narrow, wide, pool } = branches();
    const expected = concat([narrow.forward(same), wide.forward(same), pool.forward(same)]);
    expect(y.shape).toEqual([2, 4, 5, 9]);
    expect(y.data()).toEqual(expected.data());
    for (const each of [y, expected]) each.backward({ gradient: random([2, 4, 5, 9], 2, 'f32') });
    expect(x.grad!.data()).toEqual(same.grad!.data());
    expect(joined.branches['wide'].parameters()[0].grad!.data()).toEqual(wide.weight.grad!.data());
  });

  test('names its branches as a Sequential its layers, and releases their outputs when nothing is recorded', () => {
    const joined = new Concat(branches());
    expect(joined.namedParameters().map(([name]) => name)).toEqual(['narrow.weight', 'narrow.bias', 'wide.weight']);
    const x = random([1, 4, 4, 2], 1, 'f32');
    noGrad(() => joined.forward(x));
    const before = memoryStats().storages;
    tidy(() => {
      noGrad(() => joined.forward(x));
      expect(memoryStats().storages).toBe(before + 1);
    });
  });

  test('errors name the branch', () => {
    const x = zeros([1, 4, 4, 2]);
    const joined = new Concat([new ReLU(), new Conv2d({ inChannels: 3, outChannels: 1, kernelSize: 1 })]);
    expectThrown(() => joined.forward(x), ShapeError, 'x', /^1 \(Conv2d\): x has 2 channels/);
    expectThrown(() => new Concat([new ReLU(), new AvgPool2d({ kernelSize: 2 })]).forward(x), ShapeError, 'tensors[1]', /must have shape/);
    expectThrown(() => new Concat([]), OptionError, 'branches', /at least one layer/);
    expectThrown(() => new Concat({ 'a.b': new ReLU() }), OptionError, 'branches', /no dot/);
  });
});
