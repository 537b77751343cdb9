// Runs that end before their last step, and go on.
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataLoader, subset } from '../../lib/data';
import { CheckpointError } from '../../lib/errors';
import { GASoftmaxLoss, type HeadConfig, lossNames, OrthogonalityRegularizer } from '../../lib/losses';
import { Classifier, cnn, type CnnOptions } from '../../lib/models';
import { Adam, CosineSchedule, type Optimizer, parameterGroups, SGD, StepSchedule, WarmupSchedule } from '../../lib/optim';
import { type LogEntry, readLog } from '../../lib/report/log';
import { readSafetensors, type TrainerOptions, writeSafetensors } from '../../lib/train';
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
    expect((error as Error).message).toBe(
      `${resume} does not fit: seed is 7 in the checkpoint, but 8 in this run; if that is on purpose, name it in change (--change seed)`,
    );
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

describe('what decides the result', () => {
  const schedule = (milestones: number[], learningRate = 0.01) => new StepSchedule({ learningRate, milestones });
  const base = (): Partial<TrainerOptions> & { iterations: number } => {
    const model = statefulModel();
    return {
      model, iterations: 4, optimizer: new Adam(parameterGroups(model, { weightDecay: 1e-4 })), schedule: schedule([7]), maxGradNorm: 5,
      loader: tinyLoader({ augment }), regularizer: new OrthogonalityRegularizer({ coefficient: 0.1 }),
    };
  };
  const optimizer = (weightDecay: number, options = {}) => (model: Classifier) =>
    new Adam(parameterGroups(model, { weightDecay }), options);
  let resume: string;
  beforeEach(async () => {
    resume = join(output, 'last.safetensors');
    await tinyTrainer({ ...base(), output }).fit();
  });
  const messageOf = async (options: Partial<TrainerOptions>) => {
    const error = await tinyTrainer({ ...base(), resume, ...options }).fit().then(() => null, (reason: unknown) => reason);
    if (error !== null) expect(error).toBeInstanceOf(CheckpointError);
    return error === null ? null : (error as Error).message;
  };
  const other = (pixel: number) => {
    const { images, ...rest } = tinyDataset();
    return { ...rest, images: images.map((value, i) => (i === 0 ? pixel : value)) };
  };

  test.each<[string, () => Partial<TrainerOptions>, RegExp]>([
    ['learning rate', () => ({ schedule: schedule([7], 0.1) }), /: schedule\.learningRate is 0\.01 in the checkpoint, but 0\.1 in this run;/],
    ['milestones', () => ({ schedule: schedule([5, 7]) }), /: schedule\.milestones is \[7\] in the checkpoint, but \[5, 7\] in this run;/],
    ['coefficient', () => ({ regularizer: new OrthogonalityRegularizer() }), /: regularizer\.coefficient is 0\.1 .* but 0\.0001/],
    ['regularizer', () => ({ regularizer: undefined }), /: regularizer is \{.* in the checkpoint, but null/],
    ['augmentation', () => ({ loader: tinyLoader({ augment: { padding: 1 } }) }), /: loader\.augment\.flipHorizontal is true .* but false/],
    ['order', () => ({ loader: tinyLoader({ augment, shuffle: false }) }), /: loader\.shuffle is true .* but false/],
    ['mean', () => ({ loader: tinyLoader({ augment, mean: 120.3 }) }), /: loader\.mean is \[127\.5, 127\.5, 127\.5\] .* but \[120\.3, 120\.3, 120\.3\]/],
    ['spread', () => ({ loader: tinyLoader({ augment, std: 64 }) }), /: loader\.std is /],
    ['another kind of schedule', () => ({ schedule: new CosineSchedule({ learningRate: 1e-2, iterations: 6 }) }), /: schedule\.kind is "step" .* but "cosine"/],
    ['a warm-up', () => ({ schedule: new WarmupSchedule({ schedule: schedule([5]), iterations: 2 }) }), /: schedule\.kind is "step" .* but "warmup"/],
    ['gradient norm', () => ({ maxGradNorm: undefined }), /: maxGradNorm is 5 in the checkpoint, but null/],
    ['a pixel', () => ({ loader: new DataLoader(other(255), { batchSize: 12, seed: 7, augment }) }), /: loader\.contents is "[0-9a-f]{16}"/],
    ['names of classes', () => ({ loader: new DataLoader({ ...tinyDataset(), classes: ['a', 'b', 'c', 'e'] }, { batchSize: 12, seed: 7, augment }) }), /: classes is \["a", "b", "c", "d"\]/],
  ])('is compared: %s', async (_, options, message) => {
    expect(await messageOf({ iterations: 6, ...options() })).toMatch(message);
  });

  test('includes the options of the optimizer', async () => {
    const model = statefulModel();
    expect(await messageOf({ model, optimizer: optimizer(1e-4, { beta1: 0.8 })(model) })).toMatch(/: optimizer\.beta1 is 0\.9 .* but 0\.8/);
    expect(await messageOf({ model, optimizer: optimizer(0)(model) })).toMatch(/: optimizer\.weightDecay is \[0\.0001, 0\] .* but \[0, 0\]/);
    // Moments go by their places: other groups would mix them up.
    const whole = new Adam(model.parameters(), { weightDecay: 1e-4 });
    expect(await messageOf({ model, optimizer: whole, change: ['optimizer'] })).toMatch(/: optimizer\.parameters is .*; the parameters of an optimizer and their order cannot be changed$/);
  });

  test('is told in one error, and taken on purpose by name, which the log tells', async () => {
    const options = { iterations: 6, schedule: schedule([5], 0.1), loader: tinyLoader({ augment, batchSize: 6 }), output };
    const message = await messageOf(options);
    expect(message).toMatch(/batchSize is 12 .*; schedule\.learningRate is .*; schedule\.milestones is .*--change batch-size,learning-rate,milestones/);
    expect(await messageOf({ ...options, change: ['learningRate', 'milestones'] })).toMatch(/: batchSize is 12 in the checkpoint, but 6 in this run; if/);
    expect(await messageOf({ ...options, change: ['batchSize', 'schedule'] })).toBeNull();
    const [change] = entriesOf(await readLog(join(output, 'log.jsonl')), 'change');
    expect(change).toMatchObject({ iteration: 4, changes: expect.arrayContaining([
      { option: 'batchSize', from: 12, to: 6 }, { option: 'schedule.learningRate', from: 0.01, to: 0.1 },
    ]) as unknown });
    // From now on these are the run's own.
    expect(await messageOf({ ...options, iterations: 8 })).toBeNull();
  });

  test('is not compared where a loader, a schedule or an older checkpoint does not tell it', async () => {
    const own = { learningRateAt: () => 0.05 };
    expect(await messageOf({ iterations: 6, schedule: own })).toBeNull();
    const { tensors, metadata } = await readSafetensors(resume);
    const { settings, classes, ...training } = JSON.parse(metadata['training']) as Record<string, unknown>;
    expect(settings).toBeDefined();
    expect(classes).toEqual(['a', 'b', 'c', 'd']);
    await writeSafetensors(resume, tensors, { ...metadata, training: JSON.stringify(training) });
    expect(await messageOf({ iterations: 6, schedule: schedule([1, 2]), loader: tinyLoader(), regularizer: undefined })).toBeNull();
  });

  test('more iterations are no difference, unless the margin is annealed by them', async () => {
    const annealing = { base: 100, gamma: 1, power: 1, minimum: 0, iterations: 40 };
    const annealed = () =>
      new Classifier(plainModel().features, new GASoftmaxLoss({ inFeatures: 16, classes: 4, margin: 2, annealing }));
    const folder = join(output, 'annealed');
    const options = { output: folder, resume: join(folder, 'last.safetensors') };
    await tinyTrainer({ model: annealed(), iterations: 4, output: folder, ...abortAfter(2) }).fit();
    await expect(tinyTrainer({ ...options, model: annealed(), iterations: 8 }).fit()).rejects.toThrow(/: iterations is 4 in the checkpoint, but 8/);
    await tinyTrainer({ ...options, model: annealed(), iterations: 8, change: ['iterations'] }).fit();
    expect(await messageOf({ iterations: 5 })).toBeNull();
  });
});

describe('a default that is written out', () => {
  const size = { depth: 3, widths: [4, 4, 4] as [number, number, number], classes: 4, features: 8, imageSize: 8 } as const;
  const sigmoid = { operator: 'sigmoid', k: 0.3 } as const;
  const pairs: [string, Partial<CnnOptions>, Partial<CnnOptions>][] = [
    ['convolution', { convolution: {} }, { convolution: { ...sigmoid, learnable: false, normGuard: { kind: 'max', eps: 1e-6 } } }],
    ['learned k', { convolution: { learnable: 'layer' } }, { convolution: { operator: 'sigmoid', k: 0.5, learnable: 'layer', positivity: 'softplus' } }],
    ['batch norm', {}, { batchNorm: { momentum: 0.1, eps: 1e-5 } }],
    ['sphere norm', { convolution: {}, sphereNorm: {} }, { convolution: {}, sphereNorm: { beta: 'learned', gamma: 'learned' } }],
    ...([
      [{ loss: 'softmax' }, { bias: true, labelSmoothing: 0 }],
      [{ loss: 'w-softmax' }, sigmoid],
      [{ loss: 'a-softmax' }, { margin: 4, annealing: 'sphereface-scaled', annealingStart: 0 }],
      [{ loss: 'ga-softmax' }, { ...sigmoid, margin: 4, annealing: 'sphereface-scaled', annealingStart: 0 }],
      [{ loss: 's-softmax', radius: 8 }, sigmoid],
      [{ loss: 'arcface' }, { margin: 0.5, scale: 64 }],
      [{ loss: 'cosface' }, { margin: 0.35, scale: 64 }],
      [{ loss: 'normface' }, { scale: 30, learnScale: false }],
      [{ loss: 'hinge' }, { margin: 1, squared: false, bias: true }],
      [{ loss: 'hinge', operator: 'sigmoid' }, { k: 0.3, radius: 1 }],
    ] as [HeadConfig, object][]).map(([head, written]): [string, Partial<CnnOptions>, Partial<CnnOptions>] => [
      head.loss, { head }, { head: { ...head, ...written } },
    ]),
  ];

  test.each(pairs)('is no difference: %s', async (_, missing, written) => {
    const train = async (options: Partial<CnnOptions>, more: Partial<TrainerOptions> = {}) => {
      const model = cnn({ ...size, ...options });
      await tinyTrainer({ model, iterations: 2, ...more }).fit();
      return bytesOf(model.stateDict());
    };
    const resume = join(output, 'last.safetensors');
    // The same network indeed.
    expect(await train(written)).toEqual(await train(missing, { output }));
    await train(written, { resume });
    await train(written, { output, overwrite: true });
    await train(missing, { resume });
  });

  test('of every loss is known', () => {
    expect(new Set(pairs.flatMap(([, { head }]) => head?.loss ?? []))).toEqual(new Set(lossNames));
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
