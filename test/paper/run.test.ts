import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TrainedExperiment } from '../../lib/paper/experiment';
import { paperText } from '../../lib/paper/report';
import { recipes } from '../../lib/paper/recipe';
import { type PaperOptions, runPaper } from '../../lib/paper/run';
import { logCurve, readLog } from '../../lib/report';
import { readSafetensors } from '../../lib/train';
import { hasCuda } from '../support/device';
import { toyImages } from '../support/toyImages';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const training = { batchSize: 16 };
const cells = [
  {
    name: 'original/softmax',
    labels: { operator: 'Original Conv', loss: 'Softmax' },
    model: { network: 'cnn', depth: 3 },
    training,
    paper: 90.5,
  },
  {
    name: 'sigmoid/ga-softmax',
    labels: { operator: 'Sigmoid', loss: 'GA-Softmax' },
    model: { network: 'cnn', depth: 3, convolution: { operator: 'sigmoid' }, head: { loss: 'ga-softmax' } },
    training,
    paper: 92,
    baseline: 'original/softmax',
  },
] as const;
const preset = { cells, widths: [4, 4, 4], iterations: 10, seeds: [1] } as const;
const toy: TrainedExperiment = {
  kind: 'trained',
  name: 'toy',
  title: 'A toy',
  shows: 'Nothing.',
  presets: { mini: preset, paper: { ...preset, chosen: ['sigmoid/ga-softmax'], images: 128, testImages: 20 } },
};

const data = { train: toyImages('toy train', 256), test: toyImages('toy test', 40) };
const options = (output: string): PaperOptions => ({
  experiment: toy, preset: 'mini', load: () => Promise.resolve(data), output: join(folder, output),
});

/** What training has left of a cell: losses, evaluations, and all tensors of the checkpoint. */
async function tracesOf(output: string, cell: string) {
  const run = join(folder, output, cell, 'seed-1');
  const log = await readLog(join(run, 'log.jsonl'));
  const { tensors } = await readSafetensors(join(run, 'last.safetensors'));
  return { evaluations: logCurve(log, 'eval', 'loss'), last: logCurve(log, 'train', 'loss').at(-1), tensors };
}

const standings = ({ cells: results }: Awaited<ReturnType<typeof runPaper>>) =>
  results.flatMap(({ runs }) => runs.map(({ finished, iteration }) => [finished, iteration]));

test('a run leaves a table, curves, and log, checkpoint and setting of every cell', async () => {
  const summary = await runPaper(options('run'));
  expect(standings(summary)).toEqual([[true, 10], [true, 10]]);
  for (const { best, last, seconds, seed } of summary.cells.flatMap(({ runs }) => runs)) {
    expect(seed).toBe(1);
    expect(best).toBeGreaterThanOrEqual(last!);
    expect(seconds).toBeGreaterThan(0);
  }
  const run = join(folder, 'run');
  expect((await readdir(run)).sort()).toEqual([
    'curves.png', 'curves.svg', 'original', 'report.md', 'setting.json', 'sigmoid', 'summary.json',
  ]);
  expect((await readdir(join(run, cells[0].name, 'seed-1'))).sort()).toEqual([
    'config.json', 'data.json', 'last.safetensors', 'log.jsonl',
  ]);
  expect(JSON.parse(await readFile(join(run, 'summary.json'), 'utf8'))).toEqual(JSON.parse(JSON.stringify(summary)));

  const [plain, sphere] = summary.cells.map(({ runs: [{ last }] }) => 100 * last!);
  const sign = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(2)}`;
  const row = `| 92.00 | ${sign(sphere - plain)} | +1.50 |`;
  expect(await readFile(join(run, 'report.md'), 'utf8')).toContain(row);
  expect(paperText(toy, summary)).toMatch(/^Original Conv +Softmax +10 .* 90\.50 /m);
});

const withCuda = hasCuda ? test : test.skip;

withCuda('a run on cuda says so in summary and logs', async () => {
  const summary = await runPaper({ ...options('run'), cells: [cells[1].name], iterations: 2, device: 'cuda' });
  expect(summary.machine.gpu).toMatchObject({ name: expect.any(String) as string, precision: 'fp32' });
  const [start] = await readLog(join(folder, 'run', cells[1].name, 'seed-1', 'log.jsonl'));
  expect(start).toMatchObject({ event: 'start', device: 'cuda' });
});

test('stopped and run again it gives the results of an uninterrupted run', async () => {
  const whole = await runPaper(options('whole'));
  const controller = new AbortController();
  const stopped = await runPaper({
    ...options('stopped'),
    signal: controller.signal,
    onStep: ({ step }) => { if (step === 13) controller.abort(); },
  });
  expect(standings(stopped)).toEqual([[true, 10], [false, 3]]);

  const trained = new Set<string>();
  const resumed = await runPaper({ ...options('stopped'), onEvaluation: (cell) => { trained.add(cell); } });
  expect([...trained]).toEqual([cells[1].name]);
  const accuracies = ({ cells: results }: typeof whole) => results.flatMap(({ runs }) => runs.map(({ best, last }) => ({ best, last })));
  expect(accuracies(resumed)).toEqual(accuracies(whole));
  for (const { name } of cells) expect(await tracesOf('stopped', name)).toEqual(await tracesOf('whole', name));
});

test('every cell is trained with one seed before the next one; curves show their spread', async () => {
  const order = new Set<string>();
  const summary = await runPaper({
    ...options('run'), seeds: [3, 4], iterations: 2, onEvaluation: (network) => { order.add(network); },
  });
  expect([...order]).toEqual([3, 4].flatMap((seed) => cells.map(({ name }) => `${name}, seed ${seed}`)));
  expect(await readFile(join(folder, 'run', 'report.md'), 'utf8')).toMatch(/^\| Sigmoid \| GA-Softmax \| 2\/2 \| 2 \| [\d.]+ ± [\d.]+ \|/m);
  // Of two seeds the deviation is the distance over the root of 2.
  const [one, other] = summary.cells[0].runs.map(({ last }) => 100 * last!);
  const deviation = (Math.abs(one - other) / Math.SQRT2).toFixed(2);
  expect(paperText(toy, summary)).toMatch(new RegExp(`^Original Conv .* ${((one + other) / 2).toFixed(2)} ± ${deviation} +90\\.50 `, 'm'));
  expect(await readFile(join(folder, 'run', 'curves.svg'), 'utf8')).toContain('area mark');
});

test('cells that are finished are skipped, others can be added', async () => {
  await runPaper({ ...options('run'), cells: [cells[0].name] });
  const log = join(folder, 'run', cells[0].name, 'seed-1', 'log.jsonl');
  const before = await readFile(log, 'utf8');
  const steps: [number, number][] = [];
  const summary = await runPaper({ ...options('run'), onStep: ({ step, steps: all }) => { steps.push([step, all]); } });
  expect(standings(summary)).toEqual([[true, 10], [true, 10]]);
  expect(steps).toEqual(Array.from({ length: 10 }, (_, i) => [11 + i, 20]));
  expect(await readFile(log, 'utf8')).toBe(before);
});

test('a run whose deadline is near stops with a checkpoint and a report without numbers that were not run', async () => {
  const summary = await runPaper({ ...options('run'), deadline: performance.now() + 1000 });
  expect(standings(summary)).toEqual([[false, 1], [false, 0]]);
  expect(await readFile(join(folder, 'run', 'report.md'), 'utf8')).toMatch(/^\| Sigmoid .*\| 0 \| – \| – \| 92\.00 \| \+1\.50 \| – \|$/m);
});

test('a preset has its own cells, training images and test images; data, widths and iterations can be replaced', async () => {
  const asked: string[] = [];
  const load = (name: string) => {
    asked.push(name);
    return Promise.resolve(data);
  };
  const images = new Set<number>();
  await runPaper({
    ...options('run'), preset: 'paper', cells: ['all'], load, data: 'mnist', widths: [4, 4, 8], iterations: 1,
    onEvaluation: (_, { images: count }) => { images.add(count); },
  });
  expect(asked).toEqual(['mnist']);
  expect([...images]).toEqual([20]);
  const config = await readFile(join(folder, 'run', cells[1].name, 'seed-1', 'config.json'), 'utf8');
  expect(JSON.parse(config)).toMatchObject({ dataset: 'mnist', iterations: 1, seed: 1, model: { widths: [4, 4, 8] }, regularizer: { regularizer: 'orthogonality' } });
  const chosen = await runPaper({ ...options('chosen'), preset: 'paper', iterations: 1 });
  expect(chosen.cells.map(({ name }) => name)).toEqual(['sigmoid/ga-softmax']);
});

test('a run that diverges is reported, and the others go on', async () => {
  const broken = { ...cells[0], training: { ...training, learningRate: 1e30, optimizer: 'sgd' } } as const;
  const experiment = { ...toy, presets: { ...toy.presets, mini: { ...preset, cells: [broken, cells[1]], iterations: 4 } } };
  const summary = await runPaper({ ...options('run'), experiment });
  expect(summary.cells[0].runs[0]).toMatchObject({ finished: true, diverged: expect.stringContaining('at iteration') as string });
  expect(summary.cells[1].runs[0]).toMatchObject({ finished: true, diverged: null, iteration: 4 });
  expect(await readFile(join(folder, 'run', 'report.md'), 'utf8')).toContain('original/softmax, seed 1, diverged: ');
  expect(await runPaper({ ...options('run'), experiment })).toEqual(summary);
});

test('a cell is not resumed on other images of the same name, and a run that could not begin claims no folder', async () => {
  const half = { ...options('run'), cells: [cells[0].name], deadline: performance.now() + 1000 };
  await runPaper(half);
  const others = { train: toyImages('toy train', 300), test: data.test };
  await expect(runPaper({ ...half, deadline: undefined, load: () => Promise.resolve(others) })).rejects.toThrow(/data\.json/);
  await expect(runPaper({ ...options('none'), load: () => Promise.reject(new Error('no such images')) })).rejects.toThrow('no such images');
  expect(await readdir(folder)).toEqual(['run']);
  // The user's own stays.
  await mkdir(join(folder, 'own'));
  await expect(runPaper({ ...options('own'), load: () => Promise.reject(new Error('no such images')) })).rejects.toThrow('no such images');
  expect(await readdir(folder)).toEqual(['own', 'run']);
});

test('an output folder of another setting is refused, naming what differs', async () => {
  const short = { ...options('run'), cells: [cells[0].name], iterations: 1 };
  await runPaper(short);
  const path = join(folder, 'run', 'setting.json');
  await expect(runPaper({ ...short, iterations: 2 })).rejects.toThrow(`iterations is 1 in ${path}, but 2 in this run`);
  await expect(runPaper({ ...short, widths: [4, 4, 8] })).rejects.toThrow(`widths is [4,4,4] in ${path}`);
  // Another version of the recipe.
  const config = join(folder, 'run', cells[0].name, 'seed-1', 'config.json');
  await writeFile(config, (await readFile(config, 'utf8')).replace('"adam"', '"sgd"'));
  await expect(runPaper(short)).rejects.toThrow(`optimizer is "sgd" in ${config}, but "adam" in this run`);
});

test('one run at a time has the output folder', async () => {
  let second: Promise<unknown> | undefined;
  const short = { ...options('run'), cells: [cells[0].name], iterations: 1 };
  await runPaper({ ...short, onEvaluation: () => { second = runPaper(short).catch((reason: unknown) => reason); } });
  expect(await second).toMatchObject({ message: `${join(folder, 'run')} is in use: another run writes there` });
});

test('what a power cut or a kill has left is gone on with, or named with what to do', async () => {
  const short = { ...options('run'), cells: [cells[0].name], iterations: 4 };
  const whole = await runPaper(short);
  const run = join(folder, 'run', cells[0].name, 'seed-1');
  const log = await readFile(join(run, 'log.jsonl'), 'utf8');
  const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  // The end of the log is damaged; then there is a log, but no checkpoint.
  await writeFile(join(run, 'log.jsonl'), log.split('\n').slice(0, 2).join('\n') + '\n' + '\0'.repeat(50) + '\n');
  const accuracies = ({ cells: [{ runs }] }: typeof whole) => runs.map(({ finished, last, best }) => ({ finished, last, best }));
  expect(accuracies(await runPaper(short))).toEqual(accuracies(whole));
  expect(warn).toHaveBeenCalledTimes(1);
  warn.mockRestore();
  await rm(join(run, 'last.safetensors'));
  await writeFile(join(run, 'log.jsonl'), log.split('\n').slice(0, 2).join('\n') + '\n');
  expect(accuracies(await runPaper(short))).toEqual(accuracies(whole));
  expect((await readdir(run)).sort()).toEqual(['config.json', 'data.json', 'last.safetensors', 'log.damaged.jsonl', 'log.jsonl']);

  const setting = join(folder, 'run', 'setting.json');
  for (const [damaged, what] of [['', 'empty'], ['{"experi', 'damaged'], ['\0\0', 'damaged'], ['null', 'damaged']] as const) {
    await writeFile(setting, damaged);
    await expect(runPaper(short)).rejects.toThrow(`${setting} is ${what}, as after a power cut; remove it, and the same command goes on`);
  }
  await rm(setting);
  expect(accuracies(await runPaper(short))).toEqual(accuracies(whole));
});

test('wrong options are refused before anything is written', async () => {
  const refused = (changes: Partial<PaperOptions>) => expect(runPaper({ ...options('other'), ...changes })).rejects;
  await refused({ widths: [4, 4] }).toThrow(/^widths: /);
  await refused({ cells: ['linear'] }).toThrow('cells of toy are all, original/softmax, sigmoid/ga-softmax, but got "linear"');
  await refused({ iterations: 0.5 }).toThrow('iterations must be');
  const own = { ...cells[0], model: { ...cells[0].model, widths: [4, 4, 4] as [number, number, number] } };
  const experiment: TrainedExperiment = { ...toy, presets: { ...toy.presets, mini: { ...preset, cells: [own] } } };
  await refused({ experiment, widths: [4, 4, 8] }).toThrow('widths belong to each cell of toy');
  const withRecipe = { ...preset, cells: [{ ...cells[0], recipe: recipes.paper }] };
  const ownRecipe: TrainedExperiment = { ...toy, presets: { ...toy.presets, mini: withRecipe } };
  await refused({ experiment: ownRecipe, recipe: 'official' }).toThrow('recipe belongs to each cell of toy');
  expect(await readdir(folder)).toEqual([]);
});
