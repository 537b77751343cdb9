import fs, { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { loadFashionMnist, loadMnist } from '../../lib/data';
import { DataError, OptionError } from '../../lib/errors';

let folder: string;

function idx(magic: number, shape: number[], bytes: number[]): Buffer {
  const header = Buffer.alloc(4 + 4 * shape.length);
  [magic, ...shape].forEach((value, index) => header.writeUInt32BE(value, 4 * index));
  return Buffer.concat([header, Buffer.from(bytes)]);
}

const trainImages = idx(0x803, [3, 2, 2], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 255]);
const trainLabels = idx(0x801, [3], [9, 0, 4]);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
  await write('train-images-idx3-ubyte', trainImages);
  await write('train-labels-idx1-ubyte', trainLabels);
  await write('t10k-images-idx3-ubyte.gz', gzipSync(idx(0x803, [1, 2, 3], [9, 8, 7, 6, 5, 4])));
  await write('t10k-labels-idx1-ubyte.gz', gzipSync(idx(0x801, [1], [2])));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const write = (name: string, bytes: Uint8Array) => writeFile(join(folder, name), bytes);
const load = () => loadMnist({ source: folder });

test('reads idx files, plain and gzipped', async () => {
  const { train, test } = await load();
  expect(train).toMatchObject({ name: 'MNIST train', count: 3, height: 2, width: 2, channels: 1 });
  expect([...train.images]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 255]);
  expect([...train.labels]).toEqual([9, 0, 4]);
  expect(test).toMatchObject({ name: 'MNIST test', count: 1, height: 2, width: 3 });
  expect([...test.images]).toEqual([9, 8, 7, 6, 5, 4]);
  expect([...test.labels]).toEqual([2]);
});

test('Fashion-MNIST is read the same way, with its own classes', async () => {
  const { train } = await loadFashionMnist({ source: folder });
  expect([...train.labels].map((label) => train.classes[label])).toEqual(['Ankle boot', 'T-shirt/top', 'Coat']);
});

test.each([
  ['train-images-idx3-ubyte', trainImages.subarray(0, 27), 'must have 28 bytes for shape 3×2×2, but has 27'],
  ['train-images-idx3-ubyte', Buffer.concat([trainImages, Buffer.of(0)]), 'must have 28 bytes for shape 3×2×2, but has 29'],
  ['train-images-idx3-ubyte', trainImages.subarray(0, 15), 'must have a header of 16 bytes, but has 15'],
  ['train-images-idx3-ubyte', trainLabels, 'must have a header of 16 bytes, but has 11'],
  ['train-labels-idx1-ubyte', trainImages, 'must start with the magic number 0x00000801, but starts with 0x00000803'],
  ['train-labels-idx1-ubyte', idx(0x801, [2], [9, 0]), 'must have a label for each of 3 images, but has 2'],
])('refuses a damaged %s (%#)', async (name, bytes, problem) => {
  await write(name, bytes);
  await expect(load()).rejects.toThrow(DataError);
  await expect(load()).rejects.toThrow(`${join(folder, name)} ${problem}`);
});

test('names the file and the place of a label that is no class', async () => {
  const file = join(folder, 'train-labels-idx1-ubyte');
  await write('train-labels-idx1-ubyte', idx(0x801, [3], [9, 12, 4]));
  await expect(load()).rejects.toThrow(`the label at index 1 in ${file} must be in 0..9, but is 12`);
  await write('train-labels-idx1-ubyte', idx(0x801, [3], [1, 10, 4]));
  await expect(load()).rejects.toMatchObject({ name: 'DataError', argument: file });
  await expect(load()).rejects.toThrow('but is 10; labels count from 0, but these run from 1 to 10');
});

test.each<[string, Buffer, string]>([
  ['more elements than its shape has', gzipSync(idx(0x803, [1, 2, 3], [9, 8, 7, 6, 5, 4, 3])), 'must have 22 bytes for shape 1×2×3, but has more'],
  ['fewer elements', gzipSync(idx(0x803, [1, 2, 3], [9, 8, 7])), 'must have 22 bytes for shape 1×2×3, but has 19'],
  ['no elements', gzipSync(idx(0x803, [1, 0, 3], [])), 'must have no extent of 0, but has shape 1×0×3'],
  ['a header that claims what no such file can hold', gzipSync(idx(0x803, [2 ** 32 - 1, 2 ** 32 - 1, 2 ** 32 - 1], [1])), 'but has at most'],
])('refuses a gzip file with %s', async (_, bytes, problem) => {
  await write('t10k-images-idx3-ubyte.gz', bytes);
  await expect(load()).rejects.toThrow(DataError);
  await expect(load()).rejects.toThrow(problem);
});

test('names a missing file and a gzip file cut short', async () => {
  const file = join(folder, 't10k-labels-idx1-ubyte.gz');
  await write('t10k-labels-idx1-ubyte.gz', gzipSync(idx(0x801, [1], [2])).subarray(0, 12));
  await expect(load()).rejects.toThrow(`${file} cannot be read`);
  await rename(file, `${file}.bak`);
  await expect(load()).rejects.toThrow(DataError);
  await expect(load()).rejects.toThrow(`there is neither ${file.slice(0, -3)} nor ${file}`);
});

test('names the Debian package when Fashion-MNIST is not installed', async () => {
  const stat = jest.spyOn(fs, 'stat').mockRejectedValue(new Error('ENOENT'));
  await expect(loadFashionMnist()).rejects.toThrow('install the Debian package dataset-fashion-mnist');
  expect(stat).toHaveBeenCalledWith('/usr/share/datasets/fashion-mnist');
  stat.mockRestore();
});

test('refuses unknown options', async () => {
  await expect(loadMnist({ path: folder } as object)).rejects.toThrow(OptionError);
  await expect(loadFashionMnist({ cache: folder } as object)).rejects.toThrow(OptionError);
});
