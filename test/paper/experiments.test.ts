import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OptionError } from '../../lib/errors';
import type { ModelOptions } from '../../lib/models';
import { modelConfig } from '../../lib/models/registry';
import { type ComputedExperiment, presetNames, type TrainedExperiment } from '../../lib/paper/experiment';
import { experiments, requireExperiment } from '../../lib/paper/experiments';
import { learnedCurvatures } from '../../lib/paper/experiments/fig4';
import { saveComputed } from '../../lib/paper/report';
import { checkpointOf, runFolder } from '../../lib/paper/results';
import { type PaperOptions, runPaper } from '../../lib/paper/run';
import type { AngularOperator } from '../../lib/ops';
import { angularValue } from '../support/angular';
import { readPng } from '../support/png';
import { toyImages } from '../support/toyImages';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const trained = experiments.filter((each): each is TrainedExperiment => each.kind === 'trained');
const computed = experiments.filter((each): each is ComputedExperiment => each.kind === 'computed');
const byName = <T extends { name: string }>(list: readonly T[]) => list.map((each) => [each.name, each] as const);
const cellsOf = (name: string) => (requireExperiment(name) as TrainedExperiment).presets.paper.cells;
const paperOf = (name: string, cell: string) => cellsOf(name).find((each) => each.name === cell)!.paper;

test('experiments have distinct names, and an unknown one is refused with the list', () => {
  expect(new Set(experiments.map(({ name }) => name)).size).toBe(experiments.length);
  expect(() => requireExperiment('table9')).toThrow(/^experiment must be one of .*table1.*, but got "table9"$/);
});

test('the map of the paper names every experiment', async () => {
  const map = await readFile(join(__dirname, '..', '..', 'docs', 'paper.md'), 'utf8');
  for (const { name } of experiments) expect(map).toMatch(new RegExp(`^\\| .* \`.*\\b${name}\`.* \\|`, 'm'));
});

describe.each(byName(trained))('%s', (_, experiment) => {
  test.each(presetNames)('%s: cells fit together, and their networks can be made', (name) => {
    const { cells, chosen = [], widths, seeds, minutes = 0 } = experiment.presets[name];
    const names = cells.map((cell) => cell.name);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toEqual(expect.arrayContaining([...chosen]));
    expect(seeds.length).toBeGreaterThan(0);
    expect(minutes).toBeLessThanOrEqual(10);
    expect(name === 'mini').toBe(minutes > 0);
    for (const { labels, baseline, model } of cells) {
      expect(Object.keys(labels)).toEqual(Object.keys(cells[0].labels));
      if (baseline !== undefined) expect(names).toContain(baseline);
      expect(() => modelConfig({ ...(widths && { widths: [...widths] }), ...model, classes: 10 } as ModelOptions)).not.toThrow();
    }
  });
});

test('the cells have the numbers of the paper', () => {
  expect(cellsOf('table1')).toHaveLength(48);
  expect(paperOf('table1', 'original/softmax')).toBe(90.58);
  expect(paperOf('table1', 'sigmoid-0.3/softmax')).toBe(91.08);
  expect(paperOf('table1', 'linear/cosine-w-softmax')).toBe(91.24);
  expect(Math.max(...cellsOf('table1').map(({ paper }) => paper!))).toBe(paperOf('table1', 'sigmoid-0.3/ga-softmax'));
  expect(paperOf('table3', 'sigmoid-0.1')).toBe(86.29);
  expect(paperOf('table3', 'original')).toBe(80.73);
  expect(paperOf('fig4', 'learned')).toBe(91.64);
  expect(cellsOf('table2')).toHaveLength(36);
  expect(paperOf('table2', 'linear/cnn-60')).toBe(89.91);
  expect(paperOf('table2', 'original/resnet-32')).toBe(90.4);
  expect(paperOf('table4', 'cifar10/s-g')).toBe(95.01);
  expect(paperOf('table4', 'cifar100/s-g')).toBe(76.39);
});

const data = { train: toyImages('toy train', 128), test: toyImages('toy test', 20) };
const shortRun = (
  name: string, options: Pick<PaperOptions, 'cells' | 'widths'>, experiment = requireExperiment(name) as TrainedExperiment,
) => runPaper({
  experiment, preset: 'mini', seeds: [0], iterations: 2, output: folder,
  load: () => Promise.resolve(data), ...options,
});

// Of each experiment that has something of its own.
test.each<[string, string[], string]>([
  ['fig4', ['sigmoid-0.3', 'learned'], 'Learned k after 2 iterations'],
  ['fig3a', ['resnet/cifar10+', 'sphereresnet/cifar10+'], 'SphereResNet-32'],
  ['fig5', ['batchnorm/4', 'spherenorm/4', 'rescaled/4', 'both/4'], 'Accuracy on test images, batch 4'],
])('%s: a short run of %j leaves its charts', async (name, cells, text) => {
  await shortRun(name, { cells, widths: [2, 3, 4] });
  expect(await readFile(join(folder, 'curves.svg'), 'utf8')).toContain(text);
});

test('datasize draws accuracy over the number of images, and refuses a data set that has fewer', async () => {
  const experiment = requireExperiment('datasize') as TrainedExperiment;
  const few = experiment.presets.mini.cells.map((cell) => ({ ...cell, images: 128 }));
  const presets = { ...experiment.presets, mini: { ...experiment.presets.mini, cells: few } };
  await shortRun('datasize', { cells: ['cnn-1000', 'spherenet-1000'], widths: [2, 3, 4] }, { ...experiment, presets });
  expect(await readFile(join(folder, 'curves.svg'), 'utf8')).toContain('Training images');
  const tooMany = shortRun('datasize', { cells: ['cnn-2500'], widths: [2, 3, 4] });
  await expect(tooMany).rejects.toThrow('cell cnn-2500 trains on 2500 images, but toy train has 128');
});

test('fig6 makes a folder of images where there is none, and reports errors', async () => {
  const summary = await shortRun('fig6', { cells: ['v1'], widths: [2, 2, 2, 2] });
  const [{ last }] = summary.cells[0].runs;
  const report = await readFile(join(folder, 'report.md'), 'utf8');
  expect(report).toContain(`| ${(100 - 100 * last!).toFixed(2)} |`);
  expect(report).toContain('images of CIFAR-10 as PNG files');
  expect((await readdir(join(folder, 'images', 'val', 'dark'))).length + (await readdir(join(folder, 'images', 'val', 'light'))).length).toBe(20);
  const { data: pixels } = await readPng(await readFile(join(folder, 'images', 'train', 'light', '000001.png')));
  expect([...pixels.subarray(0, 8)]).toEqual([0, 1].flatMap((pixel) => [...new Array<number>(3).fill(data.train.images[64 + pixel]), 255]));
});

test('fig6 makes its folder again when it goes on: of the source, and with the options, that are named now', async () => {
  const { makeData } = (requireExperiment('fig6') as TrainedExperiment).presets.mini;
  const first = await makeData!(() => Promise.resolve(data), folder);
  const others = { train: toyImages('others', 30), test: data.test };
  const second = await makeData!(() => Promise.resolve(others), folder);
  expect([first.train.count, second.train.count]).toEqual([128, 30]);
  await expect(makeData!(() => Promise.reject(new OptionError('imageSize', 'no such option')), folder)).rejects.toThrow('no such option');
});

test('fig4 reads the k of the first layer of each stage from the checkpoint', async () => {
  await shortRun('fig4', { cells: ['learned'], widths: [2, 3, 4] });
  const curvatures = await learnedCurvatures(checkpointOf(runFolder(folder, 'learned', 0)));
  expect(curvatures.map(({ name, values }) => [name, values.length])).toEqual([['conv1_1', 2], ['conv2_1', 3], ['conv3_1', 4]]);
  for (const k of curvatures.flatMap(({ values }) => [...values])) {
    // Two steps of Adam with the learning rate 1e-3.
    expect(Math.abs(k - 0.5)).toBeLessThan(3e-3);
    expect(k).not.toBe(0.5);
  }
});

test.each(byName(computed))('%s leaves a table and curves', async (_, experiment) => {
  const result = experiment.compute();
  await saveComputed(experiment, result, folder);
  const report = await readFile(join(folder, 'report.md'), 'utf8');
  expect(report).toContain(`# ${experiment.title}`);
  expect(report).toContain('(curves.svg)');
  expect(result.table.rows.flat().filter((cell) => typeof cell === 'number').every(Number.isFinite)).toBe(true);
});

test('fig2 draws the operators by their published values', () => {
  const { table, panels } = (requireExperiment('fig2') as ComputedExperiment).compute();
  const [panel] = panels;
  if (panel.kind !== 'line') throw new Error('expected curves');
  expect(table.rows.map(([name]) => name)).toEqual(panel.series.map(({ name }) => name));
  const expected: [string, AngularOperator, number?][] = [
    ['Sigmoid (0.1)', 'sigmoid', 0.1], ['Sigmoid (0.3)', 'sigmoid', 0.3], ['Sigmoid (0.7)', 'sigmoid', 0.7], ['Linear', 'linear'],
    ['Cosine', 'cosine'], ['square (not in the paper)', 'square'],
  ];
  expect(panel.series.map(({ name }) => name)).toEqual(expected.map(([name]) => name));
  panel.series.forEach(({ points }, i) => {
    const [, operator, k] = expected[i];
    for (const [theta, g] of points) expect(g).toBeCloseTo(angularValue(operator, theta, k), 6);
  });
});

test('lemma1 grows, lemma2 does not', () => {
  const columns = (name: string) => (requireExperiment(name) as ComputedExperiment).compute().table.rows as number[][];
  const growth = columns('lemma1');
  expect(growth.at(-1)![1] / growth[0][1]).toBeGreaterThan(growth.at(-1)![0] ** 2);
  const [first, ...others] = columns('lemma2');
  for (const row of others) expect(row[2]).toBeCloseTo(first[2], 9);
});
