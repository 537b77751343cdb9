import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OptionError } from '../../lib/errors';
import { benchmarkNetwork, buildNetwork } from '../../lib/bench/networks';
import { makeOperands } from '../../lib/bench/convolution';
import { type ConvolutionShape, layer, layerCase } from '../../lib/bench/layerShapes';
import { type BenchmarkOperator, benchmarkOperators } from '../../lib/bench/measure';
import { pytorchPeer, type PytorchProcess, startPytorch } from '../../lib/bench/peers/pytorch';
import { tfjsPeer } from '../../lib/bench/peers/tfjs';
import { makeBatch } from '../../lib/bench/step';
import { packageRoot } from '../../lib/native';
import { conv2d, sphereConv2d } from '../../lib/ops';
import { Adam } from '../../lib/optim';
import type { Tensor } from '../../lib/tensor';

const python = ['python3', '/usr/bin/python3'].find((each) => spawnSync(each, ['-c', 'import torch']).status === 0);
const describeWithTorch = python === undefined ? describe.skip : describe;

describe('a peer that is not there', () => {
  const before = process.env['SPHERENET_PYTHON'];
  afterEach(() => {
    if (before === undefined) delete process.env['SPHERENET_PYTHON'];
    else process.env['SPHERENET_PYTHON'] = before;
  });

  test.each([
    ['/nowhere/python', 'not found'],
    [process.execPath, 'SyntaxError'],
  ])('PyTorch: %s is told with its reason', async (path, reason) => {
    process.env['SPHERENET_PYTHON'] = path;
    const error = await pytorchPeer(['cpu']).catch((each: unknown) => each as OptionError);
    expect(error).toBeInstanceOf(OptionError);
    expect((error as OptionError).message).toMatch(/^--peer pytorch needs a Python that has torch, [^\n]+ SPHERENET_PYTHON names another one$/);
    expect((error as OptionError).message).toContain(`${path} (`);
    if (reason === 'not found') expect((error as OptionError).message).toContain(reason);
  });

  test('TensorFlow.js: the error says how to install it', async () => {
    const error = await tfjsPeer(1, tmpdir()).catch((each: unknown) => each as OptionError);
    expect(error).toBeInstanceOf(OptionError);
    expect((error as OptionError).message).toContain('npm install --no-save @tensorflow/tfjs @tensorflow/tfjs-backend-wasm');
  });
});

describe('TensorFlow.js, by a stand-in', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  async function install(kernels: string[]): Promise<void> {
    const write = async (name: string, source: string) => {
      await mkdir(join(folder, 'node_modules', name), { recursive: true });
      await writeFile(join(folder, 'node_modules', name, 'index.js'), source);
    };
    await write('@tensorflow/tfjs-backend-wasm', 'let n = 1; exports.setThreadsCount = (k) => { n = k; }; exports.getThreadsCount = () => n;');
    await write('@tensorflow/tfjs', `
      const made = () => ({ dispose() {} });
      module.exports = {
        version_core: '4.0', setBackend: async (name) => name === 'wasm', tensor4d: made, conv2d: made,
        getKernel: (name) => ${JSON.stringify(kernels)}.includes(name), grads: () => () => [made(), made()],
      };`);
  }
  const what = { shape: layer(3, 4, 8), batchSize: 1, operators: [], device: 'cpu' } as const;

  test('without the gradient of filters it runs forward only, and says so', async () => {
    await install(['Conv2DBackpropInput']);
    const peer = await tfjsPeer(2, folder);
    expect(peer.notes.join('\n')).toMatch(/^TensorFlow\.js 4\.0, WASM, 2 threads.*\n.*forward only$/);
    const [contender] = await peer.convolution(what);
    expect(contender).toMatchObject({ engine: 'tfjs', operator: 'plain' });
    expect(Object.keys(await contender.run())).toEqual(['forward']);
  });

  test('with it, backward too; on the cpu alone', async () => {
    await install(['Conv2DBackpropInput', 'Conv2DBackpropFilter']);
    const peer = await tfjsPeer(2, folder);
    const [contender] = await peer.convolution(what);
    expect(Object.keys(await contender.run())).toEqual(['forward', 'backward', 'both']);
    expect(await peer.convolution({ ...what, device: 'cuda' })).toEqual([]);
  });
});

describeWithTorch('PyTorch computes what we compute', () => {
  let torch: PytorchProcess;
  beforeAll(async () => {
    torch = await startPytorch();
  });
  afterAll(async () => {
    await torch.close();
  });

  const setting = { device: 'cpu', precision: 'fp32', compile: false, k: 0.3 };
  const shapes = [
    layer(3, 8, 8), layer(8, 6, 9, { stride: 2 }), layer(8, 6, 8, { kernel: 1, stride: 2 }), layer(5, 7, 4, { kernel: 4, padding: 0 }),
  ];
  const cases = shapes.flatMap((shape) => benchmarkOperators.map((operator) => [layerCase(shape, 2), operator, shape] as const));

  test.each(cases)('%s %s: y, dx and dw', async (_, operator, shape) => {
    const ours = ownOutputs(shape, operator);
    for (const layout of ['channels-last', 'contiguous']) {
      const { case: number } = await torch.ask<{ case: number }>({ do: 'prepare', kind: 'convolution', batch: 2, ...shape, operator, layout, ...setting });
      const theirs = await torch.ask<Record<keyof typeof ours, string>>({ do: 'outputs', case: number });
      for (const name of ['y', 'dx', 'dw'] as const) expect(differenceOf(floats(theirs[name]), ours[name])).toBeLessThan(1e-4);
      await torch.ask({ do: 'release', case: number });
    }
  });

  // PyTorch's own oneDNN corrupts its memory in shortcuts of fewer than 8 channels.
  const networks: [string, number[]][] = [
    ['cnn3', [4, 6, 8]], ['resnet32', [8, 8, 12]], ['resnet18', [8, 8, 12, 12]], ['resnet18-v1', [8, 8, 12, 12]],
  ];
  const networkCases = networks.flatMap(([name, widths]) => (['plain', 'sigmoid'] as const).map((operator) => [name, operator, widths] as const));

  test.each(networkCases)('%s, %s: as many parameters, and the same losses over some steps', async (name, operator, widths) => {
    const network = benchmarkNetwork(name, { widths, imageSize: 32 });
    // Adam makes much of little gradients: from step to step a deep network multiplies the differences of rounding.
    const [batchSize, steps] = [4, 2];
    using model = buildNetwork(network, operator).to('cpu');
    const { case: number, parameters } = await torch.ask<{ case: number; parameters: number }>({
      do: 'prepare', kind: 'step', batch: batchSize, network: network.config, operator, layout: 'channels-last', ...setting,
    });
    expect(parameters).toBe(model.parameters().reduce((sum, { size }) => sum + size, 0));
    const own = model.parameters().map((each) => Buffer.from((each.data() as Float32Array).buffer).toString('base64'));
    const { losses } = await torch.ask<{ losses: number[] }>({ do: 'outputs', case: number, steps, parameters: own });

    const { images, labels } = makeBatch(network, batchSize, 'cpu');
    using optimizer = new Adam(model.parameters());
    for (const [step, theirs] of losses.entries()) {
      const { loss } = model.forward(images, labels);
      // Adam goes by the sign of a gradient, however small: after its step, rounding shows.
      expect(Math.abs(loss.item() - theirs)).toBeLessThan(step === 0 ? 1e-4 : 0.03);
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
    }
  });

  test('an error of PyTorch is told, and the conversation goes on', async () => {
    await expect(torch.ask({ do: 'prepare', kind: 'nothing' })).rejects.toThrow(/^PyTorch fails: KeyError/);
    expect(await torch.ask({ do: 'resident' })).toHaveProperty('residentBytes');
  });

  test('its contenders: both layouts of each operator, which run one pass after the other', async () => {
    const peer = await pytorchPeer(['cpu']);
    try {
      const contenders = await peer.convolution({ shape: layer(3, 4, 8), batchSize: 1, operators: ['cosine'], device: 'cpu' });
      expect(contenders.map(({ engine, operator, layout }) => [engine, operator, layout])).toEqual([
        ['pytorch', 'plain', 'channels-last'], ['pytorch', 'plain', 'contiguous'],
        ['pytorch', 'cosine', 'channels-last'], ['pytorch', 'cosine', 'contiguous'],
      ]);
      const { forward, backward, both } = await contenders[2].run();
      expect(forward! + backward!).toBeCloseTo(both!, 10);
      for (const { dispose } of contenders) await dispose!();
    } finally {
      await peer.close();
    }
  });

  test('its SphereConv agrees with the definition', () => {
    const { status, stdout } = spawnSync(torch.python, [join(packageRoot, 'bench', 'peers', 'pytorch.py'), '--self-check'], { encoding: 'utf8' });
    expect({ status, last: stdout.trim().split('\n').at(-1) }).toEqual({ status: 0, last: 'all agree' });
  });
});

function ownOutputs(shape: ConvolutionShape, operator: BenchmarkOperator) {
  const { x, weight, dy } = makeOperands(shape, 2, 'cpu');
  const { stride, padding } = shape;
  const y = operator === 'plain' ? conv2d(x, weight, { stride, padding }) : sphereConv2d(x, weight, { stride, padding, operator });
  const values = (tensor: Tensor) => tensor.data() as Float32Array;
  const forward = values(y);
  y.backward({ gradient: dy });
  return { y: forward, dx: values(x.grad!), dw: values(weight.grad!) };
}

function floats(base64: string): Float32Array {
  return new Float32Array(Uint8Array.from(Buffer.from(base64, 'base64')).buffer);
}

/** The largest difference over the largest entry. */
function differenceOf(a: Float32Array, b: Float32Array): number {
  expect(a).toHaveLength(b.length);
  return Math.max(...a.map((value, i) => Math.abs(value - b[i]))) / Math.max(...b.map(Math.abs));
}
