// One training step: what changes its gradients, and what ends it.
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memoryStats } from '../../lib/device';
import { DataError, OptionError } from '../../lib/errors';
import { OrthogonalityRegularizer } from '../../lib/losses';
import { native } from '../../lib/native';
import { scale } from '../../lib/ops';
import { gradientNorm, SGD } from '../../lib/optim';
import { type GradientReducer, readSafetensors, type TrainerOptions } from '../../lib/train';
import { hasCuda, testDevice } from '../support/device';
import { bytesOf, plainModel, statefulModel, tinyLoader, tinyTrainer } from './tiny';

let output: string;
beforeEach(async () => {
  output = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
});
afterEach(async () => {
  await rm(output, { recursive: true, force: true });
});

describe('the gradient', () => {
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

/** Multiplies every gradient in place. */
function scaling(factor: number): GradientReducer {
  return {
    reduce: (parameters) => {
      for (const { grad } of parameters) grad!.assign(scale(grad!, factor));
    },
  };
}

/** Trains with the plainest optimizer; what it makes of a gradient can be told in advance. */
async function descend(learningRate: number, options: Partial<TrainerOptions> = {}) {
  const model = plainModel();
  const before = bytesOf(model.stateDict());
  const optimizer = new SGD(model.parameters(), { learningRate });
  const schedule = { learningRateAt: () => learningRate };
  const { history } = await tinyTrainer({ iterations: 6, model, optimizer, schedule, logEvery: 1, ...options }).fit();
  const records = history.train.map(({ loss, accuracy, gradientNorm: norm }) => ({ loss, accuracy, norm }));
  return { before, after: bytesOf(model.stateDict()), records };
}

describe('gradientReducer', () => {
  test('changes the gradients that the update uses and the record shows', async () => {
    const [plain, halved] = [await descend(0.25), await descend(0.5, { gradientReducer: scaling(0.5) })];
    expect(halved.after).toEqual(plain.after);
    expect(halved.records.map(({ norm }) => 2 * norm)).toEqual(plain.records.map(({ norm }) => norm));
    const zeroed = await descend(0.5, { gradientReducer: scaling(0) });
    expect(zeroed.after).toEqual(zeroed.before);
    expect(zeroed.records.map(({ norm }) => norm)).toEqual([0, 0, 0, 0, 0, 0]);
  });

  test('is called once a step with all parameters, before their gradients are clipped', async () => {
    const model = plainModel();
    const events: string[] = [];
    const norms: number[] = [];
    const gradientReducer: GradientReducer = {
      reduce: (parameters) => {
        expect(parameters).toEqual(model.parameters());
        events.push('reduce');
        norms.push(gradientNorm(parameters));
        scaling(8).reduce(parameters);
      },
    };
    const onStep = (iteration: number) => void events.push(`step ${iteration}`);
    const { history } = await tinyTrainer({
      iterations: 3, model, gradientReducer, maxGradNorm: 1e-3, logEvery: 1, callbacks: { onStep },
    }).fit();
    expect(events).toEqual(['reduce', 'step 1', 'reduce', 'step 2', 'reduce', 'step 3']);
    expect(history.train.map((record) => record.gradientNorm)).toEqual(norms.map((norm) => 8 * norm));
    expect(Math.min(...norms)).toBeGreaterThan(1e-3);
  });

  test('leaves no tensors behind', async () => {
    const storages: number[] = [];
    const onStep = (iteration: number) => {
      if (iteration > 2) storages.push(memoryStats(testDevice).storages);
    };
    await tinyTrainer({
      iterations: 12, gradientReducer: scaling(0.5), loader: tinyLoader({ prefetch: 0 }), logEvery: 100, callbacks: { onStep },
    }).fit();
    // Not equal: tensors of the tests before may be collected meanwhile.
    expect(Math.max(...storages)).toBe(storages[0]);
  });

  test.each<[string, () => unknown, new (...args: never[]) => Error, RegExp]>([
    ['fails', () => { throw new Error('a process is gone'); }, Error, /^a process is gone$/],
    ['is asynchronous', () => Promise.resolve(), OptionError, /^reduce\(\) of gradientReducer must not be asynchronous/],
  ])('that %s ends the run before the update, and fit() can go on', async (_, fail, type, message) => {
    const model = plainModel();
    const before = bytesOf(model.stateDict());
    const reduce = jest.fn<unknown, []>().mockImplementationOnce(fail);
    const trainer = tinyTrainer({ iterations: 3, model, gradientReducer: { reduce } });
    const error = await trainer.fit().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(type);
    expect((error as Error).message).toMatch(message);
    expect(trainer.iteration).toBe(0);
    expect(bytesOf(model.stateDict())).toEqual(before);
    expect(await trainer.fit()).toMatchObject({ iterations: 3 });
    expect(reduce).toHaveBeenCalledTimes(4);
  });
});

/** Puts other tensors in the place of the gradients. */
const replacing: GradientReducer = {
  reduce: (parameters) => {
    for (const parameter of parameters) {
      const grad = parameter.grad!;
      parameter.grad = scale(grad, 0.5).keep();
      grad.dispose();
    }
  },
};

(hasCuda ? describe : describe.skip)('gradientReducer with cudaGraph', () => {
  // Two ordinary steps, and four on the graph.
  test.each<[string, GradientReducer, number]>([
    ['works on the gradients of each replay', scaling(0.5), 1],
    ['may replace the gradients, at the price of a capture in each step', replacing, 4],
  ])('%s', async (_, gradientReducer, captures) => {
    const ordinary = await descend(0.5, { gradientReducer, device: 'cuda' });
    const capture = jest.spyOn(native, 'beginCapture');
    try {
      expect(await descend(0.5, { gradientReducer, device: 'cuda', cudaGraph: true })).toEqual(ordinary);
      expect(capture).toHaveBeenCalledTimes(captures);
    } finally {
      capture.mockRestore();
    }
  });
});

describe('a loss that is not finite', () => {
  const schedule = { learningRateAt: (iteration: number) => (iteration < 4 ? 0.01 : 1e30) };
  const setting = () => {
    const model = plainModel();
    return { model, optimizer: new SGD(model.parameters(), { learningRate: 0.01 }), schedule };
  };

  test('ends the run, says what can be done, and leaves the last good checkpoint', async () => {
    const trainer = tinyTrainer({ ...setting(), iterations: 20, output, logEvery: 1, checkpointEvery: 3 });
    const error = await trainer.fit().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(DataError);
    expect((error as Error).message).toMatch(
      /^(loss is (NaN|Infinity)|the gradient is no longer finite) at iteration 6 \(learning rate 1e\+30, gradient norm \S+; the last finite loss was \d\.\d+ at iteration 5\)\. Try a lower learning rate or maxGradNorm\. The last checkpoint is .*last\.safetensors\.$/,
    );
    const { metadata, tensors } = await readSafetensors(join(output, 'last.safetensors'));
    expect(metadata['iteration']).toBe('3');
    for (const { data } of tensors.values()) expect(data.every((value) => Number.isFinite(value))).toBe(true);
  });

  test('is no checkpoint, also where no record was due', async () => {
    const trainer = tinyTrainer({ ...setting(), iterations: 20, output, checkpointEvery: 4, logEvery: 100 });
    const error = await trainer.fit().catch((reason: unknown) => reason);
    expect((error as Error).message).toMatch(/^weights are no longer finite at iteration 8 .*loss was .* at iteration 1/);
    expect((await readSafetensors(join(output, 'last.safetensors'))).metadata['iteration']).toBe('4');
  });

  test('ends processes that do not write too', async () => {
    const options = { ...setting(), iterations: 20, output, checkpointEvery: 4, logEvery: 100, writer: false };
    await expect(tinyTrainer(options).fit()).rejects.toThrow(/^weights are no longer finite at iteration 8 .*or maxGradNorm\.$/);
    expect(await readdir(output)).toEqual([]);
  });
});
