import { DataError, OptionError, ShapeError, describe, requireKnownKeys, requireNumber } from '../errors';
import { rangeOf } from '../hostArrays';
import { Generator } from '../random';
import type { DatasetInfo } from './batchLoader';
import type { ImageFolder } from './imageFolder';

/** Labelled images in memory. Made by {@link imageDataset} or a loader; the arrays are shared, never copied. */
export interface ImageDataset extends DatasetInfo {
  /** Pixels 0..255 of shape [count, height, width, channels], row-major. */
  readonly images: Uint8Array;
  /** Class of each image, 0..classes.length-1, of shape [count]. */
  readonly labels: Int32Array;
  /** Pixels. */
  readonly height: number;
  /** Pixels. */
  readonly width: number;
  /** 1 for grey, 3 for red, green, blue. */
  readonly channels: number;
}

/** What loaders are made of. */
export type Dataset = ImageDataset | ImageFolder;

/** Whether images are read file by file. @internal */
export function isFolder(dataset: Dataset): dataset is ImageFolder {
  return 'files' in dataset;
}

/** A training set and its test set. */
export interface DatasetSplits<Data extends Dataset = Dataset> {
  readonly train: Data;
  readonly test: Data;
}

/**
 * Checks the arrays and bundles them; `count` is the number of labels.
 * @throws {OptionError} when an extent is not a positive integer, or an array has the wrong type.
 * @throws {ShapeError} when `images` does not hold count×height×width×channels bytes.
 * @throws {DataError} when there is no image, or naming the first index whose label is no class.
 */
export function imageDataset(fields: Omit<ImageDataset, 'count'>): ImageDataset {
  requireKnownKeys('imageDataset', fields, ['name', 'images', 'labels', 'height', 'width', 'channels', 'classes']);
  const { name, images, labels, classes } = fields;
  const height = requireNumber('height', fields.height, { min: 1, integer: true });
  const width = requireNumber('width', fields.width, { min: 1, integer: true });
  const channels = requireNumber('channels', fields.channels, { min: 1, integer: true });
  requireArray('images', images, Uint8Array);
  requireArray('labels', labels, Int32Array);
  const count = labels.length;
  if (count === 0) throw new DataError('labels', `${name} has no images`);
  const expected = count * height * width * channels;
  if (images.length !== expected) {
    const shape = [count, height, width, channels].join('×');
    throw new ShapeError('images', `images of ${name} must hold ${shape} = ${expected} bytes, but has ${images.length}`);
  }
  const bad = findBadLabel(labels, classes.length);
  if (bad) throw new DataError('labels', `labels of ${name} must be in ${bad.range}, but the one at index ${bad.index} is ${labels[bad.index]}${bad.hint}`);
  return { name, images, labels, count, height, width, channels, classes };
}

/** The first label that is no class, with the range of those that are and what may be the reason. @internal */
export function findBadLabel(labels: Uint8Array | Int32Array, classes: number): { index: number; range: string; hint: string } | null {
  const index = labels.findIndex((label) => label < 0 || label >= classes);
  if (index === -1) return null;
  const [least, most] = rangeOf(labels)!;
  const hint = least === 1 && most === classes ? `; labels count from 0, but these run from 1 to ${classes}` : '';
  return { index, range: `0..${classes - 1}`, hint };
}

function requireArray(argument: string, value: unknown, type: Uint8ArrayConstructor | Int32ArrayConstructor): void {
  if (!(value instanceof type)) {
    throw new OptionError(argument, `${argument} must be a ${type.name}, but got ${describe(value)}`);
  }
}

/**
 * The images from `start` up to, not including, `end`: a view of the same arrays. Those of a folder lie class by class;
 * they are counted in a random order, always the same, so that a part has images of all classes.
 * @throws {OptionError} unless 0 ≤ start < end ≤ dataset.count.
 */
export function subset<Data extends Dataset>(dataset: Data, start: number, end: number): Data {
  requireNumber('start', start, { min: 0, below: dataset.count, integer: true });
  requireNumber('end', end, { above: start, max: dataset.count, integer: true });
  const { labels } = dataset;
  if (isFolder(dataset)) {
    const chosen = new Generator(0).permutation(dataset.count).subarray(start, end).sort();
    const files = Array.from(chosen, (index) => dataset.files[index]);
    return { ...dataset, files, labels: chosen.map((index) => labels[index]), count: chosen.length };
  }
  const bytesPerImage = dataset.height * dataset.width * dataset.channels;
  const images = dataset.images.subarray(start * bytesPerImage, end * bytesPerImage);
  return { ...dataset, images, labels: labels.subarray(start, end), count: end - start };
}
