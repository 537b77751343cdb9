import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { modelConfig } from '../../lib/models/registry';
import { type ComputedExperiment, presetNames, type TrainedExperiment } from '../../lib/paper/experiment';
import { experiments, requireExperiment } from '../../lib/paper/experiments';
import { learnedCurvatures } from '../../lib/paper/experiments/fig4';
import { saveComputed } from '../../lib/paper/report';
import { checkpointOf, runFolder } from '../../lib/paper/results';
import { runPaper } from '../../lib/paper/run';
import type { AngularOperator } from '../../lib/ops';
import { angularValue } from '../support/angular';
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
      expect(() => modelConfig({ ...(widths && { widths: [...widths] }), ...model, classes: 10 })).not.toThrow();
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
});

// Of each experiment that has something of its own beside the cells.
test.each(['fig4', 'datasize'])('%s: a short run leaves its own charts', async (name) => {
  const experiment = requireExperiment(name) as TrainedExperiment;
  const data = { train: toyImages('toy train', 128), test: toyImages('toy test', 20) };
  const cells = experiment.presets.mini.cells.slice(0, 2).map((cell) => cell.name);
  const output = join(folder, name);
  await runPaper({
    experiment, preset: 'mini', cells, seeds: [0], widths: [2, 3, 4], iterations: 2, output, load: () => Promise.resolve(data),
  });
  const svg = await readFile(join(output, 'curves.svg'), 'utf8');
  expect(svg).toContain(name === 'fig4' ? 'Learned k after 2 iterations' : 'Training images');
});

test('fig4 reads the k of the first layer of each stage from the checkpoint', async () => {
  const experiment = requireExperiment('fig4') as TrainedExperiment;
  const data = { train: toyImages('toy train', 128), test: toyImages('toy test', 20) };
  await runPaper({
    experiment, preset: 'mini', cells: ['learned'], seeds: [0], widths: [2, 3, 4], iterations: 2, output: folder,
    load: () => Promise.resolve(data),
  });
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
