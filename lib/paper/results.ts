// What the folder of an experiment holds of its training runs.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LogEntry } from '../report';
import { intactLog } from '../report/log';
import type { EvalRecord } from '../train';
import type { Cell } from './experiment';

/** How far one training run is. */
export interface RunResult {
  seed: number;
  iteration: number;
  /** After all its steps, or where it diverged. */
  finished: boolean;
  /** Why it ended early, where its loss was no longer finite. */
  diverged: string | null;
  /** Share of the test images that were classified right, of the best evaluation and of the last one. */
  best: number | null;
  last: number | null;
  /** The same for the true class among the five likeliest, where there are more than ten classes. */
  lastTop5: number | null;
  /** Of training, without evaluations and checkpoints. */
  seconds: number;
}

/** A cell and its training runs, one for each seed. */
export interface CellResult extends Pick<Cell, 'name' | 'labels' | 'paper' | 'authors' | 'baseline' | 'panel' | 'images'> {
  runs: RunResult[];
}

/** Where a training run has its log and its checkpoint. */
export function runFolder(output: string, cell: string, seed: number): string {
  return join(output, cell, `seed-${seed}`);
}

export function checkpointOf(folder: string): string {
  return join(folder, 'last.safetensors');
}

/** Of a run whose loss was no longer finite: why. */
export function divergenceFile(folder: string): string {
  return join(folder, 'diverged.txt');
}

/** A damaged end is left out: the run, which then is not finished, mends it when it goes on. */
export async function logOf(folder: string): Promise<LogEntry[]> {
  const path = join(folder, 'log.jsonl');
  return existsSync(path) ? intactLog(await readFile(path)).entries : [];
}

export function readResults(cells: readonly Cell[], seeds: readonly number[], output: string): Promise<CellResult[]> {
  return Promise.all(cells.map(async ({ name, labels, paper, authors, baseline, panel, images }) => {
    const runs = await Promise.all(seeds.map((seed) => readRun(runFolder(output, name, seed), seed)));
    return { name, labels, paper, authors, baseline, panel, images, runs };
  }));
}

async function readRun(folder: string, seed: number): Promise<RunResult> {
  const log = await logOf(folder);
  const diverged = existsSync(divergenceFile(folder)) ? (await readFile(divergenceFile(folder), 'utf8')).trim() : null;
  const evaluations = log.filter(({ event }) => event === 'eval') as unknown as EvalRecord[];
  const accuracies = evaluations.map(({ accuracy }) => accuracy);
  return {
    seed,
    iteration: (log.at(-1)?.['iteration'] as number | undefined) ?? 0,
    finished: log.at(-1)?.event === 'end' || diverged !== null,
    diverged,
    best: accuracies.length > 0 ? Math.max(...accuracies) : null,
    last: accuracies.at(-1) ?? null,
    lastTop5: evaluations.at(-1)?.top5 ?? null,
    seconds: (log.findLast(({ seconds }) => typeof seconds === 'number')?.['seconds'] as number | undefined) ?? 0,
  };
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The runs that took all their steps. */
export function completed({ runs }: CellResult): RunResult[] {
  return runs.filter(({ finished, diverged }) => finished && diverged === null);
}
