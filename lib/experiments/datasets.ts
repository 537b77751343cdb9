import { type DatasetSplits, loadCifar10, loadFashionMnist, loadMnist, type LoadOptions } from '../data';
import { cacheRoot } from '../data/cache';
import { requireOneOf } from '../errors';

/** The data sets that experiments know by name. */
export type DatasetName = 'cifar10' | 'mnist' | 'fashion-mnist';

const loaders: Record<DatasetName, (options: LoadOptions) => Promise<DatasetSplits>> = {
  cifar10: loadCifar10,
  mnist: loadMnist,
  'fashion-mnist': ({ source }) => loadFashionMnist({ source }),
};

/**
 * A data set by its name.
 * @throws {OptionError} for an unknown name.
 * @throws {DataError} when it cannot be fetched or is damaged.
 */
export async function loadDataset(name: DatasetName, options: LoadOptions = {}): Promise<DatasetSplits> {
  requireOneOf('name', name, Object.keys(loaders) as DatasetName[]);
  return loaders[name](options);
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
