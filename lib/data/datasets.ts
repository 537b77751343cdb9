import { requireOneOf, requireOptions } from '../errors';
import { cacheRoot } from './cache';
import { type Cifar100Options, loadCifar10, loadCifar100 } from './cifar';
import { type Dataset, type DatasetSplits, isFolder } from './dataset';
import { type ImageFolderOptions, loadImageFolder } from './imageFolder';
import { loadFashionMnist, loadMnist } from './mnist';
import type { LoadOptions } from './options';

/** Options of all data sets together; each takes its own. */
export type LoadDatasetOptions = LoadOptions & Partial<Cifar100Options> & Partial<ImageFolderOptions>;

// What is not downloaded has no progress to tell.
const loaders = {
  'cifar10': loadCifar10,
  'cifar100': (options) => loadCifar100(options as Cifar100Options),
  'mnist': loadMnist,
  'fashion-mnist': ({ onProgress: _, ...options }) => loadFashionMnist(options),
  'folder': ({ onProgress: _, ...options }) => loadImageFolder(options as ImageFolderOptions),
} satisfies Record<string, (options: LoadDatasetOptions) => Promise<DatasetSplits>>;

export type DatasetName = keyof typeof loaders;

/** What {@link loadDataset} knows. `cifar100` and `folder` need a `source`. */
export const datasetNames = Object.keys(loaders) as DatasetName[];

/**
 * A data set by its name. Options that are undefined count as not given.
 * @throws {OptionError} for an unknown name, or an option that this data set does not have.
 * @throws {DataError} when it cannot be fetched or is damaged.
 */
export async function loadDataset(name: DatasetName, options: LoadDatasetOptions = {}): Promise<DatasetSplits> {
  requireOptions('loadDataset', options);
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  return loaders[requireOneOf('name', name, datasetNames)](given);
}

/** One of the two parts of a data set. */
export interface SplitSummary {
  split: 'train' | 'test';
  images: number;
  /** Of the pixels in memory; null where they are read file by file. */
  bytes: number | null;
  /** Files in the class folders that are left out; null where there are no folders. */
  ignored: number | null;
  imagesPerClass: Record<string, number>;
}

/** What is in a data set. */
export interface DatasetSummary {
  name: DatasetName;
  /** Where it was read from. */
  location: string;
  /** In a batch without augmentation. */
  image: { height: number; width: number; channels: number };
  splits: SplitSummary[];
}

/** Loads a data set, which checks it (of a folder the names, not the images), and tells what it holds. */
export async function summarizeDataset(name: DatasetName, options: LoadDatasetOptions = {}): Promise<DatasetSummary> {
  const { train, test } = await loadDataset(name, options);
  const { height, width, channels } = train;
  const location = options.source ?? (name === 'fashion-mnist' ? 'the Debian package dataset-fashion-mnist' : cacheRoot(options.cache));
  return {
    name,
    location,
    image: { height, width, channels },
    splits: [summaryOf('train', train), summaryOf('test', test)],
  };
}

function summaryOf(split: 'train' | 'test', dataset: Dataset): SplitSummary {
  return {
    split,
    images: dataset.count,
    bytes: isFolder(dataset) ? null : dataset.images.length,
    ignored: isFolder(dataset) ? dataset.ignored : null,
    imagesPerClass: countClasses(dataset.labels, dataset.classes),
  };
}

function countClasses(labels: Int32Array, classes: readonly string[]): Record<string, number> {
  const counts = new Array<number>(classes.length).fill(0);
  for (const label of labels) counts[label]++;
  return Object.fromEntries(classes.map((name, index) => [name, counts[index]]));
}
