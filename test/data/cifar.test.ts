import { createReadStream } from 'node:fs';
import { link, mkdir, mkdtemp, open, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import sharp from 'sharp';
import { create } from 'tar';
import {
  type Cifar100Options, type DatasetSplits, type ImageDataset, loadCifar10, loadCifar100, loadDataset,
} from '../../lib/data';
import { recordsFromPng } from '../../lib/data/cifar';
import { DataError, OptionError } from '../../lib/errors';

let root: string;
let folder: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
  folder = join(root, 'binaries');
  await mkdir(folder);
});
afterEach(async () => {
  await rm(root, { recursive: true });
});

const PIXELS = 32 * 32;
/** A different byte for every channel and, within 251 pixels, for every pixel. */
const pixelOf = (seed: number, channel: number, pixel: number) => (seed + 85 * channel + pixel) % 251;

function record(labels: number[], seed: number): Buffer {
  const planes = [0, 1, 2].flatMap((channel) => Array.from({ length: PIXELS }, (_, pixel) => pixelOf(seed, channel, pixel)));
  return Buffer.from([...labels, ...planes]);
}

/** A file of `count` records, all zero but the given ones. Sparse, so that the real sizes cost no disk space. */
async function writeRecords(name: string, count: number, records: Record<number, Buffer>): Promise<void> {
  const file = await open(join(folder, name), 'w');
  const [{ length }] = Object.values(records);
  await file.truncate(count * length);
  for (const [index, bytes] of Object.entries(records)) await file.write(bytes, 0, length, Number(index) * length);
  await file.close();
}

/** Every batch but the third is all zero. */
async function writeCifar10(third: Record<number, Buffer>): Promise<void> {
  await writeRecords('data_batch_1.bin', 10_000, { 0: Buffer.alloc(3073) });
  for (const name of ['data_batch_2.bin', 'data_batch_4.bin', 'data_batch_5.bin', 'test_batch.bin']) {
    await link(join(folder, 'data_batch_1.bin'), join(folder, name));
  }
  await writeRecords('data_batch_3.bin', 10_000, third);
}

function expectImage(dataset: ImageDataset, index: number, label: number, seed: number): void {
  expect(dataset.labels[index]).toBe(label);
  const pixels = Array.from({ length: PIXELS }, (_, pixel) => [0, 1, 2].map((channel) => pixelOf(seed, channel, pixel)));
  expect([...dataset.images.subarray(index * 3072, (index + 1) * 3072)]).toEqual(pixels.flat());
}

describe('loadCifar10', () => {
  test('reads the batches in order, with the channels moved last', async () => {
    await writeCifar10({ 0: record([7], 1), 9_999: record([9], 2) });
    const { train, test } = await loadCifar10({ source: folder });
    expect(train).toMatchObject({ name: 'CIFAR-10 train', count: 50_000, height: 32, width: 32, channels: 3 });
    expect(test).toMatchObject({ name: 'CIFAR-10 test', count: 10_000 });
    expect(train.classes).toHaveLength(10);
    expectImage(train, 20_000, 7, 1);
    expectImage(train, 29_999, 9, 2);
    expect(train.labels.reduce((sum, label) => sum + label)).toBe(16);
  });

  test('names the file and the record of a label that is no class', async () => {
    await writeCifar10({ 5: record([10], 0) });
    const file = join(folder, 'data_batch_3.bin');
    await expect(loadCifar10({ source: folder })).rejects.toMatchObject({
      name: 'DataError', argument: file, message: `the label of record 5 in ${file} must be in 0..9, but is 10`,
    });
  });

  test.each([['Python', 'data_batch_1'], ['MATLAB', 'data_batch_1.mat']])('tells the %s version from the binary one', async (version, name) => {
    await writeFile(join(folder, name), 'pickled');
    const problem = `has no file data_batch_1.bin: this is the ${version} version of CIFAR-10, but the binary version is wanted`;
    await expect(loadCifar10({ source: folder })).rejects.toThrow(`${folder} ${problem}`);
    const source = join(root, 'cifar-10-python.tar.gz');
    await create({ file: source, gzip: true, cwd: root }, ['binaries']);
    await expect(loadCifar10({ source, cache: join(root, 'cache') })).rejects.toThrow(`${source} ${problem}`);
  });

  test.each([30_729_999, 30_730_001])('refuses a file of %d bytes', async (bytes) => {
    await writeCifar10({ 0: record([1], 0) });
    const file = join(folder, 'data_batch_3.bin');
    await truncate(file, bytes);
    const load = loadCifar10({ source: folder });
    await expect(load).rejects.toThrow(DataError);
    await expect(load).rejects.toThrow(`${file} must have 30730000 bytes, but has ${bytes}`);
  });

  test('names a missing file and a missing source', async () => {
    await expect(loadCifar10({ source: folder })).rejects.toThrow(`${join(folder, 'data_batch_1.bin')} cannot be read`);
    await expect(loadCifar10({ source: join(root, 'nowhere') })).rejects.toThrow(DataError);
  });

  test('refuses unknown options', async () => {
    await expect(loadCifar10({ sorce: folder } as object)).rejects.toThrow(OptionError);
  });
});

describe('loadCifar100', () => {
  beforeEach(async () => {
    await writeRecords('train.bin', 50_000, { 49_999: record([19, 98], 3) });
    await writeRecords('test.bin', 10_000, { 1: record([4, 57], 4) });
  });

  test('takes the fine label', async () => {
    const { train, test } = await loadCifar100({ source: folder });
    expectImage(train, 49_999, 98, 3);
    expectImage(test, 1, 57, 4);
    expect(test.classes).toHaveLength(100);
    expect(new Set(test.classes).size).toBe(100);
    expect([test.classes[57], test.classes[98]]).toEqual(['pear', 'woman']);
  });

  test('takes the coarse label on request', async () => {
    const { train, test } = (await loadDataset('cifar100', { source: folder, coarse: true })) as DatasetSplits<ImageDataset>;
    expectImage(train, 49_999, 19, 3);
    expectImage(test, 1, 4, 4);
    expect(test.classes).toHaveLength(20);
    expect([test.classes[4], test.classes[19]]).toEqual(['fruit_and_vegetables', 'vehicles_2']);
  });

  test('reads the archive and leaves nothing of it in the cache', async () => {
    const source = join(root, 'cifar-100-binary.tar');
    await create({ file: source, cwd: root }, ['binaries']);
    const cache = join(root, 'cache');
    const { train } = await loadCifar100({ source, cache });
    expectImage(train, 49_999, 98, 3);
    expect(await readdir(cache)).toEqual([]);
  });

  test('fetches an archive by address once and keeps its files', async () => {
    await create({ file: join(root, 'served.tar'), cwd: root }, ['binaries']);
    const body = Readable.toWeb(createReadStream(join(root, 'served.tar'))) as ReadableStream;
    const fetch = jest.spyOn(globalThis, 'fetch').mockResolvedValue(new Response(body));
    const options = { source: 'http://127.0.0.1/cifar-100-binary.tar.gz', cache: join(root, 'cache'), onProgress: jest.fn() };
    expectImage((await loadCifar100(options)).test, 1, 57, 4);
    expectImage((await loadCifar100(options)).train, 49_999, 98, 3);
    expect(fetch).toHaveBeenCalledTimes(1);
    expect(options.onProgress).toHaveBeenCalledWith('download', expect.any(Number), undefined);
    fetch.mockRestore();
  });

  test('needs a source', async () => {
    await expect(loadCifar100({} as Cifar100Options)).rejects.toThrow(OptionError);
  });
});

describe('recordsFromPng', () => {
  const labels = [3, 8];
  const picture = (height: number) => {
    const byteAt = (index: number) => pixelOf(Math.floor(index / (3 * PIXELS)), index % 3, Math.floor(index / 3) % PIXELS);
    const pixels = Uint8Array.from({ length: height * PIXELS * 3 }, (_, index) => byteAt(index));
    return sharp(pixels, { raw: { width: PIXELS, height, channels: 3 } }).png().toBuffer();
  };

  test('makes one record of every row', async () => {
    const records = await recordsFromPng('batch.png', await picture(2), labels);
    expect(Buffer.from(records)).toEqual(Buffer.concat([record([3], 0), record([8], 1)]));
  });

  test.each([1, 3])('refuses a picture of %d rows', async (height) => {
    const load = recordsFromPng('batch.png', await picture(height), labels);
    await expect(load).rejects.toThrow(DataError);
    await expect(load).rejects.toThrow(height < 2 ? 'must have 1024×2×3 pixels, but has 1024×1×3' : 'no intact PNG of at most 2048 pixels');
  });

  // A second error, after the first, once ended the process.
  test('refuses a damaged picture, unless what is damaged says nothing of the pixels', async () => {
    const whole = await picture(2);
    const expected = await recordsFromPng('batch.png', whole, labels);
    for (let at = 0; at < whole.length; at += 100) {
      const damaged = Buffer.from(whole);
      damaged[at] ^= 0xff;
      const found = await recordsFromPng('batch.png', damaged, labels).catch((reason: unknown) => reason);
      if (!(found instanceof DataError)) expect(found).toEqual(expected);
    }
    await expect(recordsFromPng('batch.png', whole.subarray(0, whole.length >> 1), labels)).rejects.toThrow('batch.png is no intact PNG');
  });
});
