import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type DatasetSplits, evaluationLoader } from '../data';
import { defaultDevice, type Device, matmulPrecision } from '../device';
import { DataError, describe, OptionError } from '../errors';
import { modelConfig } from '../models/registry';
import { type LogEntry, readLog } from '../report';
import type { EvalRecord, TrainRecord } from '../train';
import type { RunProgress } from './convergence';
import type { Evaluation } from './convergenceReport';
import { describeMachine } from '../machine';
import { type CellResult, type PaperSetting, type PaperSummary, savePaper } from './report';
import { type RecipeName, recipes } from './recipe';
import { cellConfig, type CellName, paperCell } from './table';
import { prepareTraining } from './trainingRun';

export interface PaperOptions {
  data: DatasetSplits;
  /** In the order in which they are trained. */
  cells: readonly CellName[];
  widths: readonly [number, number, number];
  /** Steps of each cell; the paper takes 64,000. */
  iterations: number;
  recipe: RecipeName;
  seed: number;
  /** Default: the default device. */
  device?: Device;
  cudaGraph?: boolean;
  /** Folder for all that is written. Cells that are finished there are not trained again, a stopped one goes on. */
  output: string;
  /** Ends the run after the current step, with a checkpoint. */
  signal?: AbortSignal;
  /**
   * By when the run shall have ended, with a checkpoint; in milliseconds, as `performance.now()` counts them. How long an
   * evaluation takes is learned from the first one: only that can make the run end late.
   */
  deadline?: number;
  onStep?: (progress: RunProgress) => void;
  onEvaluation?: (cell: string, evaluation: Evaluation) => void;
}

/** Evaluations of a cell at most; of 64,000 steps every thousandth. */
const evaluations = 64;
/** An evaluation on all test images takes as long as some 25 steps. */
const stepsBetweenEvaluations = 250;
/** Lost at most when the process is killed. */
const checkpointEvery = 500;
/** Milliseconds for tables and charts. */
const reportTime = 5000;

/**
 * Trains cells of the paper's Table 1 one after the other, and writes a report on what there is of them, also when the
 * run ends early. Called again with the same output it goes on, with the results of a run that was never stopped.
 * @throws {OptionError} naming what differs from the run that the output folder holds.
 * @throws {DataError} when a file cannot be read or written, or the loss of a cell is no longer finite.
 */
export async function runPaper(options: PaperOptions): Promise<PaperSummary> {
  const { output, device = defaultDevice() } = options;
  const cells = [...new Set(options.cells)];
  const setting = settingOf(options, device);
  await claimFolder(output, setting);
  const run = new Run(options, await resultsOf(cells, output));
  for (const cell of cells) {
    if (run.stopped) break;
    await run.train(cell);
  }
  const summary: PaperSummary = { machine: describeMachine(device), setting, cells: await resultsOf(cells, output) };
  await savePaper(summary, output);
  return summary;
}

/** What all cells have in common: how far they are, and when to stop. */
class Run {
  readonly #options: PaperOptions;
  readonly #deadline = new AbortController();
  readonly #signal: AbortSignal;
  readonly #started = performance.now();
  readonly #finished: ReadonlySet<CellName>;
  readonly #steps: number;
  /** Steps of all cells, and those that this run has taken. */
  #step: number;
  #taken = 0;
  /** The longest time from one step to the next, with an evaluation or a checkpoint between, in milliseconds. */
  #longest = 0;

  constructor(options: PaperOptions, results: readonly CellResult[]) {
    this.#options = options;
    const { signal } = options;
    this.#signal = signal ? AbortSignal.any([signal, this.#deadline.signal]) : this.#deadline.signal;
    this.#finished = new Set(results.filter(({ finished }) => finished).map(({ name }) => name));
    this.#steps = results.length * options.iterations;
    this.#step = this.#finished.size * options.iterations;
  }

  get stopped(): boolean {
    return this.#signal.aborted;
  }

  async train(cell: CellName): Promise<void> {
    if (this.#finished.has(cell)) return;
    const { data, iterations, output, device, cudaGraph, onEvaluation } = this.#options;
    const config = cellConfig(cell, recipes[this.#options.recipe], this.#options);
    const folder = join(output, cell);
    const checkpoint = join(folder, 'last.safetensors');
    const { trainer, dispose } = prepareTraining(config, data, {
      evalLoader: evaluationLoader(data.test, config.batchSize),
      evalEvery: Math.max(Math.ceil(iterations / evaluations), stepsBetweenEvaluations),
      checkpointEvery,
      output: folder,
      resume: existsSync(checkpoint) ? checkpoint : undefined,
      device,
      cudaGraph,
      signal: this.#signal,
      progress: false,
      callbacks: {
        ...this.#stepCallbacks(cell),
        onEval: ({ iteration, loss, accuracy }: EvalRecord) => {
          onEvaluation?.(cell, { iteration, loss, accuracy, images: data.test.count });
        },
      },
    });
    try {
      await trainer.fit();
    } finally {
      dispose();
    }
  }

  #stepCallbacks(cell: CellName) {
    const { iterations, deadline = Infinity, onStep } = this.#options;
    const before = this.#step;
    let train: TrainRecord | undefined;
    let last = performance.now();
    return {
      onLog: (record: TrainRecord) => { train = record; },
      onStep: (iteration: number) => {
        const now = performance.now();
        this.#longest = Math.max(this.#longest, now - last);
        last = now;
        this.#step = before + iteration;
        this.#taken++;
        // Twice: an evaluation and a checkpoint may both be due.
        if (now + 2 * this.#longest + reportTime > deadline && iteration < iterations) this.#deadline.abort();
        const secondsLeft = ((now - this.#started) / 1000 / this.#taken) * (this.#steps - this.#step);
        if (train) onStep?.({ network: cell, step: this.#step, steps: this.#steps, train, secondsLeft });
      },
    };
  }
}

function settingOf({ data, widths, iterations, recipe, seed }: PaperOptions, device: Device): PaperSetting {
  const precision = device === 'cuda' ? matmulPrecision() : 'fp32';
  modelConfig({ network: 'cnn', depth: 9, classes: data.train.classes.length, widths: [...widths] });
  return { data: data.train.name.replace(/ train$/, ''), widths, iterations, recipe, seed, device, precision };
}

/** Makes the folder one of this setting. */
async function claimFolder(output: string, setting: PaperSetting): Promise<void> {
  const path = join(output, 'setting.json');
  try {
    await mkdir(output, { recursive: true });
    // Exclusively: another run's setting is not to be overwritten.
    await writeFile(path, `${JSON.stringify(setting, null, 2)}\n`, { flag: 'wx' });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw new DataError('output', `cannot write to the output folder ${output}: ${(cause as Error).message}`, { cause });
    }
    requireSameSetting(output, await readSetting(path), setting);
  }
}

async function readSetting(path: string): Promise<Partial<PaperSetting>> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Partial<PaperSetting>;
  } catch (cause) {
    throw new DataError(path, `cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
}

function requireSameSetting(output: string, former: Partial<PaperSetting>, setting: PaperSetting): void {
  for (const key of Object.keys(setting) as (keyof PaperSetting)[]) {
    if (isDeepStrictEqual(former[key], setting[key])) continue;
    throw new OptionError(
      key, `${key} is ${describe(former[key])} in ${output}, but ${describe(setting[key])} in this run; it needs another output folder`,
    );
  }
}

function resultsOf(cells: readonly CellName[], output: string): Promise<CellResult[]> {
  return Promise.all(cells.map(async (cell) => {
    const log = join(output, cell, 'log.jsonl');
    return resultOf(cell, existsSync(log) ? await readLog(log) : []);
  }));
}

function resultOf(name: CellName, log: readonly LogEntry[]): CellResult {
  const evaluationsOf = log.filter(({ event }) => event === 'eval') as unknown as EvalRecord[];
  const accuracies = evaluationsOf.map(({ accuracy }) => accuracy);
  return {
    ...paperCell(name),
    iteration: (log.at(-1)?.['iteration'] as number | undefined) ?? 0,
    finished: log.at(-1)?.event === 'end',
    best: accuracies.length > 0 ? Math.max(...accuracies) : null,
    last: accuracies.at(-1) ?? null,
    seconds: (log.findLast(({ seconds }) => typeof seconds === 'number')?.['seconds'] as number | undefined) ?? 0,
  };
}
