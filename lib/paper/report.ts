import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Device, MatmulPrecision } from '../device';
import {
  binnedMean, formatCount, formatDuration, logCurve, markdownTable, type Panel, panels, type Point, readLog, saveChart,
  type Table, textTable,
} from '../report';
import { type Machine, machineLine } from '../machine';
import type { RecipeName } from './recipe';
import type { PaperCell } from './table';

/** What decides the results of all cells, beside the paper's own setting: `setting.json`. */
export interface PaperSetting {
  data: string;
  widths: readonly [number, number, number];
  iterations: number;
  recipe: RecipeName;
  seed: number;
  device: Device;
  precision: MatmulPrecision;
}

/** How far a cell is. */
export interface CellResult extends PaperCell {
  iteration: number;
  finished: boolean;
  /** Share of all test images that were classified right, of the best evaluation and of the last one. */
  best: number | null;
  last: number | null;
  /** Of training, without evaluations and checkpoints. */
  seconds: number;
}

/** What a run of the paper's cells found: `summary.json`. */
export interface PaperSummary {
  machine: Machine;
  setting: PaperSetting;
  cells: CellResult[];
}

/** Points of a smoothed training curve. */
const curvePoints = 120;
const curvesAPanel = 7;

const footnotes = [
  'Accuracies in percent. "paper" is Table 1, "authors" the same operator in the logs that the authors published, best',
  '/ at 64k, of a network with filters 128/192/256.',
].join('\n');

/** The table for a terminal. */
export function paperText(summary: PaperSummary): string {
  return `${titleOf(summary)}\n${machineLine(summary.machine)}\n\n${textTable(resultTable(summary))}\n\n${footnotes}`;
}

/** Writes `summary.json`, `report.md`, and `curves.svg` and `.png` where there are any, into a folder that is there. */
export async function savePaper(summary: PaperSummary, folder: string): Promise<void> {
  await writeFile(join(folder, 'summary.json'), `${JSON.stringify(summary, null, 2)}\n`);
  const curves = await curvesOf(summary, folder);
  if (curves.length > 0) await saveChart(await curveChart(curves), join(folder, 'curves'));
  await writeFile(join(folder, 'report.md'), reportText(summary, curves.length > 0));
}

function reportText(summary: PaperSummary, hasCurves: boolean): string {
  return [
    '# Table 1',
    `${titleOf(summary)}.`,
    machineLine(summary.machine),
    markdownTable(resultTable(summary)),
    footnotes,
    ...(hasCurves ? ['![Training loss and test accuracy by iteration](curves.svg)'] : []),
  ].join('\n\n') + '\n';
}

function titleOf({ setting: { data, widths, iterations, recipe, seed } }: PaperSummary): string {
  return `CNN-9 of width ${widths.join('/')} on ${data}, ${formatCount(iterations)} iterations of 128 images, recipe ${recipe}, seed ${seed}`;
}

function resultTable({ cells }: PaperSummary): Table {
  const percent = (share: number | null): string => (share === null ? '–' : (100 * share).toFixed(2));
  return {
    head: ['operator', 'loss', 'iterations', 'best', 'last', 'paper', 'authors', 'training'],
    rows: cells.map(({ operator, loss, iteration, best, last, paper, authors, seconds }) => [
      operator, loss, formatCount(iteration), percent(best), percent(last), paper.toFixed(2),
      authors ? `${authors.best.toFixed(2)} / ${authors.last.toFixed(2)}` : '–',
      seconds > 0 ? formatDuration(seconds) : '–',
    ]),
    align: ['left', 'left', 'right', 'right', 'right', 'right', 'right', 'right'],
  };
}

/** A cell's curves. */
interface Curves {
  name: string;
  loss: Point[];
  accuracy: Point[];
}

/** Of the cells that have begun. */
async function curvesOf({ cells }: PaperSummary, folder: string): Promise<Curves[]> {
  const begun = cells.filter(({ name, iteration }) => iteration > 0 && existsSync(join(folder, name, 'log.jsonl')));
  return Promise.all(begun.map(async ({ name, operator, loss }) => {
    const log = await readLog(join(folder, name, 'log.jsonl'));
    return {
      name: `${operator}, ${loss}`,
      loss: binnedMean(logCurve(log, 'train', 'loss'), curvePoints),
      accuracy: logCurve(log, 'eval', 'accuracy').map(([iteration, share]): Point => [iteration, 100 * share]),
    };
  }));
}

/** A pair of panels for every few cells. */
function curveChart(curves: readonly Curves[]): Promise<string> {
  const rows = Array.from({ length: Math.ceil(curves.length / curvesAPanel) }, (_, row) =>
    curves.slice(row * curvesAPanel, (row + 1) * curvesAPanel),
  );
  return panels(rows.flatMap((members): Panel[] => {
    const seriesOf = (kind: 'loss' | 'accuracy') => members.map((each) => ({ name: each.name, points: each[kind] }));
    return [
      { kind: 'line', title: 'Training loss', xLabel: 'Iteration', yLabel: 'Loss', series: seriesOf('loss') },
      { kind: 'line', title: 'Accuracy on test images', xLabel: 'Iteration', yLabel: 'Accuracy (%)', series: seriesOf('accuracy') },
    ];
  }));
}
