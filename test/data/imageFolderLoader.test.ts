import fs, { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ImageFolder, ImageFolderLoader, type ImageFolderLoaderOptions, type ImageFolderOptions, type IndexedBatch, loadImageFolder,
} from '../../lib/data';
import { memoryStats } from '../../lib/device';
import { DataError, OptionError } from '../../lib/errors';
import { collectGarbage } from '../support/garbage';
import { png, put } from './images';

/** Pixels of the images' sides: cut out of the file without resizing, so that every pixel is known. */
const [side, width, height] = [8, 12, 10];
const count = 18;

/** Pixels of their own for each image. */
const pixelOf = (image: number, row: number, column: number, channel: number) => (image * 59 + row * 17 + column * 29 + channel * 83) % 256;

const range = (length: number) => Array.from({ length }, (_, i) => i);
const wholeImage = (image: number) =>
  range(width * height * 3).map((i) => pixelOf(image, Math.floor(i / 3 / width), Math.floor(i / 3) % width, i % 3));

let root: string;
let folder: ImageFolder;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
  for (let image = 0; image < count; image++) {
    const name = `train/${'abc'[Math.floor(image / 6)]}/${String(image).padStart(2, '0')}.png`;
    await put(root, name, await png(Uint8Array.from(wholeImage(image)), width, height));
  }
  await put(root, 'val/a/00.png', await png(new Uint8Array(width * height * 3), width, height));
  folder = await loaded();
});
afterAll(async () => {
  await rm(root, { recursive: true });
});

/** The shorter side stays as it is. */
async function loaded(options: Partial<ImageFolderOptions> = {}): Promise<ImageFolder> {
  return (await loadImageFolder({ source: root, imageSize: side, resize: height, ...options })).train;
}

const open: ImageFolderLoader[] = [];
function loaderOf(options: Partial<ImageFolderLoaderOptions> = {}, dataset = folder): ImageFolderLoader {
  const loader = new ImageFolderLoader(dataset, { batchSize: 6, mean: 0, std: 1, ...options });
  open.push(loader);
  return loader;
}
afterEach(() => {
  for (const loader of open.splice(0)) loader.close();
});

const values = ({ images, labels, indices }: IndexedBatch) => ({
  pixels: [...images.data()],
  labels: [...labels.data()],
  indices: [...indices],
});
async function take(loader: ImageFolderLoader, iterations: number[]) {
  const taken: ReturnType<typeof values>[] = [];
  for (const iteration of iterations) taken.push(values(await loader.batch(iteration)));
  return taken;
}

/** The square at a place of an image, one pixel after the other. */
function square(image: number, top: number, left: number, mirrored = false): number[] {
  return range(side * side * 3).map((i) => {
    const [row, column] = [Math.floor(i / 3 / side), Math.floor(i / 3) % side];
    return pixelOf(image, top + row, left + (mirrored ? side - 1 - column : column), i % 3);
  });
}
const central = (image: number) => square(image, 1, 2);
const numbers = side * side * 3;

describe('batches', () => {
  test('of an evaluation are in order and whole, with the squares from the middle', async () => {
    const batches: ReturnType<typeof values>[] = [];
    for await (const batch of loaderOf({ batchSize: 8, augment: { crop: 'random', flipHorizontal: true } })) batches.push(values(batch));
    expect(batches.map(({ indices }) => indices.length)).toEqual([8, 8, 2]);
    expect(batches.flatMap(({ indices }) => indices)).toEqual(range(count));
    expect(batches.flatMap(({ labels }) => labels)).toEqual(range(count).map((image) => Math.floor(image / 6)));
    expect(batches.flatMap(({ pixels }) => pixels)).toEqual(range(count).flatMap(central));
  });

  test('of an epoch have every image once, with its label, the next ones in another order', async () => {
    const loader = loaderOf({ seed: 5 });
    expect([loader.batchesPerEpoch, loader.dataset.height]).toEqual([3, side]);
    const order = (await take(loader, range(6))).flatMap(({ indices }) => indices);
    const [first, second] = [order.slice(0, count), order.slice(count)];
    expect([...first].sort((a, b) => a - b)).toEqual(range(count));
    expect([...second].sort((a, b) => a - b)).toEqual(range(count));
    expect(first).not.toEqual(second);
    const [{ pixels, labels, indices }] = await take(loader, [7]);
    expect(pixels).toEqual(indices.flatMap(central));
    expect(labels).toEqual(indices.map((index) => folder.labels[index]));
  });

  test('are normalised as for CIFAR by default', async () => {
    const [batch] = await take(loaderOf({ shuffle: false, mean: undefined, std: undefined }), [0]);
    expect(batch.pixels).toEqual(range(6).flatMap(central).map((pixel) => Math.fround((pixel - 127.5) / 128)));
  });

  test('a random crop with flips comes to every place, and only there', async () => {
    const single = { ...folder, files: folder.files.slice(0, 1), labels: folder.labels.slice(0, 1), count: 1 };
    const loader = loaderOf({ batchSize: 1, augment: { crop: 'random', flipHorizontal: true } }, single);
    const corners = range(3).flatMap((top) => range(5).map((left) => [top, left] as const));
    const places = corners.flatMap(([top, left]) => [false, true].map((mirrored) => square(0, top, left, mirrored).join()));
    const seen = new Set<string>();
    // 30 places: that one of them is still missing after 300 draws has a probability of 0.1%, and the seed is fixed.
    for (const { pixels } of await take(loader, range(300))) seen.add(pixels.join());
    expect([...seen].sort()).toEqual(places.sort());
  });

  test('a random-resized crop takes what scale and ratio say', async () => {
    // All of the area in the shape of the image: the whole image, resized.
    const whole = loaderOf({ shuffle: false, augment: { crop: 'random-resized', scale: [1, 1], ratio: [1.2, 1.2] } });
    const [{ pixels }] = await take(whole, [0]);
    const mean = (values: number[]) => values.reduce((sum, each) => sum + each) / values.length;
    expect(Math.abs(mean(pixels.slice(0, numbers)) - mean(wholeImage(0)))).toBeLessThan(1.5);
    const cuts = loaderOf({ shuffle: false, augment: { crop: 'random-resized' } });
    const [first, second] = await take(cuts, [0, 3]);
    expect(first.pixels).not.toEqual(second.pixels);
  });
});

describe('reproducibility', () => {
  const options = { seed: 11, augment: { crop: 'random-resized', flipHorizontal: true, flipVertical: true } } as const;

  test('a batch depends on the seed and the iteration alone: not on workers, prefetching, or what was taken before', async () => {
    const straight = await take(loaderOf({ ...options, workers: 1, prefetch: 0 }), range(8));
    expect(await take(loaderOf({ ...options, workers: 5, prefetch: 4 }), range(8))).toEqual(straight);
    expect(await take(loaderOf(options), [7, 2, 2, 0])).toEqual([7, 2, 2, 0].map((iteration) => straight[iteration]));
    const [other] = await take(loaderOf({ ...options, seed: 12 }), [0]);
    expect(other.pixels).not.toEqual(straight[0].pixels);
  });
});

describe('damaged images', () => {
  const damaged = ['a/02.png', 'c/14.png'];
  let broken: ImageFolder;
  const originals = new Map<string, Buffer>();
  beforeAll(async () => {
    for (const file of damaged) originals.set(file, await readFile(join(root, 'train', file)));
    for (const file of damaged) await writeFile(join(root, 'train', file), originals.get(file)!.subarray(0, 60));
  });
  afterAll(async () => {
    for (const [file, bytes] of originals) await writeFile(join(root, 'train', file), bytes);
  });

  test('are an error that names the first in the batch, and the loader goes on', async () => {
    const loader = loaderOf({ shuffle: false, workers: 4 });
    const error = await loaderOf({ shuffle: false, workers: 4, batchSize: 18 }).batch(0).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(DataError);
    expect((error as Error).message).toMatch(new RegExp(`^${join(root, 'train', damaged[0])} cannot be decoded: `));
    await expect(loader.batch(2)).rejects.toThrow('c/14.png cannot be decoded');
    expect((await take(loader, [1]))[0].indices).toEqual([6, 7, 8, 9, 10, 11]);
  });

  test('can be skipped: in training the next image of the epoch takes the place, and the batch keeps its size', async () => {
    const skipped: string[] = [];
    broken = await loaded({ onError: 'skip', onSkip: ({ argument }) => void skipped.push(argument) });
    const loader = loaderOf({ shuffle: false, workers: 3 }, broken);
    const batches = await take(loader, [0, 1, 2, 3, 4, 5]);
    const order = batches.slice(0, 3).map(({ indices }) => indices);
    expect(order).toEqual([[0, 1, 3, 3, 4, 5], [6, 7, 8, 9, 10, 11], [12, 13, 15, 15, 16, 17]]);
    expect(batches.slice(3)).toEqual(batches.slice(0, 3));
    for (const { pixels, labels, indices } of batches) {
      expect(pixels).toEqual(indices.flatMap(central));
      expect(labels).toEqual(indices.map((index) => broken.labels[index]));
    }
    expect(skipped).toEqual(damaged.map((file) => join(root, 'train', file)));
  });

  test('are replaced alike whatever the workers and however far a batch looks ahead', async () => {
    const options = { seed: 3, augment: { crop: 'random', flipHorizontal: true } } as const;
    broken = await loaded({ onError: 'skip' });
    const straight = await take(loaderOf({ ...options, workers: 1, prefetch: 0 }, broken), range(6));
    expect(straight.flatMap(({ indices }) => indices)).not.toContain(2);
    expect(await take(loaderOf({ ...options, workers: 6 }, broken), range(6))).toEqual(straight);
    // What is not damaged is cut as it would be without.
    const [whole] = await take(loaderOf({ ...options, batchSize: 2 }), [0]);
    expect((await take(loaderOf({ ...options, batchSize: 2 }, broken), [0]))[0]).toEqual(whole);
  });

  test('are left out of an evaluation', async () => {
    broken = await loaded({ onError: 'skip' });
    const batches: ReturnType<typeof values>[] = [];
    for await (const batch of loaderOf({ batchSize: 6 }, broken)) batches.push(values(batch));
    const rest = range(count).filter((image) => image !== 2 && image !== 14);
    expect(batches.map(({ indices }) => indices.length)).toEqual([5, 6, 5]);
    expect(batches.flatMap(({ indices }) => indices)).toEqual(rest);
    expect(batches.flatMap(({ pixels }) => pixels)).toEqual(rest.flatMap(central));
    // A batch of nothing else does not come.
    const single: number[] = [];
    for await (const { indices } of loaderOf({ batchSize: 1 }, broken)) single.push(...indices);
    expect(single).toEqual(rest);
  });

  test('are not files that cannot be read: these are never skipped', async () => {
    const skipping = await loaded({ onError: 'skip' });
    const missing = { ...skipping, files: ['a/none.png', ...skipping.files.slice(1)] };
    await expect(loaderOf({ shuffle: false }, missing).batch(0)).rejects.toThrow(/a\/none.png cannot be read: ENOENT/);
    const full = Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' });
    const read = jest.spyOn(fs, 'readFile').mockRejectedValue(full);
    await expect(loaderOf({ shuffle: false }, skipping).batch(0)).rejects.toThrow(/00.png cannot be read: EMFILE/);
    read.mockRestore();
  });

  test('that are all there is are an error also when skipped', async () => {
    const only: ImageFolder = { ...(await loaded({ onError: 'skip' })), files: damaged, labels: Int32Array.of(0, 2), count: 2 };
    await expect(loaderOf({ batchSize: 2 }, only).batch(0)).rejects.toThrow(/^none of the 2 images of .* can be decoded$/);
  });
});

describe('memory', () => {
  test('a loop holds one batch and the ones ahead; closing gives up what is under way', async () => {
    await collectGarbage();
    const before = memoryStats().storages;
    const loader = loaderOf({ prefetch: 2, batchSize: 3 });
    for (let iteration = 0; iteration < 40; iteration++) {
      await loader.batch(iteration);
      expect(memoryStats().storages - before).toBeLessThanOrEqual(6);
    }
    loader.close();
    for (let turn = 0; turn < 400 && memoryStats().storages > before; turn++) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(memoryStats().storages).toBe(before);
  });

  test('an evaluation can be left early and does not disturb the training', async () => {
    const loader = loaderOf({ seed: 2 });
    const [expected] = await take(loaderOf({ seed: 2 }), [1]);
    await loader.batch(0);
    for await (const { indices } of loader) {
      expect([...indices]).toEqual(range(6));
      break;
    }
    expect(values(await loader.batch(1))).toEqual(expected);
  });
});

test.each<[string, object, RegExp]>([
  ['batchSize', { batchSize: 19 }, /batchSize must be at most the 18 images of .* train, but got 19/],
  ['workers', { workers: 0 }, /workers must be an integer at least 1, but got 0/],
  ['augment.crop', { augment: { crop: [8, 8] } }, /augment.crop must be one of "central", "random", "random-resized", but got \[8, 8\]/],
  ['augment.scale', { augment: { scale: [0.5, 1] } }, /augment.scale belongs to the crop random-resized, but the crop is central/],
  ['augment.scale', { augment: { crop: 'random-resized', scale: [0.5, 1.5] } }, /must be two numbers greater than 0 and at most 1, the smaller one first, but got \[0.5, 1.5\]/],
  ['augment.ratio', { augment: { crop: 'random-resized', ratio: [2, 1] } }, /must be two numbers greater than 0, the smaller one first/],
  ['padding', { augment: { padding: 4 } }, /augment has no option "padding"; it knows crop, scale, ratio/],
  ['num_workers', { num_workers: 2 }, /ImageFolderLoader has no option "num_workers"/],
])('refuses a wrong %s', (argument, options, message) => {
  const make = () => loaderOf(options);
  expect(make).toThrow(message);
  expect(make).toThrow(OptionError);
  expect(make).toThrow(expect.objectContaining({ argument }) as Error);
});
