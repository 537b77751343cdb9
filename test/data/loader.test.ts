import { imageDataset } from '../../lib/data/dataset';
import { DataLoader, type DataLoaderOptions, type IndexedBatch } from '../../lib/data';
import { memoryStats } from '../../lib/device';
import { OptionError, ShapeError } from '../../lib/errors';
import { collectGarbage } from '../support/garbage';

const [height, width, channels] = [6, 5, 3];

/** `count` images with pixels and labels of their own. */
function dataset(count: number) {
  const images = Uint8Array.from({ length: count * height * width * channels }, (_, i) => (i * 37 + (i >> 5) * 11) % 256);
  const labels = Int32Array.from({ length: count }, (_, i) => (i * 7) % 4);
  return imageDataset({ name: 'set', images, labels, height, width, channels, classes: ['a', 'b', 'c', 'd'] });
}

const data = dataset(25);
const open: DataLoader[] = [];
function loaderOf(options: DataLoaderOptions, source = data): DataLoader {
  const loader = new DataLoader(source, options);
  open.push(loader);
  return loader;
}
afterEach(() => {
  for (const loader of open.splice(0)) loader.close();
});

interface Values {
  pixels: number[];
  labels: number[];
  indices: number[];
}
const values = ({ images, labels, indices }: IndexedBatch): Values => ({
  pixels: [...images.data()],
  labels: [...labels.data()],
  indices: [...indices],
});
async function take(loader: DataLoader, iterations: number[]): Promise<Values[]> {
  const taken: Values[] = [];
  for (const iteration of iterations) taken.push(values(await loader.batch(iteration)));
  return taken;
}

interface Cut {
  top: number;
  left: number;
  mirrored: boolean;
  upsideDown: boolean;
}

/** The reference: image `index` normalised, padded with zeros, cut and flipped, one pixel after the other. */
function cutOut(index: number, cut: Cut, padding: number, [rows, columns]: [number, number], mean: number[], std: number[]): number[] {
  const result: number[] = [];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const y = cut.top - padding + (cut.upsideDown ? rows - 1 - row : row);
      const x = cut.left - padding + (cut.mirrored ? columns - 1 - column : column);
      for (let channel = 0; channel < channels; channel++) {
        const inside = y >= 0 && y < height && x >= 0 && x < width;
        const pixel = data.images[((index * height + y) * width + x) * channels + channel];
        result.push(inside ? Math.fround(Math.fround(pixel - mean[channel]) / std[channel]) : 0);
      }
    }
  }
  return result;
}

const upright: Cut = { top: 0, left: 0, mirrored: false, upsideDown: false };
const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

describe('order', () => {
  test('an epoch has every index once, the next one in another order', async () => {
    const loader = loaderOf({ batchSize: 5, seed: 3 });
    expect(loader.batchesPerEpoch).toBe(5);
    const order = (await take(loader, range(10))).map(({ indices }) => indices);
    const [first, second] = [order.slice(0, 5).flat(), order.slice(5).flat()];
    expect([...first].sort((a, b) => a - b)).toEqual(range(25));
    expect([...second].sort((a, b) => a - b)).toEqual(range(25));
    expect(first).not.toEqual(second);
    expect(first).not.toEqual(range(25));
  });

  test('every order comes equally often', async () => {
    const counts = new Map<string, number>();
    const loader = loaderOf({ batchSize: 3 }, dataset(3));
    for (let epoch = 0; epoch < 1200; epoch++) {
      const key = (await loader.batch(epoch)).indices.join();
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    // Five standard deviations around 200.
    for (const count of counts.values()) expect(Math.abs(count - 200)).toBeLessThan(65);
  });

  test('labels belong to the images', async () => {
    const [{ labels, indices }] = (await take(loaderOf({ batchSize: 25 }), [4])) as [Values];
    expect(labels).toEqual(indices.map((index) => data.labels[index]));
  });

  test('an incomplete batch is left out, or comes last', async () => {
    expect(loaderOf({ batchSize: 10 }).batchesPerEpoch).toBe(2);
    const whole = loaderOf({ batchSize: 10, dropLast: false });
    expect(whole.batchesPerEpoch).toBe(3);
    const batches = await take(whole, range(3));
    expect(batches.map(({ indices }) => indices.length)).toEqual([10, 10, 5]);
    expect(batches.flatMap(({ indices }) => indices).sort((a, b) => a - b)).toEqual(range(25));
  });

  test('without shuffling it is that of the dataset', async () => {
    const batches = await take(loaderOf({ batchSize: 5, shuffle: false }), range(6));
    expect(batches.flatMap(({ indices }) => indices)).toEqual([...range(25), ...range(5)]);
  });
});

describe('reproducibility', () => {
  const options = { batchSize: 4, seed: 11, augment: { padding: 2, flipHorizontal: true, flipVertical: true } };

  test('a batch depends on the seed and the iteration alone, whatever was taken before', async () => {
    const straight = await take(loaderOf(options), range(20));
    const jumping = await take(loaderOf({ ...options, prefetch: 0 }), [17, 3, 3, 8, 19, 0]);
    expect(jumping).toEqual([17, 3, 3, 8, 19, 0].map((iteration) => straight[iteration]));
  });

  test('another seed gives other orders and other cuts', async () => {
    const [a] = await take(loaderOf(options), [0]);
    const [b] = await take(loaderOf({ ...options, seed: 12 }), [0]);
    expect(a.indices).not.toEqual(b.indices);
    const fixed = { ...options, shuffle: false };
    const [c] = await take(loaderOf(fixed), [0]);
    const [d] = await take(loaderOf({ ...fixed, seed: 12 }), [0]);
    expect(c.indices).toEqual(d.indices);
    expect(c.pixels).not.toEqual(d.pixels);
  });

  test('an image is cut out anew every epoch', async () => {
    const [first, second] = await take(loaderOf({ ...options, batchSize: 25, shuffle: false }), [0, 1]);
    expect(first.pixels).not.toEqual(second.pixels);
  });
});

describe('pixels', () => {
  test('are normalised as for CIFAR by default', async () => {
    const { images } = await loaderOf({ batchSize: 5, shuffle: false }).batch(0);
    expect(images.shape).toEqual([5, height, width, channels]);
    expect(images.dtype).toBe('f32');
    const expected = range(5).flatMap((i) => cutOut(i, upright, 0, [height, width], [127.5, 127.5, 127.5], [128, 128, 128]));
    expect([...images.data()]).toEqual(expected);
  });

  test('are normalised for each channel', async () => {
    const [mean, std] = [[100, 110, 120], [50, 60, 70]];
    const { images } = await loaderOf({ batchSize: 2, shuffle: false, mean, std }).batch(1);
    const expected = [2, 3].flatMap((i) => cutOut(i, upright, 0, [height, width], mean, std));
    expect([...images.data()]).toEqual(expected);
  });

  test('every cut is one of the possible ones, and each of those comes up equally often', async () => {
    const [padding, size] = [1, [4, 5] as [number, number]];
    const [mean, std] = [[127.5, 127.5, 127.5], [128, 128, 128]];
    const loader = loaderOf({
      batchSize: 25,
      shuffle: false,
      augment: { padding, crop: size, flipHorizontal: true, flipVertical: true },
    });
    const cuts: Cut[] = [];
    for (const top of range(5)) {
      for (const left of range(3)) {
        for (const flips of range(4)) cuts.push({ top, left, mirrored: (flips & 1) !== 0, upsideDown: (flips & 2) !== 0 });
      }
    }
    // The first image tells the cut; the rest of the batch has others.
    const byPixels = new Map(cuts.map((cut, i) => [cutOut(0, cut, padding, size, mean, std).join(), i]));
    expect(byPixels.size).toBe(60);
    const counts = new Array<number>(60).fill(0);
    for (let iteration = 0; iteration < 1500; iteration++) {
      const { images } = await loader.batch(iteration);
      const pixels = images.data().subarray(0, size[0] * size[1] * channels);
      const found = byPixels.get(pixels.join());
      expect(found).toBeDefined();
      counts[found!]++;
    }
    const chiSquared = counts.reduce((sum, count) => sum + (count - 25) ** 2 / 25, 0);
    // 59 degrees of freedom: the 99.99% quantile.
    expect(chiSquared).toBeLessThan(108);
  });

  test('flips are made only where asked for', async () => {
    const seen = new Set<string>();
    const loader = loaderOf({ batchSize: 1, augment: { flipVertical: true } }, { ...dataset(1) });
    for (let iteration = 0; iteration < 40; iteration++) seen.add((await loader.batch(iteration)).images.data().join());
    const expected = [false, true].map((upsideDown) =>
      cutOut(0, { ...upright, upsideDown }, 0, [height, width], [127.5, 127.5, 127.5], [128, 128, 128]).join(),
    );
    expect([...seen].sort()).toEqual(expected.sort());
  });
});

describe('one epoch for evaluation', () => {
  test('is in order, whole, and not augmented', async () => {
    const augment = { padding: 3, flipHorizontal: true };
    const batches: Values[] = [];
    for await (const batch of loaderOf({ batchSize: 10, augment })) batches.push(values(batch));
    expect(batches.map(({ indices }) => indices)).toEqual([range(10), range(10).map((i) => i + 10), range(5).map((i) => i + 20)]);
    const plain = range(25).flatMap((i) => cutOut(i, upright, 0, [height, width], [127.5, 127.5, 127.5], [128, 128, 128]));
    expect(batches.flatMap(({ pixels }) => pixels)).toEqual(plain);
    expect(batches.flatMap(({ labels }) => labels)).toEqual([...data.labels]);
  });

  test('takes the central crop', async () => {
    for await (const { images } of loaderOf({ batchSize: 25, augment: { crop: [4, 3] } })) {
      const cut = { ...upright, top: 1, left: 1 };
      const expected = range(25).flatMap((i) => cutOut(i, cut, 0, [4, 3], [127.5, 127.5, 127.5], [128, 128, 128]));
      expect([...images.data()]).toEqual(expected);
    }
  });

  test('can be left early and does not disturb the training batches', async () => {
    await collectGarbage();
    const before = memoryStats().storages;
    const loader = loaderOf({ batchSize: 4, seed: 2 });
    const batch = await loader.batch(0);
    for await (const { indices } of loader) {
      expect([...indices]).toEqual(range(4));
      break;
    }
    expect(batch.images.disposed).toBe(false);
    loader.close();
    await settled(before);
  });
});

/** Waits until the batches under way have come in and been released. */
async function settled(storages: number): Promise<void> {
  for (let turn = 0; turn < 200 && memoryStats().storages > storages; turn++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(memoryStats().storages).toBe(storages);
}

describe('memory', () => {
  test('a loop without dispose holds one batch and the ones ahead', async () => {
    await collectGarbage();
    const before = memoryStats().storages;
    const loader = loaderOf({ batchSize: 5, prefetch: 2 });
    for (let iteration = 0; iteration < 100; iteration++) {
      await loader.batch(iteration);
      expect(memoryStats().storages - before).toBeLessThanOrEqual(6);
    }
    loader.close();
    await settled(before);
  });

  test('the batch before is disposed of unless it was kept', async () => {
    const loader = loaderOf({ batchSize: 5 });
    const [first, second] = [await loader.batch(0), await loader.batch(1)];
    expect(first.images.disposed && first.labels.disposed).toBe(true);
    second.images.keep();
    await loader.batch(2);
    loader.close();
    expect([second.images.disposed, second.labels.disposed]).toEqual([false, true]);
    second.images.dispose();
  });

  test('a closed loader can be used again', async () => {
    const loader = loaderOf({ batchSize: 5 });
    const [before] = await take(loader, [7]);
    loader.close();
    expect(await take(loader, [7])).toEqual([before]);
  });
});

describe('wrong options', () => {
  test.each<[string, object, RegExp]>([
    ['batchSize', {}, /batchSize must be an integer at least 1.*, but got undefined/],
    ['batchSize', { batchSize: 26 }, /batchSize must be at most the 25 images of set, but got 26/],
    ['seed', { batchSize: 5, seed: -1 }, /seed must be an integer at least 0/],
    ['augment.padding', { batchSize: 5, augment: { padding: 0.5 } }, /augment.padding must be an integer/],
    ['augment.crop', { batchSize: 5, augment: { padding: 1, crop: [8, 8] } }, /must fit into the 6x5 image with its padding of 1, but got 8x8/],
    ['rotate', { batchSize: 5, augment: { rotate: 1 } }, /augment has no option "rotate"/],
    ['mean', { batchSize: 5, mean: [1, 2] }, /mean must be a number or 3 of them, one for each channel, but got \[1, 2\]/],
    ['std', { batchSize: 5, std: [1, 0, 1] }, /std must be a finite number greater than 0, but got 0/],
    ['prefetch', { batchSize: 5, prefetch: -1 }, /prefetch must be an integer/],
    ['device', { batchSize: 5, device: 'gpu' }, /device must be one of "cpu", "cuda", "auto", but got "gpu"/],
    ['batchsize', { batchSize: 5, batchsize: 5 }, /DataLoader has no option "batchsize"/],
  ])('%s', (argument, options, message) => {
    expect(() => new DataLoader(data, options as DataLoaderOptions)).toThrow(message);
    try {
      new DataLoader(data, options as DataLoaderOptions);
    } catch (error) {
      expect(error).toBeInstanceOf(OptionError);
      expect((error as OptionError).argument).toBe(argument);
    }
  });

  test('a senseless iteration', async () => {
    await expect(loaderOf({ batchSize: 5 }).batch(-1)).rejects.toThrow(/iteration must be an integer at least 0/);
  });
});

describe("the buffers of a data set are the user's", () => {
  const fields = { name: 'set', height: 64, width: 64, channels: 3, classes: ['a', 'b'] };
  const [count, bytes] = [64, 64 * 64 * 64 * 3];
  const pixels = (buffer: ArrayBufferLike) => new Uint8Array(buffer).fill(200);
  const labels = () => Int32Array.from({ length: count }, () => 1);
  /** With a length that can change; TypeScript's library does not know it yet. */
  type Resizable = ArrayBuffer & { resize(bytes: number): void };
  const resizable = (): Resizable => Reflect.construct(ArrayBuffer, [bytes, { maxByteLength: bytes }]) as Resizable;

  test('a batch under way is whole though another thread gets the pixels and the labels', async () => {
    const source = imageDataset({ ...fields, images: pixels(new ArrayBuffer(bytes)), labels: labels() });
    const batch = loaderOf({ batchSize: count, prefetch: 0, mean: 0, std: 1 }, source).batch(0);
    const transfer = [source.images.buffer, source.labels.buffer] as ArrayBuffer[];
    for (const buffer of structuredClone(transfer, { transfer })) new Uint8Array(buffer).fill(0);
    const { images, labels: ofBatch } = await batch;
    expect(new Set(images.data())).toEqual(new Set([200]));
    expect(new Set(ofBatch.data())).toEqual(new Set([1]));
  });

  test.each(['images', 'labels'] as const)('the next batch after a transfer of the %s is an error', async (name) => {
    const source = imageDataset({ ...fields, images: pixels(new ArrayBuffer(bytes)), labels: labels() });
    const loader = loaderOf({ batchSize: 8, prefetch: 0 }, source);
    await loader.batch(0);
    structuredClone(null, { transfer: [source[name].buffer as ArrayBuffer] });
    await expect(loader.batch(1)).rejects.toThrow(new RegExp(`^${name} of set must hold .*, but has 0; its buffer may have been transferred$`));
    await expect(loader.batch(1)).rejects.toThrow(ShapeError);
  });

  test('a buffer that shrinks', async () => {
    const buffer = resizable();
    const dataset = imageDataset({ ...fields, images: pixels(buffer), labels: labels() });
    const loader = loaderOf({ batchSize: count, prefetch: 0, mean: 0, std: 1 }, dataset);
    const batch = loader.batch(0);
    buffer.resize(0);
    expect(new Set((await batch).images.data())).toEqual(new Set([200]));
    await expect(loader.batch(1)).rejects.toThrow(ShapeError);
  });

  test('memory that several workers share', async () => {
    const source = imageDataset({ ...fields, images: pixels(new SharedArrayBuffer(bytes)), labels: labels() });
    const { images } = await loaderOf({ batchSize: 8, prefetch: 0, mean: 0, std: 1 }, source).batch(0);
    expect(new Set(images.data())).toEqual(new Set([200]));
  });
});
