import { existsSync } from 'node:fs';
import { readFile, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type Dataset, type DatasetName, type DatasetSplits, evaluationLoader, subset } from '../data';
import { defaultDevice, type Device, matmulPrecision, type MatmulPrecision } from '../device';
import { DataError, describe, OptionError, requireNumber } from '../errors';
import { makeFolder, writeWhole } from '../files';
import { FolderLock } from '../folderLock';
import { isJsonObject } from '../json';
import { describeMachine } from '../machine';
import { modelConfig } from '../models/registry';
import type { EvalRecord, TrainRecord } from '../train';
import type { Cell, Preset, PresetName, TrainedExperiment } from './experiment';
import { type RecipeName, recipes, withRecipe } from './recipe';
import { type PaperSummary, savePaper } from './report';
import { type CellResult, checkpointOf, divergenceFile, readResults, runFolder } from './results';
import { milestonesAt, prepareTraining, type TrainingConfig } from './trainingRun';

/** Where a run of several networks stands. */
export interface RunProgress {
  /** Which cell is training, and its seed where there are several. */
  network: string;
  /** Steps of all cells and seeds together. */
  step: number;
  steps: number;
  /** The last measured numbers of this network. */
  train: TrainRecord;
  /** A guess at what is left of the whole run. */
  secondsLeft: number;
}

/** The network's quality at one moment. */
export interface RunEvaluation {
  iteration: number;
  loss: number;
  /** Share of the test images that were classified right. */
  accuracy: number;
  /** Number of test images. */
  images: number;
}

export interface PaperOptions {
  experiment: TrainedExperiment;
  preset: PresetName;
  /** Called once for each data set that is needed. */
  load: (name: DatasetName) => Promise<DatasetSplits>;
  /** Instead of the data sets that the experiment names. */
  data?: DatasetName;
  /** Names of cells, in the order in which they are trained; or `all`. Default: those that the preset chooses. */
  cells?: readonly string[];
  /** The cells are trained with the first one, then with the second one, and so on. Default: those of the preset. */
  seeds?: readonly number[];
  /** For cells that do not name their own. Default: those of the preset. */
  widths?: readonly number[];
  /** Steps of each training run; the schedule scales with them. Default: those of the preset. */
  iterations?: number;
  /** Of cells that do not have their own. Default: `paper`. */
  recipe?: RecipeName;
  /** Default: the default device. */
  device?: Device;
  cudaGraph?: boolean;
  /** Folder for all that is written. What is finished there is not trained again, a stopped run goes on. */
  output: string;
  /** Ends the run after the current step, with a checkpoint. */
  signal?: AbortSignal;
  /**
   * By when the run shall have ended, with a checkpoint; in milliseconds, as `performance.now()` counts them. How long an
   * evaluation takes is learned from the first one: only that can make the run end late.
   */
  deadline?: number;
  onStep?: (progress: RunProgress) => void;
  onEvaluation?: (network: string, evaluation: RunEvaluation) => void;
}

/** What all cells have in common: `setting.json`. */
export interface PaperSetting {
  experiment: string;
  preset: PresetName;
  /** Null: each cell has the data set that the experiment names. */
  data: DatasetName | null;
  /** Null where each cell names its own. */
  widths: readonly number[] | null;
  iterations: number;
  /** Null where each cell names its own. */
  batchSize: number | null;
  /** Null where each cell has its own. */
  recipe: RecipeName | null;
  /** Training images, and test images; null for all. */
  images: number | null;
  testImages: number | null;
  device: Device;
  precision: MatmulPrecision;
}

/** Evaluations of a training run at most; of 64,000 steps every thousandth. */
const evaluations = 64;
/** Between two evaluations, for each test image: they cost about a fifth of the training. */
const trainingImages = 1.6;
/** Images at once in the paper (section 4.1). */
const paperBatch = 128;
/** Images at once; batches of the training may be small. */
const evaluationBatch = 128;
/** Lost at most when the process is killed. */
const checkpointEvery = 500;
/** Milliseconds for tables and charts. */
const reportTime = 5000;

/**
 * Trains the cells of an experiment one after the other, and writes a report on what there is of them, also when the run
 * ends early. Called again with the same output it goes on, with the results of a run that was never stopped. A run whose
 * loss is no longer finite is reported as such, and the others go on.
 * @throws {OptionError} naming an option that does not fit the experiment, or what differs from the run that the output
 *   folder holds.
 * @throws {DataError} when a file cannot be read or written.
 */
export async function runPaper(options: PaperOptions): Promise<PaperSummary> {
  const { experiment, output, device = defaultDevice() } = options;
  const preset = experiment.presets[options.preset];
  const cells = cellsOf(experiment, preset, options.cells);
  const seeds = [...new Set(options.seeds ?? preset.seeds)];
  const setting = settingOf(options, preset, cells, device);
  for (const cell of cells) requireNetwork(cell, setting);
  const isNew = !existsSync(output);
  const lock = await FolderLock.ofOutput(output);
  try {
    return await trainCells(options, setting, cells, seeds);
  } finally {
    // A run that could not begin leaves no folder; one that is not empty stays.
    if (isNew) await rmdir(output).catch(() => undefined);
    await lock.release();
  }
}

async function trainCells(
  options: PaperOptions, setting: PaperSetting, cells: readonly Cell[], seeds: readonly number[],
): Promise<PaperSummary> {
  const { experiment, output } = options;
  const settingFile = join(output, 'setting.json');
  if (existsSync(settingFile)) await claim(settingFile, setting, output);
  const run = new Run(options, setting, seeds, await readResults(cells, seeds, output));
  await run.loadData(cells);
  // Not before: a run that could not begin claims nothing.
  await claim(settingFile, setting, output);
  for (const seed of seeds) {
    for (const cell of cells) {
      if (!run.stopped) await run.train(cell, seed);
    }
  }
  const summary: PaperSummary = {
    machine: describeMachine(setting.device), title: experiment.title, setting, cells: await readResults(cells, seeds, output),
  };
  await savePaper(experiment, summary, output);
  return summary;
}

/** The cells by their names, each once. */
function cellsOf({ name }: TrainedExperiment, preset: Preset, chosen = preset.chosen): readonly Cell[] {
  if (chosen === undefined || chosen.includes('all')) return preset.cells;
  const known = new Map(preset.cells.map((cell) => [cell.name, cell]));
  return [...new Set(chosen)].map((text) => {
    const cell = known.get(text);
    if (cell) return cell;
    throw new OptionError('cells', `cells of ${name} are all, ${[...known.keys()].join(', ')}, but got ${describe(text)}`);
  });
}

function settingOf(options: PaperOptions, preset: Preset, cells: readonly Cell[], device: Device): PaperSetting {
  const { experiment, data = null, iterations = preset.iterations, recipe, widths } = options;
  if (widths && cells.every(({ model }) => model.widths)) {
    throw new OptionError('widths', `widths belong to each cell of ${experiment.name}, so they cannot be given`);
  }
  const ownRecipes = cells.every((cell) => cell.recipe);
  if (recipe && ownRecipes) throw new OptionError('recipe', `recipe belongs to each cell of ${experiment.name}, so it cannot be given`);
  return {
    experiment: experiment.name,
    preset: options.preset,
    data,
    widths: widths ?? preset.widths ?? null,
    iterations: requireNumber('iterations', iterations, { min: 1, integer: true }),
    batchSize: cells.every(({ training }) => training?.batchSize) ? null : (preset.batchSize ?? paperBatch),
    recipe: ownRecipes ? null : (recipe ?? 'paper'),
    images: preset.images ?? null,
    testImages: preset.testImages ?? null,
    device,
    precision: device === 'cuda' ? matmulPrecision() : 'fp32',
  };
}

/** @throws {OptionError} when no such network can be made. The number of classes, known later, does not matter here. */
function requireNetwork(cell: Cell, setting: PaperSetting): void {
  modelConfig({ ...trainingConfig(cell, setting, 0).model, classes: 10 });
}

/** How a cell is trained; the schedule is in proportion where the iterations are not the paper's. */
function trainingConfig(cell: Cell, { widths, iterations, batchSize, recipe: shared }: PaperSetting, seed: number): TrainingConfig {
  const { model, training, milestones, recipe = recipes[shared ?? 'paper'] } = cell;
  return withRecipe(recipe, {
    batchSize: batchSize ?? paperBatch,
    ...training,
    ...(milestones && { milestones: milestonesAt(milestones, iterations) }),
    // The network itself says so where there are not as many widths as it has stages.
    model: { ...(widths && { widths: [...widths] }), ...model } as TrainingConfig['model'],
    iterations,
    seed,
  });
}

/** What all training runs have in common: how far they are, and when to stop. */
class Run {
  readonly #options: PaperOptions;
  readonly #setting: PaperSetting;
  readonly #seeds: readonly number[];
  readonly #deadline = new AbortController();
  readonly #signal: AbortSignal;
  readonly #started = performance.now();
  readonly #data = new Map<DatasetName, Promise<DatasetSplits>>();
  /** Folders of the training runs that need nothing more. */
  readonly #finished: ReadonlySet<string>;
  readonly #steps: number;
  /** Steps of all training runs, and those that this run has taken. */
  #step: number;
  #taken = 0;
  /** The longest time from one step to the next, with an evaluation or a checkpoint between, in milliseconds. */
  #longest = 0;

  constructor(options: PaperOptions, setting: PaperSetting, seeds: readonly number[], results: readonly CellResult[]) {
    this.#options = options;
    this.#setting = setting;
    this.#seeds = seeds;
    const { signal, output } = options;
    this.#signal = signal ? AbortSignal.any([signal, this.#deadline.signal]) : this.#deadline.signal;
    const finished = results.flatMap(({ name, runs }) =>
      runs.filter((run) => run.finished).map(({ seed }) => runFolder(output, name, seed)),
    );
    this.#finished = new Set(finished);
    this.#steps = results.length * seeds.length * setting.iterations;
    this.#step = finished.length * setting.iterations;
  }

  get stopped(): boolean {
    return this.#signal.aborted;
  }

  async train(cell: Cell, seed: number): Promise<void> {
    const { output, device, cudaGraph, onEvaluation } = this.#options;
    const { iterations } = this.#setting;
    const folder = runFolder(output, cell.name, seed);
    const config = trainingConfig(cell, this.#setting, seed);
    await claim(join(folder, 'config.json'), { dataset: this.#datasetOf(cell), ...config }, output);
    if (this.#finished.has(folder)) return;
    const { train, test } = await this.#dataOf(cell);
    await claim(join(folder, 'data.json'), { train: describeData(train), test: describeData(test) }, output);
    const network = this.#seeds.length > 1 ? `${cell.name}, seed ${seed}` : cell.name;
    const checkpoint = checkpointOf(folder);
    const { trainer, dispose } = prepareTraining(config, { train, test }, {
      evalLoader: evaluationLoader(test, evaluationBatch),
      evalEvery: Math.max(Math.ceil(iterations / evaluations), Math.ceil((trainingImages * test.count) / config.batchSize)),
      checkpointEvery,
      output: folder,
      // What was killed before its first checkpoint begins anew.
      ...(existsSync(checkpoint) ? { resume: checkpoint } : { overwrite: true }),
      device,
      cudaGraph,
      signal: this.#signal,
      progress: false,
      callbacks: {
        ...this.#stepCallbacks(network),
        onEval: ({ iteration, loss, accuracy }: EvalRecord) => {
          onEvaluation?.(network, { iteration, loss, accuracy, images: test.count });
        },
      },
    });
    const before = this.#step;
    try {
      await trainer.fit();
    } catch (error) {
      if (!(error instanceof DataError && error.argument === 'loss')) throw error;
      await writeWhole(divergenceFile(folder), `${error.message}\n`);
      this.#step = before + iterations;
    } finally {
      dispose();
    }
  }

  /** Of all that is to be trained: what is missing is better known now than after hours. */
  async loadData(cells: readonly Cell[]): Promise<void> {
    const open = cells.filter(({ name }) => this.#seeds.some((seed) => !this.#finished.has(runFolder(this.#options.output, name, seed))));
    for (const cell of open) await this.#dataOf(cell);
  }

  #datasetOf(cell: Cell): DatasetName {
    return this.#options.data ?? cell.data ?? 'cifar10';
  }

  async #dataOf(cell: Cell): Promise<DatasetSplits> {
    const { load, data, experiment, preset, output } = this.#options;
    const { makeData } = experiment.presets[preset];
    const name = this.#datasetOf(cell);
    const splits = this.#data.get(name) ?? (makeData && data === undefined ? makeData(load, output) : load(name));
    this.#data.set(name, splits);
    const { train, test } = await splits;
    const { images, testImages } = this.#setting;
    if (cell.images !== undefined && cell.images > train.count) {
      throw new DataError('images', `cell ${cell.name} trains on ${cell.images} images, but ${train.name} has ${train.count}`);
    }
    return { train: firstImages(train, cell.images ?? images), test: firstImages(test, testImages) };
  }

  #stepCallbacks(network: string) {
    const { deadline = Infinity, onStep } = this.#options;
    const { iterations } = this.#setting;
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
        if (train) onStep?.({ network, step: this.#step, steps: this.#steps, train, secondsLeft });
      },
    };
  }
}

/** What two data sets of one name can differ in. */
function describeData({ name, count, height, width, channels, classes }: Dataset): object {
  return { name, images: count, height, width, channels, classes: classes.length };
}

function firstImages(dataset: Dataset, count: number | null): Dataset {
  return count === null || count >= dataset.count ? dataset : subset(dataset, 0, count);
}

/** Writes what decides the results into a file; one that is there must say the same. */
async function claim(path: string, values: object, output: string): Promise<void> {
  // As JSON would give it back, without undefined members.
  const text = JSON.stringify(values, null, 2);
  if (existsSync(path)) {
    requireSame(path, await readJson(path), JSON.parse(text) as Record<string, unknown>);
    return;
  }
  try {
    await makeFolder(dirname(path));
    await writeWhole(path, `${text}\n`);
  } catch (cause) {
    throw new DataError('output', `cannot write to the output folder ${output}: ${(cause as Error).message}`, { cause });
  }
}

async function readJson(path: string): Promise<Record<string, unknown>> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new DataError(path, `cannot read ${path}: ${(cause as Error).message}`, { cause });
  });
  try {
    const parsed: unknown = JSON.parse(text);
    if (isJsonObject(parsed)) return parsed;
  } catch {
    // Said below.
  }
  const what = text.trim() === '' ? 'empty' : 'damaged';
  throw new DataError(path, `${path} is ${what}, as after a power cut; remove it, and the same command goes on with the runs beside it`);
}

function requireSame(path: string, former: Record<string, unknown>, values: Record<string, unknown>): void {
  for (const key of new Set([...Object.keys(values), ...Object.keys(former)])) {
    if (isDeepStrictEqual(former[key], values[key])) continue;
    const [theirs, ours] = [former[key], values[key]].map((value) => JSON.stringify(value));
    throw new OptionError(key, `${key} is ${theirs} in ${path}, but ${ours} in this run; it needs another output folder`);
  }
}
