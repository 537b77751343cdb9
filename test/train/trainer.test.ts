import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { DataLoader } from '../../lib/data';
import { CheckpointError, DataError, OptionError } from '../../lib/errors';
import { OrthogonalityRegularizer, SoftmaxLoss } from '../../lib/losses';
import { Classifier } from '../../lib/models';
import { Conv2d, Flatten, Sequential } from '../../lib/nn';
import { Adam, type Optimizer, SGD } from '../../lib/optim';
import { type LogEntry, readLog } from '../../lib/report/log';
import { noGrad } from '../../lib/tensor';
import { readSafetensors, Trainer, type TrainerOptions } from '../../lib/train';
import { isEmulated, testDevice } from '../support/device';
import { stepsThatWait } from '../support/waits';
import { compileLibrary } from './compiled';
import { augment, bytesOf, plainModel, statefulModel, steps, tinyDataset, tinyLoader, tinyTrainer } from './tiny';

let compiled: string;
beforeAll(() => {
  compiled = compileLibrary();
});
afterAll(() => rm(compiled, { recursive: true }));

let output: string;
beforeEach(async () => {
  output = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
});
afterEach(async () => {
  await rm(output, { recursive: true, force: true });
});

async function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => null,
    (reason: unknown) => reason,
  );
}

const entriesOf = (log: LogEntry[], event: string): LogEntry[] => log.filter((entry) => entry.event === event);

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
    const { accuracy, top5 } = await tinyTrainer({ iterations: 1, model, evalLoader }).evaluate();
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

  test('a regularizer changes the gradient and is logged apart', async () => {
    const run = async (regularizer?: OrthogonalityRegularizer) => {
      const model = statefulModel();
      const { history } = await tinyTrainer({ iterations: 3, model, regularizer, logEvery: 1 }).fit();
      return { history, weights: bytesOf(model.stateDict()) };
    };
    const [without, with_] = [await run(), await run(new OrthogonalityRegularizer({ coefficient: 0.1 }))];
    expect(with_.history.train[0].loss).toBe(without.history.train[0].loss);
    expect(with_.history.train[0].penalty).toBeGreaterThan(0);
    expect(without.history.train[0]).not.toHaveProperty('penalty');
    expect(with_.weights).not.toEqual(without.weights);
  });

  test('maxGradNorm limits the step; the log has the norm before', async () => {
    const model = plainModel();
    const before = model.parameters().map((parameter) => parameter.data());
    const optimizer = new SGD(model.parameters(), { learningRate: 1 });
    const schedule = { learningRateAt: () => 1 };
    const { history } = await tinyTrainer({ iterations: 1, model, optimizer, schedule, maxGradNorm: 1e-3 }).fit();
    const moved = model.parameters().map((parameter, i) => parameter.data().map((value, j) => value - before[i][j]));
    const distance = Math.hypot(...moved.flatMap((values) => [...values]));
    expect(history.train[0].gradientNorm).toBeGreaterThan(0.1);
    expect(distance).toBeCloseTo(1e-3, 5);
  });
});

/** The state of a run to the last bit. */
function stateOf(model: Classifier, optimizer: Optimizer) {
  const { tensors, values } = optimizer.stateDict();
  return { model: bytesOf(model.stateDict()), optimizer: bytesOf(tensors), values, random: model.randomState() };
}

const optimizers: Record<string, (model: Classifier) => Optimizer> = {
  Adam: (model) => new Adam(model.parameters(), { weightDecay: 1e-4 }),
  SGD: (model) => new SGD(model.parameters(), { learningRate: 0.01, momentum: 0.9, nesterov: true }),
};

/** Trains the model that has every kind of state, and returns where it ended. */
async function run(kind: string, options: Partial<TrainerOptions> & { iterations: number }, seed = 1) {
  const model = statefulModel(seed);
  const optimizer = optimizers[kind](model);
  const loader = tinyLoader({ augment });
  const result = await tinyTrainer({ model, optimizer, loader, logEvery: 1, ...options }).fit();
  return { result, state: stateOf(model, optimizer) };
}

/** Options that abort after the step `last`. */
function abortAfter(last: number): Partial<TrainerOptions> {
  const controller = new AbortController();
  return { signal: controller.signal, callbacks: { onStep: (step) => { if (step === last) controller.abort(); } } };
}

describe.each(Object.keys(optimizers))('reproducibility with %s', (kind) => {
  test('two runs end in the same bits', async () => {
    const [first, second] = [await run(kind, { iterations: 12 }), await run(kind, { iterations: 12 })];
    expect(second.state).toEqual(first.state);
    expect((await run(kind, { iterations: 12 }, 2)).state).not.toEqual(first.state);
  });

  test('an interrupted and resumed run ends in the bits of an uninterrupted one', async () => {
    const whole = await run(kind, { iterations: 12, output: join(output, 'whole') });
    const parts = join(output, 'parts');
    const first = await run(kind, { iterations: 12, output: parts, ...abortAfter(5) });
    const path = join(parts, 'last.safetensors');
    expect(first.result).toMatchObject({ interrupted: true, iterations: 5, checkpoint: path });
    // Other initial values, to be overwritten.
    const second = await run(kind, { iterations: 12, output: parts, resume: path }, 99);
    expect(second.result).toMatchObject({ interrupted: false, iterations: 12 });
    expect(second.state).toEqual(whole.state);
    expect(trainingCurve(await readLog(join(parts, 'log.jsonl')))).toEqual(
      trainingCurve(await readLog(join(output, 'whole', 'log.jsonl'))),
    );
  });
});

/** What a log says of the steps, without times. */
function trainingCurve(log: LogEntry[]) {
  return entriesOf(log, 'train').map(({ seconds: _seconds, imagesPerSecond: _speed, ...measures }) => measures);
}

describe('interruption', () => {
  test('before the first step and after the last one', async () => {
    const signal = AbortSignal.abort();
    expect(await tinyTrainer({ iterations: 3, signal, output }).fit()).toMatchObject({ iterations: 0, interrupted: true });
    expect((await readSafetensors(join(output, 'last.safetensors'))).metadata['iteration']).toBe('0');
    expect(await tinyTrainer({ iterations: 3, ...abortAfter(3) }).fit()).toMatchObject({ iterations: 3, interrupted: false });
  });

  test('a log that was cut short beyond the last checkpoint is mended', async () => {
    const loader = () => tinyLoader({ augment });
    await tinyTrainer({ iterations: 9, output, logEvery: 1, checkpointEvery: 3, loader: loader(), ...abortAfter(6) }).fit();
    const path = join(output, 'log.jsonl');
    const before = (await readFile(path, 'utf8')).split('\n').filter((line) => !line.includes('interrupted')).join('\n');
    await writeFile(path, before + '{"event":"train","iteration":7,"loss":1}\n{"event":"eval","iteration":7}\n{"event":"tr');
    await tinyTrainer({ iterations: 9, output, logEvery: 1, loader: loader(), resume: join(output, 'last.safetensors') }).fit();
    const log = await readLog(path);
    expect(entriesOf(log, 'train').map(({ iteration }) => iteration)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(entriesOf(log, 'start').map(({ iteration }) => iteration)).toEqual([0, 6]);
    expect(entriesOf(log, 'end')).toHaveLength(1);
  });

  test('resuming keeps the best accuracy, and asks for the same images', async () => {
    const evalLoader = tinyLoader();
    const first = await tinyTrainer({ iterations: 8, output, evalLoader, evalEvery: 4, ...abortAfter(4) }).fit();
    const resume = join(output, 'last.safetensors');
    expect(await tinyTrainer({ iterations: 4, resume }).fit()).toMatchObject({ iterations: 4, bestAccuracy: first.bestAccuracy });
    const error = await failure(tinyTrainer({ iterations: 8, resume, loader: tinyLoader({ seed: 8 }) }).fit());
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toBe(`${resume} does not fit: seed is 7 in the checkpoint, but 8 in this run`);
    await expect(tinyTrainer({ iterations: 8, resume, loader: tinyLoader({ batchSize: 5 }) }).fit()).rejects.toThrow(/batchSize is 12/);
    await expect(tinyTrainer({ iterations: 3, resume }).fit()).rejects.toThrow(/it has taken 4 steps, but iterations is 3/);
  });

  test('nothing has changed when a checkpoint cannot be restored', async () => {
    await tinyTrainer({ iterations: 2, output, model: statefulModel() }).fit();
    const model = plainModel();
    const before = bytesOf(model.stateDict());
    await expect(tinyTrainer({ iterations: 4, model, resume: join(output, 'last.safetensors') }).fit()).rejects.toThrow(CheckpointError);
    await expect(tinyTrainer({ iterations: 4, model, resume: join(output, 'none') }).fit()).rejects.toThrow(/cannot read .*none/);
    expect(bytesOf(model.stateDict())).toEqual(before);
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

describe('the device', () => {
  test('is waited for at the steps that measure, and at no other', async () => {
    const waitsAt = await stepsThatWait((onStep) => {
      const regularizer = new OrthogonalityRegularizer();
      return tinyTrainer({ iterations: 20, model: statefulModel(), regularizer, logEvery: 8, callbacks: { onStep } }).fit();
    });
    expect(waitsAt).toEqual([1, 8, 16, 20]);
  });

  test('is timed while it trains, not during records, evaluations and checkpoints', async () => {
    const pause = () => new Promise<void>((resolve) => setTimeout(resolve, 100));
    const evalLoader = tinyLoader();
    const callbacks = { onLog: pause, onEval: pause, onCheckpoint: pause };
    const started = performance.now();
    const { history } = await tinyTrainer({
      iterations: 3, logEvery: 1, evalLoader, evalEvery: 1, output, checkpointEvery: 1, callbacks,
    }).fit();
    const elapsed = (performance.now() - started) / 1000;
    expect(elapsed).toBeGreaterThan(0.9);
    expect(history.train[2].seconds).toBeLessThan(elapsed - 0.8);
  });
});

describe('a loss that is not finite', () => {
  const schedule = { learningRateAt: (iteration: number) => (iteration < 4 ? 0.01 : 1e30) };
  const setting = () => {
    const model = plainModel();
    return { model, optimizer: new SGD(model.parameters(), { learningRate: 0.01 }), schedule };
  };

  test('ends the run, says what can be done, and leaves the last good checkpoint', async () => {
    const error = await failure(tinyTrainer({ ...setting(), iterations: 20, output, logEvery: 1, checkpointEvery: 3 }).fit());
    expect(error).toBeInstanceOf(DataError);
    expect((error as Error).message).toMatch(
      /^(loss is (NaN|Infinity)|the gradient is no longer finite) at iteration 6 \(learning rate 1e\+30, gradient norm \S+; the last finite loss was \d\.\d+ at iteration 5\)\. Try a lower learning rate or maxGradNorm\. The last checkpoint is .*last\.safetensors\.$/,
    );
    const { metadata, tensors } = await readSafetensors(join(output, 'last.safetensors'));
    expect(metadata['iteration']).toBe('3');
    for (const { data } of tensors.values()) expect(data.every((value) => Number.isFinite(value))).toBe(true);
  });

  test('is no checkpoint, also where no record was due', async () => {
    const error = await failure(tinyTrainer({ ...setting(), iterations: 20, output, checkpointEvery: 4, logEvery: 100 }).fit());
    expect((error as Error).message).toMatch(/^weights are no longer finite at iteration 8 .*loss was .* at iteration 1/);
    expect((await readSafetensors(join(output, 'last.safetensors'))).metadata['iteration']).toBe('4');
  });
});

describe('the log', () => {
  test('of an angular loss shows lambda, the angle and the gradient norm', async () => {
    await tinyTrainer({ iterations: 4, model: statefulModel(), output, logEvery: 2, evalLoader: tinyLoader(), evalEvery: 2 }).fit();
    const log = await readLog(join(output, 'log.jsonl'));
    expect(log.map(({ event, iteration }) => `${event} ${String(iteration)}`)).toEqual([
      'start 0', 'train 1', 'train 2', 'eval 2', 'train 4', 'eval 4', 'checkpoint 4', 'end 4',
    ]);
    expect(log[0]).toMatchObject({
      config: null, optimizer: 'Adam', dataset: 'tiny', seed: 7, batchSize: 12, iterations: 4, device: testDevice,
      versions: { spherenet: expect.any(String) as string, node: process.versions.node, onednn: expect.any(String) as string },
      threads: expect.any(Number) as number,
    });
    const records = entriesOf(log, 'train');
    // SphereFace's schedule, counted from 0.
    expect(records.map(({ lambda }) => lambda)).toEqual([0, 1, 3].map((iteration) => 1000 / (1 + 0.12 * iteration)));
    for (const record of records) {
      expect(record).toEqual({
        event: 'train',
        iteration: expect.any(Number) as number,
        seconds: expect.any(Number) as number,
        loss: expect.any(Number) as number,
        accuracy: expect.any(Number) as number,
        learningRate: 0.01,
        gradientNorm: expect.any(Number) as number,
        imagesPerSecond: expect.any(Number) as number,
        lambda: expect.any(Number) as number,
        meanThetaRadians: expect.any(Number) as number,
        meanThetaDegrees: ((record['meanThetaRadians'] as number) * 180) / Math.PI,
      });
      expect(record['meanThetaRadians']).toBeGreaterThan(0);
      expect(record['meanThetaRadians']).toBeLessThan(Math.PI);
    }
    expect(entriesOf(log, 'eval')[0]).toEqual({
      event: 'eval', iteration: 2, seconds: expect.any(Number) as number,
      loss: expect.any(Number) as number, accuracy: expect.any(Number) as number,
    });
  });

  test('of a plain softmax has no angles, and the learning rate of each step', async () => {
    await tinyTrainer({ iterations: 9, output, logEvery: 1 }).fit();
    const records = entriesOf(await readLog(join(output, 'log.jsonl')), 'train');
    expect(Object.keys(records[0])).toEqual(
      ['event', 'iteration', 'seconds', 'loss', 'accuracy', 'learningRate', 'gradientNorm', 'imagesPerSecond'],
    );
    expect(records.map(({ learningRate }) => learningRate)).toEqual([0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.001, 0.001]);
  });

  test('that is damaged, or in a folder that cannot be made, is named', async () => {
    await tinyTrainer({ iterations: 2, output }).fit();
    const resume = join(output, 'last.safetensors');
    await writeFile(join(output, 'log.jsonl'), 'damaged\n{}\n');
    await expect(tinyTrainer({ iterations: 3, output, resume }).fit()).rejects.toThrow(/cannot write the log .*log.jsonl: .*JSON/);
    await expect(tinyTrainer({ iterations: 3, output: join(resume, 'below') }).fit()).rejects.toThrow(/cannot make the output folder/);
  });
});

/** Mounts a disk of `size` on the folder; false where this user may not. */
function mountDisk(size: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', output], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

test('a full disk is a CheckpointError after which training can go on', async () => {
  if (!mountDisk('64k')) return;
  try {
    const model = statefulModel();
    const loader = tinyLoader({ augment });
    const optimizer = optimizers['Adam'](model);
    const ballast = join(output, 'ballast');
    const onStep = async (iteration: number) => {
      if (iteration === 5) await writeFile(ballast, Buffer.alloc(1 << 16)).catch(() => undefined);
    };
    const trainer = tinyTrainer({ model, optimizer, loader, iterations: 12, output, checkpointEvery: 3, logEvery: 100, callbacks: { onStep } });
    const error = await failure(trainer.fit());
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(/cannot write .*last.safetensors: ENOSPC/);
    expect(trainer.iteration).toBe(6);
    expect((await readSafetensors(join(output, 'last.safetensors'))).metadata['iteration']).toBe('3');
    await rm(ballast);
    expect(await trainer.fit()).toMatchObject({ iterations: 12, interrupted: false });
    expect(stateOf(model, optimizer)).toEqual((await run('Adam', { iterations: 12 })).state);
  } finally {
    execFileSync('umount', [output]);
  }
});

// 3,500 steps take minutes there; test/devices/moving.test.ts counts the tensors of fewer.
const unlessEmulated = isEmulated ? test.skip : test;

unlessEmulated('memory after 2,000 steps is what it was after 200: resident to within 2%, tensors exactly', async () => {
  // The engine's own memory grows while it compiles, hence a run before. No prefetching, so that the number of tensors
  // does not depend on how far the other thread has come.
  const script = `
    const { memoryStats } = require('./lib/device');
    const { Adam } = require('./lib/optim');
    const { statefulModel, tinyLoader, tinyTrainer } = require('./test/train/tiny');
    const model = statefulModel();
    const optimizer = new Adam(model.parameters());
    const train = (options) => tinyTrainer({ model, optimizer, loader: tinyLoader({ prefetch: 0 }), ...options }).fit();
    const resident = { early: [], late: [] };
    const tensors = new Set();
    const onStep = (iteration) => {
      if (iteration >= 200) tensors.add(memoryStats().storages);
      const period = iteration >= 200 && iteration <= 400 ? 'early' : iteration >= 1800 ? 'late' : null;
      if (period && iteration % 50 === 0) {
        gc();
        resident[period].push(process.memoryUsage.rss());
      }
    };
    train({ iterations: 1500 })
      .then(() => train({ iterations: 2000, callbacks: { onStep } }))
      .then(() => console.log(JSON.stringify({ resident, tensors: [...tensors] })));
  `;
  const { resident, tensors } = JSON.parse(await runScript(script)) as { resident: Record<'early' | 'late', number[]>; tensors: number[] };
  expect(tensors).toHaveLength(1);
  // The least of several readings: the engine gives memory back when it likes.
  expect(Math.min(...resident.late) / Math.min(...resident.early)).toBeLessThan(1.02);
});

/** Runs a script in a process of its own, in the root of the compiled library, and returns what it prints. */
async function runScript(script: string): Promise<string> {
  // One thread: two would wait for each other on a machine that has other work.
  const env = { ...process.env, OMP_NUM_THREADS: '1' };
  const child = spawn(process.execPath, ['--expose-gc', '--max-semi-space-size=4', '-e', script], { cwd: compiled, env, stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await once(child, 'close');
  return text;
}

test('trains in two workers at once, the main thread left free', async () => {
  const script = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { bytesOf, statefulModel, tinyTrainer } = require(workerData + '/test/train/tiny');
    const model = statefulModel();
    tinyTrainer({ iterations: 20, model }).fit().then(() => parentPort.postMessage(bytesOf(model.stateDict())));
  `;
  const train = async () => {
    const worker = new Worker(script, { eval: true, workerData: compiled });
    const [message] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
    return message[0] as Record<string, string>;
  };
  let turns = 0;
  const timer = setInterval(() => turns++, 2);
  const [first, second] = await Promise.all([train(), train()]);
  clearInterval(timer);
  const model = statefulModel();
  await tinyTrainer({ iterations: 20, model }).fit();
  expect([first, second]).toEqual([bytesOf(model.stateDict()), bytesOf(model.stateDict())]);
  expect(turns).toBeGreaterThan(20);
});

describe('progress', () => {
  test('writes lines where stderr is no terminal, if asked to', async () => {
    const write = jest.spyOn(process.stderr, 'write').mockReturnValue(true);
    try {
      await tinyTrainer({ iterations: 2, progress: 'auto' }).fit();
      expect(write).not.toHaveBeenCalled();
      await tinyTrainer({ iterations: 2, progress: true }).fit();
      expect(write.mock.calls.map(([text]) => text)).toEqual([
        expect.stringMatching(/^2\/2 \| loss [\d.]+ \| accuracy [\d.]+% \| [\d,.]+ img\/s \| ETA 0 s\n$/),
      ]);
    } finally {
      write.mockRestore();
    }
  });

  test('shows a bar on a terminal, and leaves SIGINT alone', async () => {
    const { isTTY } = process.stderr;
    const listeners = process.listenerCount('SIGINT');
    const write = jest.spyOn(process.stderr, 'write').mockReturnValue(true);
    process.stderr.isTTY = true;
    try {
      const onStep = () => { expect(process.listenerCount('SIGINT')).toBe(listeners); };
      await tinyTrainer({ iterations: 3, progress: 'auto', callbacks: { onStep } }).fit();
      const text = write.mock.calls.map(([chunk]) => String(chunk)).join('');
      expect(text).toMatch(/3\/3 \| loss [\d.]+ \| accuracy [\d.]+% \| [\d,.]+ img\/s \| ETA/);
    } finally {
      process.stderr.isTTY = isTTY;
      write.mockRestore();
    }
  });
});

describe('wrong options', () => {
  test.each<[string, object, RegExp]>([
    ['iterations', { iterations: 0 }, /iterations must be an integer at least 1, but got 0/],
    ['model', { model: undefined }, /Trainer needs a model, but got undefined/],
    ['logEvery', { logEvery: 0 }, /logEvery must be an integer at least 1/],
    ['evalEvery', { evalEvery: 5 }, /evalEvery needs an evalLoader/],
    ['checkpointEvery', { checkpointEvery: 5 }, /checkpointEvery needs an output folder/],
    ['maxGradNorm', { maxGradNorm: 0 }, /maxGradNorm must be a finite number greater than 0/],
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
