import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Machine, machineLine } from '../machine';
import {
  type BandPoint, binnedMean, formatCount, formatDuration, logCurve, markdownTable, type Panel, panels, type Point, saveChart,
  type Table, textTable,
} from '../report';
import type { Computed, ComputedExperiment, TrainedExperiment } from './experiment';
import { type CellResult, logOf, runFolder, type RunResult } from './results';
import type { PaperSetting } from './run';

/** What a run of an experiment found: `summary.json`. */
export interface PaperSummary {
  machine: Machine;
  title: string;
  setting: PaperSetting;
  cells: CellResult[];
}

/** Points of a smoothed training curve. */
const curvePoints = 120;
const curvesAPanel = 7;

/** The report for a terminal. */
export function paperText(experiment: TrainedExperiment, summary: PaperSummary): string {
  const table = textTable(resultTable(experiment, summary));
  return [`${summary.title}\n${settingLine(summary)}\n${machineLine(summary.machine)}`, table, ...notesOf(experiment, summary)].join('\n\n');
}

/** Writes `summary.json`, `report.md`, and `curves.svg` and `.png` where there are any, into a folder that is there. */
export async function savePaper(experiment: TrainedExperiment, summary: PaperSummary, folder: string): Promise<void> {
  await writeFile(join(folder, 'summary.json'), `${JSON.stringify(summary, null, 2)}\n`);
  const curves = await curvesOf(experiment, summary, folder);
  const begun = summary.cells.filter(({ runs }) => runs.some(({ last }) => last !== null));
  const charts = [...curvePanels(experiment, curves), ...(begun.length > 0 ? await experiment.charts?.(begun, folder) ?? [] : [])];
  if (charts.length > 0) await saveChart(await panels(charts), join(folder, 'curves'));
  await writeFile(join(folder, 'report.md'), [
    `# ${summary.title}`,
    experiment.shows,
    `${settingLine(summary)}.\n${machineLine(summary.machine)}.`,
    markdownTable(resultTable(experiment, summary)),
    ...notesOf(experiment, summary),
    ...(charts.length > 0 ? ['![Curves of the cells above](curves.svg)'] : []),
  ].join('\n\n') + '\n');
}

/** The report on a computed experiment for a terminal. */
export function computedText({ title }: ComputedExperiment, { table, notes }: Computed): string {
  return [title, textTable(table), ...notes].join('\n\n');
}

/** Writes `summary.json`, `report.md`, `curves.svg` and `curves.png` into a folder that is there. */
export async function saveComputed({ title, shows }: ComputedExperiment, computed: Computed, folder: string): Promise<void> {
  const { table, notes } = computed;
  await writeFile(join(folder, 'summary.json'), `${JSON.stringify({ title, table, notes }, null, 2)}\n`);
  await saveChart(await panels(computed.panels), join(folder, 'curves'));
  const parts = [`# ${title}`, shows, markdownTable(table), ...notes, '![The numbers above as curves](curves.svg)'];
  await writeFile(join(folder, 'report.md'), parts.join('\n\n') + '\n');
}

function settingLine({ setting: { preset, data, widths, iterations, recipe, images, testImages, device } }: PaperSummary): string {
  return [
    `Preset ${preset}`,
    ...(data ? [`on ${data}`] : []),
    ...(widths ? [`filters ${widths.join('/')}`] : []),
    `${formatCount(iterations)} iterations`,
    ...(recipe === 'official' ? ['recipe official'] : []),
    ...(images ? [`${formatCount(images)} training images`] : []),
    ...(testImages ? [`${formatCount(testImages)} test images`] : []),
    device,
  ].join(', ');
}

function notesOf({ metric, notes = [] }: TrainedExperiment, { cells }: PaperSummary): string[] {
  const several = cells.some(({ runs }) => runs.length > 1);
  const diverged = cells.flatMap(({ name, runs }) =>
    runs.filter((run) => run.diverged).map(({ seed, diverged: why }) => `${name}, seed ${seed}, diverged: ${why}`),
  );
  const [quality, gained] = metric === 'error' ? ['Error rates', 'error'] : ['Accuracies', 'accuracy'];
  return [
    [
      `${quality} in percent. "difference" is the last ${gained} less the paper's, "gain" the last ${gained} less that of the baseline.`,
      ...(several ? ['Of several seeds: mean ± standard deviation over the runs that are finished.'] : []),
    ].join(' '),
    ...notes,
    ...diverged,
  ];
}

interface Column {
  head: string;
  cells: string[];
  align: 'left' | 'right';
}

/** A column stands only where some cell has a number for it. */
function resultTable(experiment: TrainedExperiment, { cells }: PaperSummary): Table {
  const several = cells.some(({ runs }) => runs.length > 1);
  const byName = new Map(cells.map((cell) => [cell.name, cell]));
  const lastOf = (cell: CellResult): number | null => meanOf(cell, 'last', experiment);
  const gain = (cell: CellResult, value: (cell: CellResult) => number | null | undefined): number | null => {
    const baseline = cell.baseline === undefined || cell.baseline === cell.name ? undefined : byName.get(cell.baseline);
    const [own, other] = [value(cell), baseline && value(baseline)];
    return own == null || other == null ? null : own - other;
  };
  const columns: Column[] = Object.keys(cells[0].labels).map((head) => ({
    head, cells: cells.map(({ labels }) => labels[head]), align: 'left',
  }));
  const add = (head: string, of: (cell: CellResult) => string | null, optional = false): void => {
    const values = cells.map(of);
    if (optional && values.every((value) => value === null)) return;
    columns.push({ head, cells: values.map((value) => value ?? '–'), align: 'right' });
  };
  if (several) add('seeds', ({ runs }) => `${runs.filter(({ finished }) => finished).length}/${runs.length}`);
  add('iterations', (cell) => formatCount(Math.max(...counted(cell).map(({ iteration }) => iteration))));
  add('best', (cell) => meanText(cell, 'best', experiment));
  add('last', (cell) => meanText(cell, 'last', experiment));
  add('last top 5', (cell) => meanText(cell, 'lastTop5', experiment), true);
  add('paper', ({ paper }) => paper?.toFixed(2) ?? null, true);
  add('difference', (cell) => signed(difference(lastOf(cell), cell.paper)), cells.every(({ paper }) => paper === undefined));
  add('gain', (cell) => signed(gain(cell, lastOf)), true);
  add("paper's gain", (cell) => signed(gain(cell, ({ paper }) => paper)), true);
  add('authors', ({ authors }) => (authors ? `${authors.best.toFixed(2)} / ${authors.last.toFixed(2)}` : null), true);
  add('training', (cell) => {
    const seconds = cell.runs.reduce((sum, run) => sum + run.seconds, 0);
    return seconds > 0 ? formatDuration(seconds) : null;
  });
  return {
    head: columns.map(({ head }) => head),
    rows: cells.map((_, row) => columns.map((column) => column.cells[row])),
    align: columns.map(({ align }) => align),
  };
}

/** The runs that the numbers are of: the finished ones; while there is none, all. */
function counted({ runs }: CellResult): RunResult[] {
  const finished = runs.filter((run) => run.finished);
  return finished.length > 0 ? finished : runs;
}

type Measure = 'best' | 'last' | 'lastTop5';

/** In percent, as the experiment reports it. */
function valuesOf(cell: CellResult, measure: Measure, { metric }: TrainedExperiment): number[] {
  const shares = counted(cell).map((run) => run[measure]).filter((share) => share !== null);
  return shares.map((share) => 100 * (metric === 'error' ? 1 - share : share));
}

export function meanOf(cell: CellResult, measure: Measure, experiment: TrainedExperiment): number | null {
  const values = valuesOf(cell, measure, experiment);
  return values.length > 0 ? mean(values) : null;
}

function meanText(cell: CellResult, measure: Measure, experiment: TrainedExperiment): string | null {
  const values = valuesOf(cell, measure, experiment);
  if (values.length === 0) return null;
  const deviation = values.length > 1 ? ` ± ${standardDeviation(values).toFixed(2)}` : '';
  return `${mean(values).toFixed(2)}${deviation}`;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Of the sample, hence n − 1. */
function standardDeviation(values: readonly number[]): number {
  const centre = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1));
}

function difference(value: number | null, other: number | undefined): number | null {
  return value === null || other === undefined ? null : value - other;
}

function signed(value: number | null): string | null {
  return value === null ? null : `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(2)}`;
}

/** A curve over the iterations: its mean over the seeds, and the smallest and largest value. */
interface Curve {
  points: Point[];
  band?: BandPoint[];
}

/** A cell's curves. */
interface Curves {
  name: string;
  panel: string;
  loss: Curve;
  /** Or the error. */
  accuracy: Curve;
  /** The same with the five likeliest classes; empty where there are ten classes or fewer. */
  top5: Curve;
}

/** Of the cells that have begun. */
async function curvesOf({ metric }: TrainedExperiment, { cells }: PaperSummary, folder: string): Promise<Curves[]> {
  const begun = cells.filter(({ runs }) => runs.some(({ iteration }) => iteration > 0));
  return Promise.all(begun.map(async ({ name, labels, panel = '', runs }) => {
    const logs = await Promise.all(runs.map(({ seed }) => logOf(runFolder(folder, name, seed))));
    const percent = ([iteration, share]: Point): Point => [iteration, 100 * (metric === 'error' ? 1 - share : share)];
    return {
      name: Object.values(labels).join(', '),
      panel,
      loss: overSeeds(logs.map((log) => binnedMean(logCurve(log, 'train', 'loss'), curvePoints))),
      accuracy: overSeeds(logs.map((log) => logCurve(log, 'eval', 'accuracy').map(percent))),
      top5: overSeeds(logs.map((log) => logCurve(log, 'eval', 'top5').map(percent))),
    };
  }));
}

/** At the iterations that every run which has begun has reached. */
function overSeeds(curves: readonly (readonly Point[])[]): Curve {
  const begun = curves.filter((curve) => curve.length > 0);
  if (begun.length < 2) return { points: [...(begun[0] ?? [])] };
  const length = Math.min(...begun.map((curve) => curve.length));
  const at = Array.from({ length }, (_, i) => ({ x: begun[0][i][0], values: begun.map((curve) => curve[i][1]) }));
  return {
    points: at.map(({ x, values }): Point => [x, mean(values)]),
    band: at.map(({ x, values }): BandPoint => [x, Math.min(...values), Math.max(...values)]),
  };
}

/** A pair of charts for each panel of the experiment, and for every few cells of it. */
function curvePanels({ metric }: TrainedExperiment, curves: readonly Curves[]): Panel[] {
  return [...new Set(curves.map(({ panel }) => panel))].flatMap((panel) => {
    const members = curves.filter((each) => each.panel === panel);
    const rows = Array.from({ length: Math.ceil(members.length / curvesAPanel) }, (_, row) =>
      members.slice(row * curvesAPanel, (row + 1) * curvesAPanel),
    );
    const suffix = panel === '' ? '' : `, ${panel}`;
    const quality = metric === 'error' ? 'Error' : 'Accuracy';
    return rows.flatMap((row): Panel[] => {
      const chart = (title: string, yLabel: string, kind: 'loss' | 'accuracy' | 'top5'): Panel => ({
        kind: 'line', title: `${title}${suffix}`, xLabel: 'Iteration', yLabel, series: row.map((each) => ({ name: each.name, ...each[kind] })),
      });
      return [
        chart('Training loss', 'Loss', 'loss'),
        chart(`${quality} on test images`, `${quality} (%)`, 'accuracy'),
        ...(row.some(({ top5 }) => top5.points.length > 0) ? [chart(`Top 5 ${quality.toLowerCase()} on test images`, `${quality} (%)`, 'top5')] : []),
      ];
    });
  });
}
