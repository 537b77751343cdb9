import { DataError, OptionError, ShapeError } from '../../lib/errors';
import { imageDataset, loadDataset, subset } from '../../lib/data';

const fields = {
  name: 'tiny',
  images: Uint8Array.from({ length: 3 * 2 * 2 * 1 }, (_, index) => index),
  labels: Int32Array.of(0, 1, 1),
  height: 2,
  width: 2,
  channels: 1,
  classes: ['a', 'b'],
};

test.each(['folder', 'fashion-mnist'] as const)('loadDataset refuses a cache for %s, which downloads nothing', async (name) => {
  const load = loadDataset(name, { source: __dirname, cache: 'elsewhere' });
  await expect(load).rejects.toThrow(OptionError);
  await expect(load).rejects.toThrow('has no option "cache"');
});

describe('imageDataset', () => {
  test('counts the labels and shares the arrays', () => {
    const dataset = imageDataset(fields);
    expect(dataset).toEqual({ ...fields, count: 3 });
    expect(dataset.images).toBe(fields.images);
    expect(dataset.labels).toBe(fields.labels);
  });

  test('names the first label out of range', () => {
    const make = (...labels: number[]) => imageDataset({ ...fields, labels: Int32Array.from(labels) });
    expect(() => make(0, 2, 7)).toThrow(DataError);
    expect(() => make(0, 2, 7)).toThrow('labels of tiny must be in 0..1, but the one at index 1 is 2');
    expect(() => make(0, 1, -1)).toThrow('index 2 is -1');
  });

  test('refuses images of another size, and none', () => {
    expect(() => imageDataset({ ...fields, images: new Uint8Array(11) })).toThrow(ShapeError);
    expect(() => imageDataset({ ...fields, images: new Uint8Array(13) })).toThrow('3×2×2×1 = 12 bytes, but has 13');
    const empty = { ...fields, images: new Uint8Array(0), labels: new Int32Array(0) };
    expect(() => imageDataset(empty)).toThrow(DataError);
  });

  test.each([
    ['height', 0],
    ['width', 1.5],
    ['channels', '1'],
    ['images', [0, 1]],
    ['labels', new Uint8Array(3)],
    ['colour', 3],
  ])('refuses %s = %p', (name, value) => {
    const make = () => imageDataset({ ...fields, [name]: value });
    expect(make).toThrow(OptionError);
    expect(make).toThrow(name);
  });
});

describe('subset', () => {
  const dataset = imageDataset(fields);

  test('is a view', () => {
    const part = subset(dataset, 1, 3);
    expect(part).toEqual({ ...dataset, count: 2, images: dataset.images.subarray(4), labels: Int32Array.of(1, 1) });
    expect(part.images.buffer).toBe(dataset.images.buffer);
    expect(part.labels.buffer).toBe(dataset.labels.buffer);
  });

  test.each([
    [-1, 2],
    [1, 1],
    [2, 1],
    [0, 4],
    [3, 4],
    [0.5, 2],
  ])('refuses %p..%p', (start, end) => {
    expect(() => subset(dataset, start, end)).toThrow(OptionError);
  });
});
