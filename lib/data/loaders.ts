import { OptionError, requireOneOf, requireOptions } from '../errors';
import type { Loader } from './batchLoader';
import { type Dataset, isFolder } from './dataset';
import { type FolderAugmentation, ImageFolderLoader } from './imageFolderLoader';
import { type Augmentation, DataLoader } from './loader';

/** Random changes by name: to images in memory, and to those of a folder. */
interface NamedAugmentation {
  memory: Augmentation | null;
  folder: FolderAugmentation;
}

const augmentations = {
  'none': { memory: {}, folder: {} },
  'flip': { memory: { flipHorizontal: true }, folder: { flipHorizontal: true } },
  // CIFAR-10+; on ImageNet what the paper does.
  'full': { memory: { padding: 4, flipHorizontal: true }, folder: { crop: 'random', flipHorizontal: true } },
  'random-resized': { memory: null, folder: { crop: 'random-resized', flipHorizontal: true } },
} as const satisfies Record<string, NamedAugmentation>;

export type AugmentationName = keyof typeof augmentations;
/**
 * `none`; `flip`: left-right; `full`: also a random crop, of CIFAR's images with 4 pixels of padding; `random-resized`:
 * also a random part of any size, only of images in a folder.
 */
export const augmentationNames = Object.keys(augmentations) as AugmentationName[];

/**
 * Batches of a training set of either kind.
 * @throws {OptionError} naming the option at fault.
 */
export function trainingLoader(
  dataset: Dataset,
  options: { batchSize: number; seed: number; augment: AugmentationName },
): Loader {
  requireOptions('trainingLoader', options);
  const { batchSize, seed } = options;
  const name = requireOneOf('augment', options.augment, augmentationNames);
  const { memory, folder } = augmentations[name];
  if (isFolder(dataset)) return new ImageFolderLoader(dataset, { batchSize, seed, augment: folder });
  if (!memory) throw new OptionError('augment', `augment ${name} needs a folder of images, but ${dataset.name} is in memory`);
  return new DataLoader(dataset, { batchSize, seed, augment: memory });
}

/** Batches of all images of a test set of either kind, in order. */
export function evaluationLoader(dataset: Dataset, batchSize: number): Loader {
  const options = { batchSize: Math.min(batchSize, dataset.count) };
  return isFolder(dataset) ? new ImageFolderLoader(dataset, options) : new DataLoader(dataset, options);
}
