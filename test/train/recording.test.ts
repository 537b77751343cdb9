// What a training leaves behind: log, times and progress.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GASoftmaxLoss, OrthogonalityRegularizer } from '../../lib/losses';
import { Classifier } from '../../lib/models';
import { readLog } from '../../lib/report/log';
import { testDevice } from '../support/device';
import { stepsThatWait } from '../support/waits';
import { bytesOf, entriesOf, plainModel, statefulModel, tinyLoader, tinyTrainer } from './tiny';

let output: string;
beforeEach(async () => {
  output = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
});
afterEach(async () => {
  await rm(output, { recursive: true, force: true });
});

describe('the log', () => {
  test('of a scaled annealing shows its course over the run', async () => {
    const features = plainModel().features;
    const annealing = { base: 100, gamma: 1, power: 1, minimum: 2, iterations: 40 };
    const model = new Classifier(features, new GASoftmaxLoss({ inFeatures: 16, classes: 4, margin: 2, annealing }));
    const { history } = await tinyTrainer({ iterations: 4, model, logEvery: 1 }).fit();
    expect(history.train.map(({ lambda }) => lambda)).toEqual([100, 100 / 11, 100 / 21, 100 / 31]);
  });

  test('of an angular loss shows lambda, the angle and the gradient norm', async () => {
    await tinyTrainer({ iterations: 4, model: statefulModel(), output, logEvery: 2, evalLoader: tinyLoader(), evalEvery: 2 }).fit();
    const log = await readLog(join(output, 'log.jsonl'));
    expect(log.map(({ event, iteration }) => `${event} ${String(iteration)}`)).toEqual([
      'start 0', 'train 1', 'train 2', 'eval 2', 'train 4', 'checkpoint 4', 'eval 4', 'end 4',
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

  test.each<[string, (log: Buffer) => Buffer]>([
    ['zeros', (log) => Buffer.concat([log, Buffer.alloc(500), Buffer.from('\n')])],
    ['zeros without a newline', (log) => Buffer.concat([log, Buffer.alloc(500)])],
    ['garbage', (log) => Buffer.concat([log, Buffer.from('\xfe\x01 {"event"\n{}\n', 'latin1')])],
    ['zeros between intact lines', (log) => Buffer.concat([log, Buffer.alloc(100), Buffer.from('\n'), log])],
  ])('that a power cut has damaged with %s is cut off there, and the intact checkpoint goes on', async (_, damage) => {
    const options = { output, logEvery: 1, evalLoader: tinyLoader() };
    await tinyTrainer({ ...options, iterations: 4 }).fit();
    const path = join(output, 'log.jsonl');
    const lines = (await readFile(path)).toString().split('\n');
    const intact = Buffer.from(lines.slice(0, 4).join('\n') + '\n');
    await writeFile(path, damage(intact));
    const kept = join(output, 'log.damaged.jsonl');
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    try {
      await tinyTrainer({ ...options, iterations: 6, resume: join(output, 'last.safetensors') }).fit();
      expect(warn.mock.calls.map(([text]) => text)).toEqual([expect.stringMatching(`^${path} was damaged from line 5 on, .*${kept}`)]);
    } finally {
      warn.mockRestore();
    }
    const log = await readLog(path);
    expect(log.map(({ event, iteration }) => `${event} ${String(iteration)}`)).toEqual([
      'start 0', 'train 1', 'train 2', 'train 3', 'start 4', 'damaged 4', 'change 4', 'train 5', 'train 6',
      'checkpoint 6', 'eval 6', 'end 6',
    ]);
    expect(Buffer.concat([intact, await readFile(kept)])).toEqual(damage(intact));
  });

  test('in a folder that cannot be made is an error that names it', async () => {
    await tinyTrainer({ iterations: 2, output }).fit();
    const below = join(output, 'last.safetensors', 'below');
    await expect(tinyTrainer({ iterations: 3, output: below }).fit()).rejects.toThrow(/cannot make the output folder/);
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

describe('writer: false', () => {
  test('writes nothing, and trains, evaluates and tells the same', async () => {
    const write = jest.spyOn(process.stderr, 'write').mockReturnValue(true);
    const run = async (writer: boolean) => {
      write.mockClear();
      const model = statefulModel();
      const called: string[] = [];
      const result = await tinyTrainer({
        model, writer, iterations: 6, evalLoader: tinyLoader(), evalEvery: 3, logEvery: 2, checkpointEvery: 3, progress: true,
        output: join(output, writer ? 'written' : 'unwritten'),
        callbacks: {
          onLog: ({ iteration }) => void called.push(`log ${iteration}`),
          onEval: ({ iteration }) => void called.push(`eval ${iteration}`),
          onCheckpoint: ({ iteration }) => void called.push(`checkpoint ${iteration}`),
        },
      }).fit();
      const { history, iterations, bestAccuracy, checkpoint } = result;
      const train = history.train.map(({ seconds: _, imagesPerSecond: __, ...measures }) => measures);
      const evaluations = history.eval.map(({ seconds: _, ...measures }) => measures);
      const state = [bytesOf(model.stateDict()), model.randomState()];
      const same = { state, train, evaluations, iterations, bestAccuracy };
      return { same, checkpoint, called, lines: write.mock.calls.length };
    };
    try {
      const [writing, silent] = [await run(true), await run(false)];
      expect(silent.same).toEqual(writing.same);
      expect(silent.called).toEqual(writing.called.filter((call) => !call.startsWith('checkpoint')));
      expect([writing, silent].map(({ called, lines, checkpoint }) => [called.length, lines, checkpoint])).toEqual([
        [8, 1, join(output, 'written', 'last.safetensors')],
        [6, 0, null],
      ]);
      expect(await readdir(output)).toEqual(['written']);
    } finally {
      write.mockRestore();
    }
  });

  test('resumes like the writer, and leaves its files alone', async () => {
    const options = { output, evalLoader: tinyLoader() };
    const first = await tinyTrainer({ ...options, iterations: 3 }).fit();
    const resume = first.checkpoint!;
    const contents = () => Promise.all([resume, join(output, 'log.jsonl')].map((path) => readFile(path)));
    const before = await contents();
    const second = await tinyTrainer({ ...options, iterations: 5, resume, writer: false }).fit();
    expect(second).toMatchObject({ iterations: 5, checkpoint: resume });
    expect(second.bestAccuracy).toBeGreaterThanOrEqual(first.bestAccuracy!);
    expect(await contents()).toEqual(before);
  });
});
