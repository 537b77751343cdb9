import { crc32 } from 'node:zlib';
import sharp, { type Sharp } from 'sharp';
import { central, resizeAndCrop, type Size } from '../../lib/data/cut';
import { imageDecoder, readImage } from '../../lib/data/decode';
import { DataError } from '../../lib/errors';
import { png } from './images';

const [width, height] = [12, 8];
const wholeImage = (size: Size) => ({ region: null, size, crop: null });

/** The left half of one colour, the right half of another. */
function halves(left: number[], right: number[]): Sharp {
  const channels = left.length as 3 | 4;
  const pixels = Uint8Array.from({ length: width * height * channels }, (_, i) => {
    const column = Math.floor(i / channels) % width;
    return (column < width / 2 ? left : right)[i % channels];
  });
  return sharp(pixels, { raw: { width, height, channels } });
}

/** The colours of the left and the right half of a file, as it is decoded. */
async function decodedHalves(bytes: Uint8Array): Promise<number[][]> {
  const decode = await imageDecoder();
  const pixels = await decode('image', bytes, wholeImage);
  expect(pixels).toHaveLength(width * height * 3);
  return [2, width - 3].map((column) => [...pixels.subarray(3 * column, 3 * column + 3)]);
}

const [orange, blue] = [[200, 100, 50], [20, 60, 180]];
const [dark, bright] = [[40, 40, 40], [220, 220, 220]];

describe('what is no 8-bit RGB comes out right', () => {
  const colour = halves(orange, blue);
  const grey = halves(dark, bright).toColourspace('b-w');
  test.each<[string, Sharp, number[][], number]>([
    ['PNG', colour.clone().png(), [orange, blue], 0],
    ['palette PNG', colour.clone().png({ palette: true }), [orange, blue], 0],
    ['JPEG', colour.clone().jpeg({ quality: 100, chromaSubsampling: '4:4:4' }), [orange, blue], 2],
    ['progressive JPEG', colour.clone().jpeg({ quality: 100, progressive: true }), [orange, blue], 2],
    ['WebP', colour.clone().webp({ lossless: true }), [orange, blue], 0],
    ['grey PNG', grey.clone().png(), [dark, bright], 0],
    ['grey JPEG', grey.clone().jpeg({ quality: 100 }), [dark, bright], 1],
    ['16-bit PNG', colour.clone().toColourspace('rgb16').png(), [orange, blue], 1],
    ['16-bit grey PNG', halves(dark, bright).toColourspace('grey16').png(), [dark, bright], 1],
    ['CMYK JPEG', halves([180, 120, 90], [90, 110, 150]).toColourspace('cmyk').jpeg({ quality: 100 }), [[180, 120, 90], [90, 110, 150]], 10],
    ['JPEG with a wide colour profile', colour.clone().withIccProfile('p3').jpeg({ quality: 100 }), [orange, blue], 4],
  ])('%s', async (_, image, expected, tolerance) => {
    const found = await decodedHalves(await image.toBuffer());
    const errors = found.flat().map((value, i) => Math.abs(value - expected.flat()[i]));
    expect(Math.max(...errors)).toBeLessThanOrEqual(tolerance);
  });

  test('transparent parts lie on black', async () => {
    const image = halves([...orange, 255], [...blue, 0]);
    expect(await decodedHalves(await image.clone().png().toBuffer())).toEqual([orange, [0, 0, 0]]);
    expect(await decodedHalves(await image.clone().webp({ lossless: true }).toBuffer())).toEqual([orange, [0, 0, 0]]);
    const [[red]] = await decodedHalves(await halves([...orange, 128], [...blue, 0]).png({ palette: true }).toBuffer());
    expect(Math.abs(red - 100)).toBeLessThanOrEqual(2);
  });
});

test.each([
  // Where the pixel of the upright image's corner is in the file: EXIF's "row 0 is, column 0 is".
  [1, 'left top', 0, 0], [2, 'right top', 11, 0], [3, 'right bottom', 11, 7], [4, 'left bottom', 0, 7],
  [5, 'left top', 0, 0], [6, 'left bottom', 0, 7], [7, 'right bottom', 11, 7], [8, 'right top', 11, 0],
])('EXIF orientation %d turns the image: its first pixel is %s in the file', async (orientation, _, column, row) => {
  const pixels = new Uint8Array(3 * width * height).fill(30);
  pixels.fill(250, 3 * (row * width + column), 3 * (row * width + column) + 3);
  const bytes = await sharp(pixels, { raw: { width, height, channels: 3 } }).withMetadata({ orientation }).png().toBuffer();
  const sizes: Size[] = [];
  const decode = await imageDecoder();
  const decoded = await decode('turned', bytes, (size) => {
    sizes.push(size);
    return wholeImage(size);
  });
  expect(sizes).toEqual([orientation < 5 ? { height, width } : { height: width, width: height }]);
  expect(decoded.indexOf(250)).toBe(0);
  expect(decoded.filter((value) => value === 250)).toHaveLength(3);
});

describe('a cut', () => {
  /** Waves that no resize can take for anything else. */
  const wave = (x: number, y: number, channel: number) => 128 + 60 * Math.sin(x / 7 + channel) + 60 * Math.cos(y / 5 - channel);
  const [from, to] = [{ height: 60, width: 80 }, { height: 40, width: 53 }];
  const source = Uint8Array.from({ length: 60 * 80 * 3 }, (_, i) => Math.round(wave(Math.floor(i / 3) % 80, Math.floor(i / 240), i % 3)));

  /** Bilinear with as many neighbours as the reduction needs, the way of Pillow and torchvision, along one axis. */
  function weights(target: number, extent: number, length: number): number[] {
    const scale = length / extent;
    const centre = (target + 0.5) * scale;
    const raw = Array.from({ length }, (_, at) => Math.max(0, 1 - Math.abs(at + 0.5 - centre) / scale));
    const sum = raw.reduce((total, weight) => total + weight, 0);
    return raw.map((weight) => weight / sum);
  }

  test('after resizing has the pixels of a bilinear reduction', async () => {
    const file = await png(source, 80, 60);
    const decode = await imageDecoder();
    const cut = resizeAndCrop(from, 40, 32, central);
    expect(cut).toEqual({ region: null, size: to, crop: { top: 4, left: 10, height: 32, width: 32 } });
    const found = await decode('waves', file, () => cut);
    const rows = Array.from({ length: 32 }, (_, row) => weights(row + 4, 40, 60));
    const columns = Array.from({ length: 32 }, (_, column) => weights(column + 10, 53, 80));
    const errors = Array.from(found, (value, i) => {
      const [row, column, channel] = [rows[Math.floor(i / 96)], columns[Math.floor(i / 3) % 32], i % 3];
      let expected = 0;
      row.forEach((down, y) => {
        if (down > 0) column.forEach((across, x) => { expected += down * across * source[(y * 80 + x) * 3 + channel]; });
      });
      return Math.abs(value - expected);
    });
    expect(Math.max(...errors)).toBeLessThan(2);
  });

  test('before resizing has the pixels of its region', async () => {
    const file = await png(source, 80, 60);
    const region = { top: 7, left: 11, height: 20, width: 30 };
    const decode = await imageDecoder();
    const found = await decode('waves', file, () => ({ region, size: { height: 20, width: 30 }, crop: null }));
    const expected = Array.from({ length: 20 }, (_, row) => [...source.subarray(((row + 7) * 80 + 11) * 3, ((row + 7) * 80 + 41) * 3)]);
    expect([...found]).toEqual(expected.flat());
  });
});

describe('a damaged file is named', () => {
  const noise = Uint8Array.from({ length: 60 * 60 * 3 }, (_, i) => (i * i * 31 + i * 7) % 256);
  const image = () => sharp(noise, { raw: { width: 60, height: 60, channels: 3 } });
  test.each<[string, () => Promise<Buffer>]>([
    ['cut short, JPEG', async () => half(await image().jpeg().toBuffer())],
    ['cut short, PNG', async () => half(await image().png().toBuffer())],
    ['cut short, WebP', async () => half(await image().webp().toBuffer())],
    ['empty', () => Promise.resolve(Buffer.alloc(0))],
    ['of text', () => Promise.resolve(Buffer.from('<html>Not Found</html>'))],
  ])('%s', async (_, bytes) => {
    const decode = await imageDecoder();
    const error = await decode('damaged.jpg', await bytes(), wholeImage).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(DataError);
    expect(error).toMatchObject({ argument: 'damaged.jpg' });
    expect((error as Error).message).toMatch(/^damaged.jpg cannot be decoded: [^\n]+$/);
  });

  test('that claims more pixels than a photograph has', async () => {
    const decode = await imageDecoder();
    const bytes = await image().png().toBuffer();
    bytes.writeUInt32BE(16_000, 16);
    bytes.writeUInt32BE(16_000, 20);
    bytes.writeUInt32BE(crc32(bytes.subarray(12, 29)), 29);
    await expect(decode('huge.png', bytes, wholeImage)).rejects.toThrow('huge.png cannot be decoded: Input image exceeds pixel limit');
  });

  test('that is not there', async () => {
    await expect(readImage('none.png')).rejects.toThrow(DataError);
    await expect(readImage('none.png')).rejects.toThrow('none.png cannot be read: ENOENT');
  });

  function half(bytes: Buffer): Buffer {
    return bytes.subarray(0, bytes.length >> 1);
  }
});

describe('sharp', () => {
  test('is loaded by the first image, not by the library, and an error says that it is missing', async () => {
    const load = jest.fn(() => {
      throw new Error("Cannot find module 'sharp'\nPossible solutions:\n...");
    });
    await jest.isolateModulesAsync(async () => {
      jest.doMock('sharp', load);
      await import('../../lib');
      const { imageDecoder: fresh } = await import('../../lib/data/decode');
      expect(load).not.toHaveBeenCalled();
      await expect(fresh()).rejects.toThrow("image files need the npm package sharp, which cannot be loaded: Cannot find module 'sharp'");
    });
    jest.dontMock('sharp');
  });
});
