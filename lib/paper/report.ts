import { join } from 'node:path';
import { writeWhole } from '../files';
import { type Machine, machineLine } from '../machine';
import {
  type BandPoint, binnedMean, formatCount, formatDuration, logCurve, markdownTable, type Panel, panels, type Point, saveChart,
  type Table, textTable,
} from '../report';
import type { Computed, ComputedExperiment, TrainedExperiment } from './experiment';
import { type CellResult, completed, logOf, mean, runFolder, type RunResult } from './results';
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
  const table = resultTable(experiment, summary);
  const head = `${summary.title}\n${settingLine(summary)}\n${machineLine(summary.machine)}`;
  return [head, textTable(table), ...notesOf(experiment, summary, table)].join('\n\n');
}

/** Writes `summary.json`, `report.md`, and `curves.svg` and `.png` where there are any, into a folder that is there. */
export async function savePaper(experiment: TrainedExperiment, summary: PaperSummary, folder: string): Promise<void> {
  await writeWhole(join(folder, 'summary.json'), `${JSON.stringify(summary, null, 2)}\n`);
  const curves = await curvesOf(experiment, summary, folder);
  const begun = summary.cells.filter(({ runs }) => runs.some(({ last }) => last !== null));
  const charts = [...curvePanels(experiment, curves), ...(begun.length > 0 ? await experiment.charts?.(begun, folder) ?? [] : [])];
  if (charts.length > 0) await saveChart(await panels(charts), join(folder, 'curves'));
  const table = resultTable(experiment, summary);
  await writeWhole(join(folder, 'report.md'), [
    `# ${summary.title}`,
    experiment.shows,
    `${settingLine(summary)}.\n${machineLine(summary.machine)}.`,
    markdownTable(table),
    ...notesOf(experiment, summary, table),
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
  await writeWhole(join(folder, 'summary.json'), `${JSON.stringify({ title, table, notes }, null, 2)}\n`);
  await saveChart(await panels(computed.panels), join(folder, 'curves'));
  const parts = [`# ${title}`, shows, markdownTable(table), ...notes, '![The numbers above as curves](curves.svg)'];
  await writeWhole(join(folder, 'report.md'), parts.join('\n\n') + '\n');
}

function settingLine({ setting }: PaperSummary): string {
  const { preset, data, widths, iterations, batchSize, recipe, images, testImages, device } = setting;
  return [
    `Preset ${preset}`,
    ...(data ? [`on ${data}`] : []),
    ...(widths ? [`filters ${widths.join('/')}`] : []),
    `${formatCount(iterations)} iterations`,
    ...(batchSize ? [`batches of ${batchSize}`] : []),
    ...(recipe === 'official' ? ['recipe official'] : []),
    ...(images ? [`${formatCount(images)} training images`] : []),
    ...(testImages ? [`${formatCount(testImages)} test images`] : []),
    device,
  ].join(', ');
}

/** @param table Its columns are explained. */
function notesOf({ metric, notes = [] }: TrainedExperiment, { cells }: PaperSummary, { head: columns }: Table): string[] {
  const several = cells.some(({ runs }) => runs.length > 1);
  const diverged = cells.flatMap(({ name, runs }) =>
    runs.filter((run) => run.diverged).map(({ seed, diverged: why }) => `${name}, seed ${seed}, diverged: ${why}`),
  );
  const [quality, gained] = metric === 'error' ? ['Error rates', 'error'] : ['Accuracies', 'accuracy'];
  return [
    [
      `${quality} in percent.`,
      ...(columns.includes('difference') ? [`"difference" is the last ${gained} less the paper's.`] : []),
      ...(columns.includes('gain') ? [`"gain" is the last ${gained} less that of the baseline, over the seeds that both have finished.`] : []),
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
function resultTable(experiment: TrainedExperiment, { cells, setting }: PaperSummary): Table {
  const several = cells.some(({ runs }) => runs.length > 1);
  const byName = new Map(cells.map((cell) => [cell.name, cell]));
  const baselineOf = ({ name, baseline }: CellResult) => (baseline === undefined || baseline === name ? undefined : byName.get(baseline));
  const columns: Column[] = Object.keys(cells[0].labels).map((head) => ({
    head, cells: cells.map(({ labels }) => labels[head]), align: 'left',
  }));
  const add = (head: string, of: (cell: CellResult) => string | null, optional = false): void => {
    const values = cells.map(of);
    if (optional && values.every((value) => value === null)) return;
    columns.push({ head, cells: values.map((value) => value ?? '–'), align: 'right' });
  };
  if (several) add('seeds', (cell) => `${completed(cell).length}/${cell.runs.length}`);
  add('iterations', (cell) => formatCount(Math.max(...shown(cell).map(({ iteration }) => iteration), 0)));
  add('best', (cell) => meanText(cell, 'best', experiment));
  add('last', (cell) => meanText(cell, 'last', experiment));
  add('last top 5', (cell) => meanText(cell, 'lastTop5', experiment), true);
  if (setting.data === null) {
    add('paper', ({ paper }) => paper?.toFixed(2) ?? null, true);
    if (setting.preset === 'paper') add('difference', (cell) => signed(differenceFromPaper(cell, experiment)), true);
  }
  add('gain', (cell) => signed(gainOver(baselineOf(cell), cell, experiment)), true);
  if (setting.data === null) {
    add("paper's gain", (cell) => signed(difference(cell.paper, baselineOf(cell)?.paper)), true);
    add('authors', ({ authors }) => (authors ? `${authors.best.toFixed(2)} / ${authors.last.toFixed(2)}` : null), true);
  }
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

/** The runs whose numbers are shown: the completed ones; while there is none, all that have not diverged. */
function shown(cell: CellResult): RunResult[] {
  const all = completed(cell);
  return all.length > 0 ? all : cell.runs.filter(({ diverged }) => diverged === null);
}

type Measure = 'best' | 'last' | 'lastTop5';

/** In percent, as the experiment reports it. */
function percentOf(share: number, { metric }: TrainedExperiment): number {
  return 100 * (metric === 'error' ? 1 - share : share);
}

function valuesOf(runs: readonly RunResult[], measure: Measure, experiment: TrainedExperiment): number[] {
  return runs.map((run) => run[measure]).filter((share) => share !== null).map((share) => percentOf(share, experiment));
}

/** Of completed runs alone: a network half trained is no result. */
function differenceFromPaper(cell: CellResult, experiment: TrainedExperiment): number | null {
  const values = valuesOf(completed(cell), 'last', experiment);
  return values.length > 0 ? difference(mean(values), cell.paper) : null;
}

/** Over the seeds that both have completed. */
function gainOver(baseline: CellResult | undefined, cell: CellResult, experiment: TrainedExperiment): number | null {
  if (!baseline) return null;
  const others = new Map(completed(baseline).map(({ seed, last }) => [seed, last]));
  const gains = completed(cell).flatMap(({ seed, last }) => {
    const other = others.get(seed);
    return last === null || other == null ? [] : [percentOf(last, experiment) - percentOf(other, experiment)];
  });
  return gains.length > 0 ? mean(gains) : null;
}

function meanText(cell: CellResult, measure: Measure, experiment: TrainedExperiment): string | null {
  const values = valuesOf(shown(cell), measure, experiment);
  if (values.length === 0) return null;
  const deviation = values.length > 1 ? ` ± ${standardDeviation(values).toFixed(2)}` : '';
  return `${mean(values).toFixed(2)}${deviation}`;
}

/** Of the sample, hence n − 1. */
function standardDeviation(values: readonly number[]): number {
  const centre = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1));
}

function difference(value: number | undefined, other: number | undefined): number | null {
  return value === undefined || other === undefined ? null : value - other;
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
async function curvesOf(experiment: TrainedExperiment, { cells }: PaperSummary, folder: string): Promise<Curves[]> {
  const begun = cells.filter(({ runs }) => runs.some(({ iteration }) => iteration > 0));
  return Promise.all(begun.map(async ({ name, labels, panel = '', runs }) => {
    // Beside others a run that diverged would only cut their curves short.
    const lasting = runs.filter(({ diverged }) => diverged === null);
    const drawn = lasting.length > 0 ? lasting : runs;
    const logs = await Promise.all(drawn.map(({ seed }) => logOf(runFolder(folder, name, seed))));
    const percent = ([iteration, share]: Point): Point => [iteration, percentOf(share, experiment)];
    return {
      name: Object.values(labels).join(', '),
      panel,
      loss: binned(overSeeds(logs.map((log) => logCurve(log, 'train', 'loss')))),
      accuracy: overSeeds(logs.map((log) => logCurve(log, 'eval', 'accuracy').map(percent))),
      top5: overSeeds(logs.map((log) => logCurve(log, 'eval', 'top5').map(percent))),
    };
  }));
}

/** At the iterations that every run which has begun has reached. @internal */
export function overSeeds(curves: readonly (readonly Point[])[]): Curve {
  const begun = curves.filter((curve) => curve.length > 0);
  if (begun.length < 2) return { points: [...(begun[0] ?? [])] };
  const [first, ...others] = begun.map((curve) => new Map(curve));
  const at = [...first].flatMap(([x, value]) => {
    const values = [value, ...others.flatMap((curve) => curve.get(x) ?? [])];
    return values.length === begun.length ? [{ x, values }] : [];
  });
  return {
    points: at.map(({ x, values }): Point => [x, mean(values)]),
    band: at.map(({ x, values }): BandPoint => [x, Math.min(...values), Math.max(...values)]),
  };
}

/** A curve of fewer points. */
function binned({ points, band }: Curve): Curve {
  const means = binnedMean(points, curvePoints);
  if (!band) return { points: means };
  const lows = binnedMean(band.map(([x, low]): Point => [x, low]), curvePoints);
  const highs = binnedMean(band.map(([x, , high]): Point => [x, high]), curvePoints);
  return { points: means, band: means.map(([x], i): BandPoint => [x, lows[i][1], highs[i][1]]) };
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
