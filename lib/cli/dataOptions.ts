import type { Command } from 'commander';
import { type DatasetName, datasetNames } from '../data';
import { choiceOption } from './options';

/** Where images come from. */
export interface SourceOptions {
  source?: string;
  cache?: string;
}

/** Which images, and where they come from. */
export interface DataOptions extends SourceOptions {
  data: DatasetName;
}

/** Adds `--source` and `--cache`. */
export function addSourceOptions(command: Command): Command {
  return command
    .option('--source <path>', 'folder or archive with the standard files, instead of a download')
    .option('--cache <folder>', 'where downloads are kept (default: $SPHERENET_CACHE, else ~/.cache/spherenet)');
}

/** Adds `--data`, `--source` and `--cache`. */
export function addDataOptions(command: Command): Command {
  return addSourceOptions(command.addOption(choiceOption('--data <name>', 'data set', datasetNames, 'cifar10')));
}
