// Runs that end before their last step, and go on.
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataLoader, subset } from '../../lib/data';
import { CheckpointError } from '../../lib/errors';
import type { Classifier } from '../../lib/models';
import { Adam, type Optimizer, SGD } from '../../lib/optim';
import { type LogEntry, readLog } from '../../lib/report/log';
import { readSafetensors, type TrainerOptions } from '../../lib/train';
import { augment, bytesOf, entriesOf, plainModel, statefulModel, tinyDataset, tinyLoader, tinyTrainer } from './tiny';

let output: string;
beforeEach(async () => {
  output = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
});
afterEach(async () => {
  await rm(output, { recursive: true, force: true });
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
    const error = await tinyTrainer({ iterations: 8, resume, loader: tinyLoader({ seed: 8 }) }).fit().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toBe(`${resume} does not fit: seed is 7 in the checkpoint, but 8 in this run`);
    await expect(tinyTrainer({ iterations: 8, resume, loader: tinyLoader({ batchSize: 5 }) }).fit()).rejects.toThrow(/batchSize is 12/);
    const fewer = new DataLoader(subset(tinyDataset(), 0, 36), { batchSize: 12, seed: 7 });
    await expect(tinyTrainer({ iterations: 8, resume, loader: fewer }).fit()).rejects.toThrow(/images is 48 in the checkpoint, but 36/);
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
    const options = { iterations: 12, output, checkpointEvery: 3, logEvery: 100, callbacks: { onStep } };
    const trainer = tinyTrainer({ model, optimizer, loader, ...options });
    const error = await trainer.fit().catch((reason: unknown) => reason);
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
