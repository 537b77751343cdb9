import { mkdir, mkdtemp, open, readdir, rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataLoader } from '../../lib/data';
import { CheckpointError, OptionError } from '../../lib/errors';
import { SoftmaxLoss } from '../../lib/losses';
import { Classifier } from '../../lib/models';
import { Conv2d, Flatten, Sequential } from '../../lib/nn';
import { Adam } from '../../lib/optim';
import { readLog } from '../../lib/report/log';
import { noGrad } from '../../lib/tensor';
import { evaluate, readSafetensors, Trainer } from '../../lib/train';
import { bytesOf, plainModel, statefulModel, steps, tinyDataset, tinyLoader, tinyTrainer } from './tiny';

let output: string;
beforeEach(async () => {
  output = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
});
afterEach(async () => {
  await rm(output, { recursive: true, force: true });
});

describe('fit', () => {
  test('learns, and tells how it went', async () => {
    const evalLoader = tinyLoader();
    const seen = { steps: [] as number[], logs: [] as number[], evals: [] as number[], checkpoints: [] as string[] };
    const result = await tinyTrainer({
      iterations: 60,
      evalLoader,
      output,
      evalEvery: 25,
      logEvery: 20,
      checkpointEvery: 30,
      callbacks: {
        onStep: (iteration) => void seen.steps.push(iteration),
        onLog: ({ iteration }) => void seen.logs.push(iteration),
        onEval: async ({ iteration }) => { await Promise.resolve(seen.evals.push(iteration)); },
        onCheckpoint: ({ iteration, path }) => void seen.checkpoints.push(`${iteration} ${path}`),
      },
    }).fit();
    const path = join(output, 'last.safetensors');
    expect(seen.steps).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
    expect(seen.logs).toEqual([1, 20, 40, 60]);
    expect(seen.evals).toEqual([25, 50, 60]);
    expect(seen.checkpoints).toEqual([`30 ${path}`, `60 ${path}`]);
    expect(result).toMatchObject({ iterations: 60, interrupted: false, checkpoint: path });
    expect(result.history.train.map(({ iteration }) => iteration)).toEqual(seen.logs);
    expect(result.history.eval.at(-1)!.loss).toBeLessThan(result.history.train[0].loss);
    expect(result.bestAccuracy).toBe(Math.max(...result.history.eval.map(({ accuracy }) => accuracy)));
    expect(result.bestAccuracy).toBeGreaterThan(0.8);
    expect(result.imagesPerSecond).toBeGreaterThan(0);
    expect(result.peakMemory).toBeGreaterThan(0);
  });

  test('needs neither an output nor an evaluation', async () => {
    expect(await tinyTrainer({ iterations: 3 }).fit()).toMatchObject({ iterations: 3, bestAccuracy: null, checkpoint: null });
  });

  test('runs once at a time; called again, it has nothing more to do', async () => {
    const trainer = tinyTrainer({ iterations: 3 });
    const first = trainer.fit();
    await expect(trainer.fit()).rejects.toThrow('fit() is already running');
    await first;
    expect(await trainer.fit()).toMatchObject({ iterations: 3, interrupted: false });
  });

  test('evaluates in evaluation mode, and goes back to the mode before', async () => {
    const model = statefulModel();
    const before = bytesOf(model.stateDict());
    const trainer = tinyTrainer({ iterations: 1, model, evalLoader: tinyLoader({ batchSize: 20 }) });
    const [first, second] = [await trainer.evaluate(), await trainer.evaluate()];
    expect(second).toEqual(first);
    expect(bytesOf(model.stateDict())).toEqual(before);
    expect(model.modules().every(({ training }) => training)).toBe(true);
    expect(first).not.toHaveProperty('top5');
  });

  test('evaluates the five likeliest of many classes too', async () => {
    const classes = Array.from({ length: 12 }, (_, i) => String(i));
    const features = new Sequential([new Conv2d({ inChannels: 3, outChannels: 4, kernelSize: 8 }), new Flatten()]);
    const model = new Classifier(features, new SoftmaxLoss({ inFeatures: 4, classes: 12 }));
    const evalLoader = new DataLoader({ ...tinyDataset(), classes }, { batchSize: 20 });
    const { accuracy, top5 } = await evaluate(model, evalLoader);
    let [correct, correct5] = [0, 0];
    for await (const { images, labels } of evalLoader) {
      const logits = noGrad(() => model.predict(images)).toArray() as number[][];
      labels.data().forEach((label, row) => {
        const better = logits[row].filter((value) => value > logits[row][label]).length;
        correct += Number(better < 1);
        correct5 += Number(better < 5);
      });
    }
    expect([accuracy, top5]).toEqual([correct / 48, correct5 / 48]);
  });

  test('the evaluation is the mean over all images, whatever the batches', async () => {
    const model = plainModel();
    const [all, some] = [48, 20].map((batchSize) => tinyTrainer({ iterations: 1, model, evalLoader: tinyLoader({ batchSize }) }));
    const [whole, parts] = [await all.evaluate(), await some.evaluate()];
    expect(parts.accuracy).toBe(whole.accuracy);
    expect(parts.loss).toBeCloseTo(whole.loss, 5);
  });
});

describe('the event loop', () => {
  test('has its turns between steps and between batches of an evaluation', async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const perStep: number[] = [];
    await tinyTrainer({
      iterations: 100,
      model: statefulModel(),
      loader: tinyLoader({ batchSize: 48 }),
      callbacks: { onStep: () => void perStep.push(turns) },
    }).fit();
    clearInterval(timer);
    expect(new Set(perStep).size).toBeGreaterThan(20);
  });
});

describe('wrong options', () => {
  test.each<[string, object, RegExp]>([
    ['loader', { loader: { dataset: tinyDataset() } }, /loader must have the member batchSize, as a Loader has/],
    ['iterations', { iterations: 0 }, /iterations must be an integer at least 1, but got 0/],
    ['model', { model: undefined }, /Trainer needs a model, but got undefined/],
    ['logEvery', { logEvery: 0 }, /logEvery must be an integer at least 1/],
    ['evalEvery', { evalEvery: 5 }, /evalEvery needs an evalLoader/],
    ['checkpointEvery', { checkpointEvery: 5 }, /checkpointEvery needs an output folder/],
    ['maxGradNorm', { maxGradNorm: 0 }, /maxGradNorm must be a finite number greater than 0/],
    ['gradientReducer', { gradientReducer: { forward: null } }, /gradientReducer must have a method reduce\(parameters\), but got Object/],
    ['gradientReducer', { gradientReducer: null }, /gradientReducer must have a method reduce\(parameters\), but got null/],
    ['writer', { writer: 0 }, /writer must be true or false, but got 0/],
    ['progress', { progress: 'bar' }, /progress must be one of "auto", but got "bar"/],
    ['device', { device: 'gpu' }, /device must be one of "cpu", "cuda", "auto", but got "gpu"/],
    ['epochs', { epochs: 3 }, /Trainer has no option "epochs"/],
    ['onEnd', { callbacks: { onEnd: null } }, /callbacks has no option "onEnd"/],
  ])('%s', (argument, options, message) => {
    const model = plainModel();
    const whole = { model, optimizer: new Adam(model.parameters()), schedule: steps, loader: tinyLoader(), iterations: 5, ...options };
    const make = () => new Trainer(whole);
    expect(make).toThrow(message);
    expect(make).toThrow(OptionError);
    expect(make).toThrow(expect.objectContaining({ argument }) as Error);
  });

  test('evaluate() without an evalLoader', async () => {
    await expect(tinyTrainer({ iterations: 1 }).evaluate()).rejects.toThrow(OptionError);
  });
});

test('an error in a callback ends the run and leaves it usable', async () => {
  let failed = false;
  const onStep = (iteration: number) => {
    if (iteration !== 2 || failed) return;
    failed = true;
    throw new Error('mine');
  };
  const trainer = tinyTrainer({ iterations: 4, output, callbacks: { onStep } });
  await expect(trainer.fit()).rejects.toThrow('mine');
  expect(await trainer.fit()).toMatchObject({ iterations: 4 });
  expect((await readdir(output)).sort()).toEqual(['last.safetensors', 'log.jsonl']);
});

describe('what fails at the last step is done by fit() again', () => {
  const last = () => join(output, 'last.safetensors');
  const accuracyIn = async () => (JSON.parse((await readSafetensors(last())).metadata['training']) as { bestAccuracy: number | null }).bestAccuracy;
  /** A loader whose evaluation fails once. */
  const failingOnce = () => {
    const loader = tinyLoader();
    let failed = false;
    const walk = loader[Symbol.asyncIterator].bind(loader);
    loader[Symbol.asyncIterator] = () => {
      if (failed) return walk();
      failed = true;
      throw new Error('no images');
    };
    return loader;
  };

  test('an evaluation, before which the checkpoint is written', async () => {
    const trainer = tinyTrainer({ iterations: 4, output, evalLoader: failingOnce() });
    await expect(trainer.fit()).rejects.toThrow('no images');
    expect(await accuracyIn()).toBeNull();
    const { bestAccuracy, checkpoint, history } = await trainer.fit();
    expect(history.eval.map(({ iteration }) => iteration)).toEqual([4]);
    expect(checkpoint).toBe(last());
    expect(await accuracyIn()).toBe(bestAccuracy);
  });

  test('in another process too', async () => {
    await expect(tinyTrainer({ iterations: 4, output, evalLoader: failingOnce() }).fit()).rejects.toThrow('no images');
    const evalLoader = tinyLoader();
    const { bestAccuracy, history } = await tinyTrainer({ iterations: 4, output, evalLoader, resume: last() }).fit();
    expect(history.eval).toHaveLength(1);
    expect(await accuracyIn()).toBe(bestAccuracy);
    expect((await tinyTrainer({ iterations: 4, output, evalLoader, resume: last() }).fit()).history.eval).toEqual([]);
    const events = (await readLog(join(output, 'log.jsonl'))).map(({ event }) => event);
    expect(events.filter((event) => event === 'eval')).toHaveLength(1);
  });

  test('onEval that throws loses neither the checkpoint nor the accuracy', async () => {
    const onEval = () => { throw new Error('mine'); };
    const trainer = tinyTrainer({ iterations: 4, output, evalLoader: tinyLoader(), callbacks: { onEval } });
    await expect(trainer.fit()).rejects.toThrow('mine');
    expect(await accuracyIn()).toBeGreaterThan(0);
    expect((await trainer.fit()).history.eval).toHaveLength(1);
  });

  test('onStep that throws does not keep a due checkpoint from being written', async () => {
    const onStep = (iteration: number) => { if (iteration === 4) throw new Error('mine'); };
    await expect(tinyTrainer({ iterations: 4, output, callbacks: { onStep } }).fit()).rejects.toThrow('mine');
    expect((await readSafetensors(last())).metadata['iteration']).toBe('4');
  });

  test('a checkpoint', async () => {
    const onStep = async (iteration: number) => { if (iteration === 4) await mkdir(last()); };
    const trainer = tinyTrainer({ iterations: 4, output, callbacks: { onStep }, evalLoader: tinyLoader() });
    await expect(trainer.fit()).rejects.toThrow(CheckpointError);
    await rmdir(last());
    const { checkpoint, history } = await trainer.fit();
    expect(checkpoint).toBe(last());
    expect(history.eval).toHaveLength(1);
    expect((await readSafetensors(last())).metadata['iteration']).toBe('4');
  });

  test('a line of the log', async () => {
    const handle = await open(join(output, 'probe'), 'w');
    const write = jest.spyOn(Object.getPrototypeOf(handle) as typeof handle, 'write');
    await handle.close();
    await rm(join(output, 'probe'));
    try {
      const onStep = (iteration: number) => {
        if (iteration === 3) write.mockRejectedValueOnce(Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' }));
      };
      const trainer = tinyTrainer({ iterations: 4, output, logEvery: 1, callbacks: { onStep } });
      await expect(trainer.fit()).rejects.toThrow(/cannot write the log .*ENOSPC/);
      expect((await readSafetensors(last())).metadata['iteration']).toBe('4');
      await trainer.fit();
    } finally {
      write.mockRestore();
    }
    const log = await readLog(join(output, 'log.jsonl'));
    expect(log.flatMap(({ event, iteration }) => (event === 'train' ? [iteration] : []))).toEqual([1, 2, 3, 4]);
    expect(log.at(-1)).toMatchObject({ event: 'end', iteration: 4 });
  });
});
