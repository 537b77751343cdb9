import type { DatasetName, DatasetSplits } from '../data';
import type { Panel, Table } from '../report';
import type { Recipe } from './recipe';
import type { CellResult } from './results';
import type { TrainingConfig } from './trainingRun';

export const presetNames = ['mini', 'paper'] as const;
/** `paper` is the paper's own setting; `mini` shows the same comparison on two CPU cores in about ten minutes. */
export type PresetName = (typeof presetNames)[number];

/** One training run of an experiment, but for what all of its cells share. */
export interface Cell {
  /** Such as `sigmoid-0.3/softmax`. Its folder has the same name. */
  readonly name: string;
  /** What the report says of it, by column; the same columns for all cells of an experiment. */
  readonly labels: Readonly<Record<string, string>>;
  /** Without widths it takes those of the preset. */
  readonly model: TrainingConfig['model'];
  /** In place of the recipe that the user names. All cells of an experiment have one, or none. */
  readonly recipe?: Recipe;
  /** Where it differs from the recipe. */
  readonly training?: Partial<Omit<TrainingConfig, 'model' | 'iterations' | 'seed' | 'milestones'>>;
  /** Shares of the iterations after which the learning rate is divided by 10. Default: those of CIFAR-10. */
  readonly milestones?: readonly number[];
  /** Default: CIFAR-10. */
  readonly data?: DatasetName;
  /** Train on so many images, the first ones. Default: those of the preset. */
  readonly images?: number;
  /** The paper's number, in percent. Left out where the paper has only a curve. */
  readonly paper?: number;
  /** In the logs that the authors published, with filters 128/192/256; in percent, the best and that at 64k. */
  readonly authors?: { readonly best: number; readonly last: number };
  /** The cell that this one is set against, such as its plain twin. */
  readonly baseline?: string;
  /** Cells of one panel share a pair of charts. Default: all cells do. */
  readonly panel?: string;
}

/** How large an experiment is. */
export interface Preset {
  readonly cells: readonly Cell[];
  /** Those that run when the user names none. Default: all. */
  readonly chosen?: readonly string[];
  /** Filters of the stages, for cells that do not name their own. */
  readonly widths?: readonly number[];
  /** Steps of each training run. */
  readonly iterations: number;
  readonly seeds: readonly number[];
  /** Images at once, for cells that do not name their own. Default: the paper's, 128. */
  readonly batchSize?: number;
  /** Train on so many images, the first ones. Default: all. */
  readonly images?: number;
  /** Evaluate on so many test images, the first ones. Default: all. */
  readonly testImages?: number;
  /** Makes the data set of all cells itself, in the output folder, where the user names no other one. */
  readonly makeData?: (load: (name: DatasetName) => Promise<DatasetSplits>, output: string) => Promise<DatasetSplits>;
  /** About how long it takes on two CPU cores. Default: nobody would run it there. */
  readonly minutes?: number;
}

interface Described {
  /** As `spherenet paper` takes it. */
  readonly name: string;
  readonly title: string;
  /** What it shows, in one sentence. */
  readonly shows: string;
}

/** An experiment that trains networks. */
export interface TrainedExperiment extends Described {
  readonly kind: 'trained';
  readonly presets: Readonly<Record<PresetName, Preset>>;
  /** Report errors instead of accuracies. */
  readonly metric?: 'error';
  /** What is to be known beside the table. */
  readonly notes?: readonly string[];
  /** Charts beside loss and accuracy over the iterations. */
  readonly charts?: (results: readonly CellResult[], output: string) => Promise<Panel[]>;
}

/** What a computation found. */
export interface Computed {
  readonly table: Table;
  readonly panels: readonly Panel[];
  /** What the numbers say, a sentence or more each. */
  readonly notes: readonly string[];
}

/** An experiment that needs no training: it takes seconds. */
export interface ComputedExperiment extends Described {
  readonly kind: 'computed';
  readonly compute: () => Computed;
}

export type Experiment = TrainedExperiment | ComputedExperiment;
