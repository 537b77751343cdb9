// Steps that are captured into a CUDA graph and replayed. Needs cuda; the emulated build has it.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataLoader } from '../../lib/data';
import { memoryStats, releaseCachedMemory } from '../../lib/device';
import { DataError, DeviceError, OptionError, ShapeError } from '../../lib/errors';
import { captureGraph } from '../../lib/graph';
import { OrthogonalityRegularizer, SoftmaxLoss } from '../../lib/losses';
import { Classifier, sphereNet9 } from '../../lib/models';
import { native } from '../../lib/native';
import { Flatten, Linear, Module, Sequential } from '../../lib/nn';
import { angularSoftmax, dropout, scale } from '../../lib/ops';
import { Adam } from '../../lib/optim';
import { type Tensor, tensor, tidy, zeros } from '../../lib/tensor';
import type { FitResult, Trainer, TrainerOptions } from '../../lib/train';
import { runCli } from '../cli/cli';
import { writeTinyMnist } from '../cli/idx';
import { hasCuda } from '../support/device';
import { collectGarbage } from '../support/garbage';
import { stepsThatWait } from '../support/waits';
import { augment, bytesOf, plainModel, statefulModel, tinyDataset, tinyLoader, tinyTrainer } from '../train/tiny';

const withCuda = hasCuda ? describe : describe.skip;
const onCuda = { device: 'cuda' } as const;
const tinyNetwork = { widths: [4, 6, 8] as [number, number, number], features: 12, imageSize: 8, classes: 4 };

let output: string;
beforeEach(async () => {
  output = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
});
afterEach(async () => {
  await rm(output, { recursive: true, force: true });
});

/** Counts the captures and replays while `body` runs. */
async function counting(body: () => Promise<unknown>): Promise<{ captures: number; replays: number }> {
  const spies = [jest.spyOn(native, 'beginCapture'), jest.spyOn(native, 'replayGraph')];
  try {
    await body();
    const [captures, replays] = spies.map(({ mock }) => mock.calls.length);
    return { captures, replays };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

withCuda('a captured graph', () => {
  test('is not run when it is captured, and computes on what its inputs hold when it is replayed', () => {
    const x = tensor([1, 2], [2], onCuda);
    const graph = captureGraph('cuda', () => scale(x, 3));
    expect(graph.replay().toArray()).toEqual([3, 6]);
    x.assign(Float32Array.of(4, 5));
    expect(graph.result.toArray()).toEqual([3, 6]);
    expect(graph.replay()).toBe(graph.result);
    expect(graph.result.toArray()).toEqual([12, 15]);
    graph.dispose();
    expect(() => graph.replay()).toThrow('released');
  });

  test('reads its varying numbers at each replay, in the order of the operators, and none before', () => {
    const asked: string[] = [];
    const counter = (name: string, first: number) => {
      let next = first;
      return () => {
        asked.push(name);
        return next++;
      };
    };
    const x = tensor(Float32Array.from({ length: 64 }, (_, i) => i + 1), [4, 16], { ...onCuda, requiresGrad: true });
    const weight = tensor(Float32Array.from({ length: 48 }, (_, i) => Math.sin(i)), [3, 16], onCuda);
    const labels = tensor(Int32Array.of(0, 1, 2, 0), [4], onCuda);
    const [seeds, lambdas] = [counter('seed', 5), counter('lambda', 1)];
    const step = (seed: number | (() => number), annealing: number | (() => number)) => {
      // Another number between those that vary, which stays as it is.
      const dropped = dropout(dropout(x, { probability: 0.3, seed }), { probability: 0.3, seed: 3 });
      const { loss } = angularSoftmax(dropped, weight, labels, { margin: 2, annealing });
      x.grad = null;
      const result = loss.detach();
      loss.backward();
      return { loss: result, gradient: x.grad as unknown as Tensor };
    };
    const graph = captureGraph('cuda', () => step(seeds, lambdas));
    expect(asked).toEqual([]);
    const read = ({ loss, gradient }: { loss: Tensor; gradient: Tensor }) => [loss.item(), gradient.toArray()];
    for (const replay of [0, 1, 2]) {
      const replayed = read(graph.replay());
      expect(asked.splice(0)).toEqual(['seed', 'lambda']);
      // The gradient too: backward drops what the forward pass of the same replay has dropped.
      expect(replayed).toEqual(read(step(5 + replay, 1 + replay)));
    }
    graph.dispose();
  });

  test('a number out of range is refused at the replay that reads it', () => {
    let seed = 1;
    const x = zeros([4], onCuda);
    const graph = captureGraph('cuda', () => dropout(x, { probability: 0.5, seed: () => seed }));
    seed = -1;
    expect(() => graph.replay()).toThrow(OptionError);
    seed = 2;
    graph.replay();
    graph.dispose();
  });

  test('ends when its body fails, and leaves the device usable', () => {
    const before = memoryStats('cuda').storages;
    const bodies: (() => unknown)[] = [
      () => zeros([2], onCuda).data(),
      () => tensor([1], [1], onCuda),
      () => zeros([2], onCuda).assign(Float32Array.of(1, 2)),
    ];
    for (const body of bodies) {
      expect(() => tidy(() => captureGraph('cuda', body))).toThrow(DeviceError);
    }
    expect(() => captureGraph('cuda', () => { throw new Error('mine'); })).toThrow('mine');
    expect(() => captureGraph('cuda', () => tidy(() => captureGraph('cuda', () => zeros([1], onCuda))))).toThrow(DeviceError);
    expect(tidy(() => scale(tensor([1, 2], [2], onCuda), 2).toArray())).toEqual([2, 4]);
    // Numbers are read at once again.
    expect(tidy(() => dropout(zeros([2], onCuda), { probability: 0.5, seed: () => 1 }).toArray())).toEqual([0, 0]);
    expect(memoryStats('cuda').storages).toBe(before);
  });
});

/** A trainer of the model that has every kind of state, on cuda. */
function statefulTrainer(options: Partial<TrainerOptions> & { iterations: number }) {
  const model = options.model ?? statefulModel();
  const optimizer = new Adam(model.parameters(), { weightDecay: 1e-4 });
  const regularizer = new OrthogonalityRegularizer({ coefficient: 0.1 });
  const loader = tinyLoader({ augment });
  const trainer = tinyTrainer({ model, optimizer, regularizer, loader, logEvery: 1, ...onCuda, ...options });
  const state = () => ({
    model: bytesOf(model.stateDict()), optimizer: bytesOf(optimizer.stateDict().tensors), random: model.randomState(),
  });
  const dispose = () => {
    optimizer.dispose();
    model.dispose();
  };
  return { model, trainer, state, dispose };
}

/** What was measured, without times. */
function measures({ history }: FitResult) {
  const withoutTimes = ({ seconds: _, imagesPerSecond: __, ...rest }: { seconds: number; imagesPerSecond?: number }) => rest;
  return [...history.train.map(withoutTimes), ...history.eval.map(withoutTimes)];
}

withCuda('cudaGraph', () => {
  test('gives what ordinary steps give, with evaluations and checkpoints in between', async () => {
    // The learning rate changes after step 7, the annealing at every step.
    const run = async (cudaGraph: boolean) => {
      const { trainer, state } = statefulTrainer({
        iterations: 20, cudaGraph, evalLoader: tinyLoader({ batchSize: 20 }), evalEvery: 6,
        output: join(output, String(cudaGraph)), checkpointEvery: 4,
      });
      const result = await trainer.fit();
      return { result, state: state() };
    };
    const ordinary = await run(false);
    let graphed = ordinary;
    expect(await counting(async () => { graphed = await run(true); })).toEqual({ captures: 1, replays: 18 });
    const [expected, got] = [ordinary, graphed].map(({ result }) => result.history.train);
    expect(got.map(({ iteration, lambda, learningRate }) => [iteration, lambda, learningRate])).toEqual(
      expected.map(({ iteration, lambda, learningRate }) => [iteration, lambda, learningRate]),
    );
    for (const name of ['loss', 'penalty', 'gradientNorm', 'meanThetaRadians'] as const) {
      got.forEach((record, i) => { expect(Math.abs(record[name]! / expected[i][name]! - 1)).toBeLessThan(1e-6); });
    }
    // The same kernels on the same numbers.
    expect(measures(graphed.result)).toEqual(measures(ordinary.result));
    expect(graphed.state).toEqual(ordinary.state);
  });

  test.each<[string, () => Classifier]>([
    ['a network without angles or dropout', plainModel],
    ['a SphereNet-9 whose layers share a k', () => sphereNet9({ ...tinyNetwork, convolution: { learnable: 'network' } })],
  ])('gives what ordinary steps give: %s', async (_, make) => {
    const run = async (cudaGraph: boolean) =>
      measures(await tinyTrainer({ iterations: 6, model: make(), logEvery: 1, ...onCuda, cudaGraph }).fit());
    expect(await run(true)).toEqual(await run(false));
  });

  test('an interrupted and resumed run ends where an ordinary one does', async () => {
    const whole = statefulTrainer({ iterations: 12 });
    await whole.trainer.fit();
    const controller = new AbortController();
    const onStep = (step: number) => { if (step === 5) controller.abort(); };
    const first = statefulTrainer({ iterations: 12, cudaGraph: true, output, signal: controller.signal, callbacks: { onStep } });
    expect(await first.trainer.fit()).toMatchObject({ interrupted: true, iterations: 5 });
    const resume = join(output, 'last.safetensors');
    const second = statefulTrainer({ iterations: 12, cudaGraph: true, resume, model: statefulModel(99) });
    expect(await counting(() => second.trainer.fit())).toEqual({ captures: 1, replays: 5 });
    expect(second.state()).toEqual(whole.state());
  });

  test('fit() called again captures anew', async () => {
    const whole = statefulTrainer({ iterations: 12 });
    await whole.trainer.fit();
    let fails = true;
    const onStep = (step: number) => { if (step === 6 && fails) throw new Error('mine'); };
    const { trainer, state } = statefulTrainer({ iterations: 12, cudaGraph: true, callbacks: { onStep } });
    await expect(trainer.fit()).rejects.toThrow('mine');
    fails = false;
    expect(await counting(() => trainer.fit())).toEqual({ captures: 1, replays: 4 });
    expect(state()).toEqual(whole.state());
  });

  test('captures anew when a callback has moved the model, released its gradients or frozen a part', async () => {
    const changes: Partial<Record<number, (model: Classifier) => void>> = {
      5: (model) => { model.to('cpu').to('cuda'); },
      7: (model) => { model.zeroGrad(); },
      9: (model) => { model.parameters()[0].requiresGrad = false; },
    };
    const run = async (cudaGraph: boolean) => {
      const model = statefulModel();
      const onStep = (step: number) => { changes[step]?.(model); };
      const { trainer, state } = statefulTrainer({ iterations: 12, model, cudaGraph, callbacks: { onStep } });
      await trainer.fit();
      return state();
    };
    const ordinary = await run(false);
    let graphed = ordinary;
    expect(await counting(async () => { graphed = await run(true); })).toEqual({ captures: 4, replays: 10 });
    expect(graphed).toEqual(ordinary);
  });

  test('waits for the device at the steps that measure, and at no other', async () => {
    const waitsAt = await stepsThatWait((onStep) =>
      statefulTrainer({ iterations: 10, cudaGraph: true, logEvery: 4, callbacks: { onStep } }).trainer.fit());
    expect(waitsAt).toEqual([1, 4, 8, 10]);
  });

  test('memory is the same over 200 steps, and afterwards what model and optimizer hold', async () => {
    await collectGarbage();
    const before = memoryStats('cuda');
    const train = async (iterations: number, cudaGraph: boolean) => {
      const during = new Set<string>();
      const onStep = (step: number) => {
        const { allocated, storages, reserved } = memoryStats('cuda');
        // The first record after the capture adds to the cache.
        if (step >= 50) during.add([allocated, storages, reserved].join());
      };
      // The evaluation at the end packs the filters into ordinary memory again.
      const [loader, evalLoader] = [tinyLoader({ prefetch: 0 }), tinyLoader({ prefetch: 0 })];
      const run = statefulTrainer({ iterations, cudaGraph, loader, evalLoader, logEvery: 50, callbacks: { onStep } });
      await run.trainer.fit();
      run.model.zeroGrad();
      releaseCachedMemory('cuda');
      const { allocated, storages, reserved } = memoryStats('cuda');
      run.dispose();
      return { afterwards: { allocated, storages, reserved }, during: [...during] };
    };
    const [ordinary, graphed] = [await train(3, false), await train(250, true)];
    expect(graphed.during).toHaveLength(1);
    expect(graphed.afterwards).toEqual(ordinary.afterwards);
    expect(memoryStats('cuda')).toMatchObject({ allocated: before.allocated, storages: before.storages });
  });
});

/** Reads what it computes, from its third forward pass on: the one that is captured. */
class Peeking extends Module {
  #passes = 0;

  forward(x: Tensor): Tensor {
    if (++this.#passes > 2) x.data();
    return x;
  }
}

/** The batches of a loader, changed by `change` from step `from` on. */
function changedLoader(from: number, change: (batch: { images: Tensor; labels: Tensor }) => void): DataLoader {
  const loader = tinyLoader();
  const original = loader.batch.bind(loader);
  loader.batch = async (iteration) => {
    const batch = await original(iteration);
    if (iteration >= from) change(batch);
    return batch;
  };
  return loader;
}

withCuda('a captured step that fails', () => {
  test.each<[string, new (...args: never[]) => Error, (batch: { images: Tensor; labels: Tensor }) => void, RegExp]>([
    ['images of another shape', ShapeError, (batch) => { batch.images = zeros([6, 8, 8, 3], onCuda); }, /shape \[12, 8, 8, 3\], .* \[6, 8, 8, 3\]/],
    ['fewer labels', ShapeError, (batch) => { batch.labels = zeros([6], { ...onCuda, dtype: 'i32' }); }, /labels must have shape \[12\]/],
    ['a label out of range', DataError, (batch) => { batch.labels.fill(4); }, /labels\[0\] is 4, but there are 4 classes/],
  ])('because of %s has changed nothing', async (_, type, change, message) => {
    const run = statefulTrainer({ iterations: 8, cudaGraph: true, loader: changedLoader(5, change) });
    const good = statefulTrainer({ iterations: 5, cudaGraph: true, loader: tinyLoader() });
    await good.trainer.fit();
    const error = await run.trainer.fit().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(type);
    expect((error as Error).message).toMatch(message);
    expect(run.trainer.iteration).toBe(5);
    expect(run.state()).toEqual(good.state());
  });

  test('because a layer reads its input names the reason, and releases what it made', async () => {
    const features = new Sequential([new Flatten(), new Linear({ inFeatures: 192, outFeatures: 8 }), new Peeking()]);
    const model = new Classifier(features, new SoftmaxLoss({ inFeatures: 8, classes: 4 }));
    const trainer = tinyTrainer({ iterations: 8, model, ...onCuda, cudaGraph: true, loader: tinyLoader({ prefetch: 0 }) });
    const error = await trainer.fit().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(DeviceError);
    expect((error as Error).message).toMatch(/needs the host and cannot be captured/);
    expect(trainer.iteration).toBe(2);
    expect(model.parameters().map(({ grad }) => grad)).toEqual([null, null, null, null]);
    // Four parameters with two moments each.
    const before = memoryStats('cuda').storages;
    model.dispose();
    expect(memoryStats('cuda').storages).toBe(before - 4);
  });
});

describe('refuses', () => {
  const refusal = (options: Partial<TrainerOptions>): unknown => {
    try {
      return tinyTrainer({ iterations: 3, cudaGraph: true, ...options });
    } catch (error) {
      return error;
    }
  };
  const onCpu = () => ({ model: plainModel().to('cpu') });

  test.each<[string, Partial<TrainerOptions> | (() => Partial<TrainerOptions>), RegExp]>([
    ['the cpu, asked for', { device: 'cpu' }, /cudaGraph needs a model that trains on cuda, but it trains on cpu/],
    ['the cpu, where the model is', onCpu, /it trains on cpu/],
    ['what is no boolean', { cudaGraph: 1 as unknown as boolean }, /cudaGraph must be true or false, but got 1/],
  ])('%s', (_, options, message) => {
    const error = refusal(typeof options === 'function' ? options() : options);
    expect(error).toBeInstanceOf(OptionError);
    expect(error).toMatchObject({ argument: 'cudaGraph', message: expect.stringMatching(message) as string });
  });
});

withCuda('refuses on cuda', () => {
  test.each<[string, () => Partial<TrainerOptions>, RegExp]>([
    ['maxGradNorm', () => ({ maxGradNorm: 1 }), /cudaGraph cannot be combined with maxGradNorm/],
    ['batches of several sizes', () => ({ loader: tinyLoader({ batchSize: 20, dropLast: false }) }), /cudaGraph needs batches of one size; with dropLast false/],
  ])('%s, and moves nothing', (_, options, message) => {
    const model = plainModel().to('cpu');
    const make = () => tinyTrainer({ iterations: 3, model, ...onCuda, cudaGraph: true, ...options() });
    expect(make).toThrow(OptionError);
    expect(make).toThrow(message);
    expect(make).toThrow(expect.objectContaining({ argument: 'cudaGraph' }) as Error);
    expect(model.parameters()[0].device).toBe('cpu');
  });

  test('a model that has left cuda before fit()', async () => {
    const model = plainModel();
    const trainer: Trainer = tinyTrainer({ iterations: 3, model, ...onCuda, cudaGraph: true });
    model.to('cpu');
    await expect(trainer.fit()).rejects.toThrow('cudaGraph needs a model that trains on cuda');
  });

  test('dropLast false only where it makes a difference', async () => {
    const loader = new DataLoader(tinyDataset(48), { batchSize: 12, dropLast: false });
    const trainer = tinyTrainer({ iterations: 4, ...onCuda, cudaGraph: true, loader });
    expect(await counting(() => trainer.fit())).toEqual({ captures: 1, replays: 2 });
  });
});

describe('train --cuda-graph', () => {
  const args = (...more: string[]) => [
    'train', '--data', 'mnist', '--source', output, '--network', 'cnn3', '--widths', '8,8,8', '--batch-size', '20',
    '--augment', 'none', '--loss', 'ga-softmax', '--iterations', '6', '--log-every', '1', '--cuda-graph', ...more,
  ];
  beforeEach(() => writeTinyMnist(output, { train: 40, test: 20 }));

  test('belongs to cuda', async () => {
    const { code, stdout, stderr } = await runCli(args('--device', 'cpu', '--output', join(output, 'run')));
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toBe('error: --cuda-graph belongs to --device cuda, but the device is cpu\n');
  });

  (hasCuda ? test : test.skip)('trains, and the log says so', async () => {
    const { code } = await runCli(args('--device', 'cuda', '--output', join(output, 'run'), '--json'));
    expect(code).toBe(0);
    const log = (await readFile(join(output, 'run', 'log.jsonl'), 'utf8')).split('\n');
    expect(JSON.parse(log[0])).toMatchObject({ event: 'start', device: 'cuda', cudaGraph: true });
  });
});
