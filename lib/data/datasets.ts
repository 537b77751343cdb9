import { requireOneOf } from '../errors';
import { cacheRoot } from './cache';
import { loadCifar10 } from './cifar';
import type { DatasetSplits } from './dataset';
import { loadFashionMnist, loadMnist } from './mnist';
import type { LoadOptions } from './options';

const loaders = {
  'cifar10': loadCifar10,
  'mnist': loadMnist,
  'fashion-mnist': ({ source }) => loadFashionMnist({ source }),
} satisfies Record<string, (options: LoadOptions) => Promise<DatasetSplits>>;

export type DatasetName = keyof typeof loaders;

/** What {@link loadDataset} knows: the data sets that need no more than a name. */
export const datasetNames = Object.keys(loaders) as DatasetName[];

/**
 * A data set by its name.
 * @throws {OptionError} for an unknown name.
 * @throws {DataError} when it cannot be fetched or is damaged.
 */
export async function loadDataset(name: DatasetName, options: LoadOptions = {}): Promise<DatasetSplits> {
  return loaders[requireOneOf('name', name, datasetNames)](options);
}

/** What is in a data set. */
export interface DatasetSummary {
  name: DatasetName;
  /** Where it was read from. */
  location: string;
  image: { height: number; width: number; channels: number };
  splits: { split: 'train' | 'test'; images: number; bytes: number; imagesPerClass: Record<string, number> }[];
}

/** Loads a data set, which checks it in full, and tells what it holds. */
export async function summarizeDataset(name: DatasetName, options: LoadOptions = {}): Promise<DatasetSummary> {
  const { train, test } = await loadDataset(name, options);
  const { height, width, channels } = train;
  const location = options.source ?? (name === 'fashion-mnist' ? 'the Debian package dataset-fashion-mnist' : cacheRoot(options.cache));
  return {
    name,
    location,
    image: { height, width, channels },
    splits: Object.entries({ train, test }).map(([split, dataset]) => ({
      split: split as 'train' | 'test',
      images: dataset.count,
      bytes: dataset.images.length,
      imagesPerClass: countClasses(dataset.labels, dataset.classes),
    })),
  };
}

function countClasses(labels: Int32Array, classes: readonly string[]): Record<string, number> {
  const counts = new Array<number>(classes.length).fill(0);
  for (const label of labels) counts[label]++;
  return Object.fromEntries(classes.map((name, index) => [name, counts[index]]));
}
