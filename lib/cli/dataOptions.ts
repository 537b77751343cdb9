import type { Command } from 'commander';
import {
  type DatasetName, datasetNames, type DatasetSplits, errorPolicies, type ErrorPolicy, loadDataset, type LoadDatasetOptions,
} from '../data';
import { showLoadProgress } from './loadProgress';
import { atLeastOne, choiceOption, numberOption } from './options';

/** Where images come from, and how they are read. */
export interface SourceOptions {
  source?: string;
  cache?: string;
  coarse?: boolean;
  imageSize?: number;
  resize?: number;
  testShare?: number;
  splitSeed?: number;
  onError?: ErrorPolicy;
}

/** Options that belong to some data sets alone. */
export const sourceFlags: readonly (keyof SourceOptions)[] = [
  'source', 'coarse', 'imageSize', 'resize', 'testShare', 'splitSeed', 'onError',
];

/** Which images, and where they come from. */
export interface DataOptions extends SourceOptions {
  data: DatasetName;
}

/** Adds `--source`, `--cache`, and what belongs to one data set alone. */
export function addSourceOptions(command: Command): Command {
  return command
    .option('--source <path>', 'folder or archive with the standard files, instead of a download')
    .option('--cache <folder>', 'cifar10, cifar100, mnist: where downloads are kept (default: $SPHERENET_CACHE, else ~/.cache/spherenet)')
    .option('--coarse', 'cifar100: the 20 coarse labels')
    .addOption(numberOption('--image-size <pixels>', 'folder: height and width of the images (default: 224)', atLeastOne))
    .addOption(numberOption('--resize <pixels>', 'folder: shorter side before the cut (default: 8/7 of --image-size)', atLeastOne))
    .addOption(numberOption('--test-share <number>', 'folder: share of tests where there are no splits (default: 0.2)', { above: 0, below: 1 }))
    .addOption(numberOption('--split-seed <number>', 'folder: which images these are (default: 0)', { min: 0, integer: true }))
    .addOption(choiceOption('--on-error <what>', 'folder: what a damaged image does (default: throw)', errorPolicies));
}

/** Adds `--data` and what {@link addSourceOptions} adds. */
export function addDataOptions(command: Command): Command {
  return addSourceOptions(command.addOption(choiceOption('--data <name>', 'data set', datasetNames, 'cifar10')));
}

/** Loads what the options name; what takes long, and each damaged image that is skipped, is told on stderr. */
export function loadData(options: DataOptions): Promise<DatasetSplits> {
  return loadDataset(options.data, datasetOptions(options));
}

/** For {@link loadDataset}. */
export function datasetOptions(options: SourceOptions): LoadDatasetOptions {
  const { source, cache, coarse, imageSize, resize, testShare, splitSeed, onError } = options;
  const onSkip = onError && (({ message }: Error) => void process.stderr.write(`skipped: ${message}\n`));
  return { source, cache, coarse, imageSize, resize, testShare, splitSeed, onError, onSkip, onProgress: showLoadProgress() };
}
