import { createHash } from 'node:crypto';
import { DataError, OptionError, ShapeError, describe, requireKnownKeys, requireNumber } from '../errors';
import { arrayTypes, isArrayOf, rangeOf } from '../hostArrays';
import { requireCount } from '../ops/checks';
import { Generator } from '../random';
import type { DatasetInfo } from './batchLoader';
import type { ImageFolder } from './imageFolder';

/**
 * Labelled images in memory. Made by {@link imageDataset} or a loader; the arrays are shared, never copied, also with other
 * threads where they are of a SharedArrayBuffer. A batch copies its images when it is begun.
 */
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
  const height = requireCount('height', fields.height);
  const width = requireCount('width', fields.width);
  const channels = requireCount('channels', fields.channels);
  requireArray('images', images, 'u8');
  requireArray('labels', labels, 'i32');
  const dataset = { name, images, labels, count: labels.length, height, width, channels, classes };
  if (dataset.count === 0) throw new DataError('labels', `${name} has no images`);
  requireWholeArrays(dataset);
  const bad = findBadLabel(labels, classes.length);
  if (bad) throw new DataError('labels', `labels of ${name} must be in ${bad.range}, but the one at index ${bad.index} is ${labels[bad.index]}${bad.hint}`);
  return dataset;
}

/** The first label that is no class, with the range of those that are and what may be the reason. @internal */
export function findBadLabel(labels: Uint8Array | Int32Array, classes: number): { index: number; range: string; hint: string } | null {
  const index = labels.findIndex((label) => label < 0 || label >= classes);
  if (index === -1) return null;
  const [least, most] = rangeOf(labels)!;
  const hint = least === 1 && most === classes ? `; labels count from 0, but these run from 1 to ${classes}` : '';
  return { index, range: `0..${classes - 1}`, hint };
}

function requireArray(argument: string, value: unknown, dtype: 'u8' | 'i32'): void {
  if (!isArrayOf(dtype, value)) {
    throw new OptionError(argument, `${argument} must be a ${arrayTypes[dtype].name}, but got ${describe(value)}`);
  }
}

/**
 * The arrays are the user's, whose buffers can be resized, or transferred to another thread, at any time later.
 * @throws {ShapeError} unless the arrays have what the extents say. @internal
 */
export function requireWholeArrays({ name, images, labels, count, height, width, channels }: ImageDataset): void {
  const expected = count * height * width * channels;
  const lost = (length: number) => (length === 0 ? '; its buffer may have been transferred' : '');
  if (images.length !== expected) {
    const shape = [count, height, width, channels].join('×');
    throw new ShapeError('images', `images of ${name} must hold ${shape} = ${expected} bytes, but has ${images.length}${lost(images.length)}`);
  }
  if (labels.length !== count) {
    throw new ShapeError('labels', `labels of ${name} must hold ${count}, but has ${labels.length}${lost(labels.length)}`);
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

const IMAGES_IN_FINGERPRINT = 500;

/**
 * Tells data sets apart that have the same name and size: a checksum of all labels, of 500 images at most, evenly spread,
 * and of a folder the names of all files instead. Takes milliseconds. @internal
 */
export function fingerprint(dataset: Dataset): string {
  const hash = createHash('sha256').update(dataset.labels);
  if (isFolder(dataset)) return hash.update(dataset.files.join('\n')).digest('hex').slice(0, 16);
  const { images, count } = dataset;
  const bytesPerImage = images.length / count;
  const chosen = Math.min(count, IMAGES_IN_FINGERPRINT);
  for (let i = 0; i < chosen; i++) {
    const start = Math.floor((i * count) / chosen) * bytesPerImage;
    hash.update(images.subarray(start, start + bytesPerImage));
  }
  return hash.digest('hex').slice(0, 16);
}
