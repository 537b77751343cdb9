import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { modelConfig } from '../../lib/models/registry';
import { type PaperOptions, runPaper } from '../../lib/paper/run';
import { paperText } from '../../lib/paper/report';
import { recipes } from '../../lib/paper/recipe';
import { cellConfig, defaultCells, paperCell, paperLosses, paperOperators, requireCellName } from '../../lib/paper/table';
import { paperMilestones } from '../../lib/paper/trainingRun';
import { logCurve, readLog } from '../../lib/report';
import { readSafetensors } from '../../lib/train';
import { toyImages } from '../support/toyImages';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const data = { train: toyImages('toy train', 256), test: toyImages('toy test', 40) };
const cells = ['original/softmax', 'sigmoid-0.3/ga-softmax'] as const;
const options = (output: string): PaperOptions => ({
  data, cells, widths: [4, 4, 4], iterations: 10, recipe: 'paper', seed: 1, output: join(folder, output),
});

/** What training has left of a cell: losses, evaluations, and all tensors of the checkpoint. */
async function tracesOf(output: string, cell: string) {
  const log = await readLog(join(folder, output, cell, 'log.jsonl'));
  const { tensors } = await readSafetensors(join(folder, output, cell, 'last.safetensors'));
  return { evaluations: logCurve(log, 'eval', 'loss'), last: logCurve(log, 'train', 'loss').at(-1), tensors };
}

test('the table has the accuracies that the text of the paper names', () => {
  const accuracy = (text: string) => paperCell(requireCellName('cells', text)).paper;
  expect(accuracy('original/softmax')).toBe(90.58);
  expect(accuracy('sigmoid-0.3/softmax')).toBe(91.08);
  expect(accuracy('linear/cosine-w-softmax')).toBe(91.24);
  const all = paperOperators.flatMap((operator) => paperLosses.map((loss) => accuracy(`${operator}/${loss}`)));
  expect(all).toHaveLength(48);
  expect(Math.max(...all)).toBe(accuracy('sigmoid-0.3/ga-softmax'));
  expect(() => requireCellName('cells', 'linear/hinge')).toThrow(/^cells must list .*but got "linear\/hinge"$/);
  expect(() => requireCellName('cells', 'constructor/softmax')).toThrow(/^cells must list/);
});

const paperSetting = { widths: [64, 96, 128], iterations: 64_000, seed: 0 } as const;

test('baselines get weight decay alone, SphereNets orthogonality, all of them the schedule of the paper', () => {
  const [baseline, sphere] = defaultCells.slice(0, 2).map((cell) => cellConfig(cell, recipes.paper, paperSetting));
  expect(baseline).toMatchObject({ model: { convolution: 'plain' }, orthogonality: 0, weightDecay: 5e-4, batchSize: 128 });
  expect(sphere).toMatchObject({
    model: { convolution: { operator: 'sigmoid', k: 0.3 } }, orthogonality: 1e-4, normalizedFilters: false, augment: 'flip',
  });
  expect(baseline.milestones ?? paperMilestones(baseline.iterations)).toEqual([34_000, 54_000]);
});

test("the official recipe sets what the authors' code sets, in whatever part of the network it lies", () => {
  const [baseline, sphere] = defaultCells.slice(0, 2).map((cell) => modelConfig({
    classes: 10, ...cellConfig(cell, recipes.official, paperSetting).model,
  }));
  expect(baseline).toMatchObject({
    convolution: 'plain', batchNorm: { momentum: 1e-3, eps: 1e-3 }, head: { loss: 'softmax', labelSmoothing: 0.01 },
  });
  expect(sphere).toMatchObject({
    convolution: { operator: 'sigmoid', k: 0.3, normGuard: { kind: 'add', eps: 1e-4 } }, head: { labelSmoothing: 0.01 },
  });
});

test('a run leaves a table, curves, and log and checkpoint of every cell', async () => {
  const summary = await runPaper(options('run'));
  expect(summary.cells.map(({ name, finished, iteration }) => [name, finished, iteration])).toEqual(cells.map((cell) => [cell, true, 10]));
  for (const { best, last, seconds } of summary.cells) {
    expect(best).toBeGreaterThanOrEqual(last!);
    expect(seconds).toBeGreaterThan(0);
  }
  expect((await readdir(join(folder, 'run'))).sort()).toEqual([
    'curves.png', 'curves.svg', 'original', 'report.md', 'setting.json', 'sigmoid-0.3', 'summary.json',
  ]);
  expect(JSON.parse(await readFile(join(folder, 'run', 'summary.json'), 'utf8'))).toEqual(summary);
  expect(await readFile(join(folder, 'run', 'report.md'), 'utf8')).toMatch(/^\| Original Conv \| Softmax \| 10 \|.*\| 90\.58 \| 90\.86 \/ 90\.61 \|/m);
  expect(paperText(summary)).toMatch(/^Sigmoid \(0\.3\) +GA-Softmax \(m=4\) +10 .* 92\.38 /m);
});

test('stopped and run again it gives the results of an uninterrupted run', async () => {
  const whole = await runPaper(options('whole'));
  const controller = new AbortController();
  const stopped = await runPaper({
    ...options('stopped'),
    signal: controller.signal,
    onStep: ({ step }) => { if (step === 13) controller.abort(); },
  });
  expect(stopped.cells.map(({ finished, iteration }) => [finished, iteration])).toEqual([[true, 10], [false, 3]]);

  const trained = new Set<string>();
  const resumed = await runPaper({ ...options('stopped'), onEvaluation: (cell) => { trained.add(cell); } });
  expect([...trained]).toEqual([cells[1]]);
  const accuracies = ({ cells: results }: typeof whole) => results.map(({ name, best, last }) => ({ name, best, last }));
  expect(accuracies(resumed)).toEqual(accuracies(whole));
  for (const cell of cells) expect(await tracesOf('stopped', cell)).toEqual(await tracesOf('whole', cell));
});

test('cells that are finished are skipped, others can be added', async () => {
  await runPaper({ ...options('run'), cells: cells.slice(0, 1) });
  const log = join(folder, 'run', cells[0], 'log.jsonl');
  const before = await readFile(log, 'utf8');
  const steps: [number, number][] = [];
  const summary = await runPaper({ ...options('run'), onStep: ({ step, steps: all }) => { steps.push([step, all]); } });
  expect(summary.cells.map(({ finished }) => finished)).toEqual([true, true]);
  expect(steps).toEqual(Array.from({ length: 10 }, (_, i) => [11 + i, 20]));
  expect(await readFile(log, 'utf8')).toBe(before);
});

test('a run whose deadline is near stops with a checkpoint and a report', async () => {
  const summary = await runPaper({ ...options('run'), deadline: performance.now() + 1000 });
  expect(summary.cells.map(({ finished, iteration }) => [finished, iteration])).toEqual([[false, 1], [false, 0]]);
  expect(await readdir(join(folder, 'run', cells[0]))).toEqual(['last.safetensors', 'log.jsonl']);
  expect(await readFile(join(folder, 'run', 'report.md'), 'utf8')).toMatch(/^\| Sigmoid \(0\.3\) .*\| 0 \| – \| – \| 92\.38 \|/m);
});

test('an output folder of another setting is refused, naming what differs', async () => {
  await runPaper({ ...options('run'), cells: cells.slice(0, 1), iterations: 1 });
  const output = join(folder, 'run');
  await expect(runPaper({ ...options('run'), iterations: 2 })).rejects.toThrow(`iterations is 1 in ${output}, but 2 in this run`);
  await expect(runPaper({ ...options('run'), iterations: 1, widths: [4, 4, 8] })).rejects.toThrow('widths is [4, 4, 4]');
  const wrong = { ...options('other'), widths: [4, 4] as unknown as [number, number, number] };
  await expect(runPaper(wrong)).rejects.toThrow(/^widths: /);
  expect(await readdir(folder)).toEqual(['run']);
});
