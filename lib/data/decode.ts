import { readFile } from 'node:fs/promises';
import type sharp from 'sharp';
import { DataError } from '../errors';
import type { Cut, Size } from './cut';

/**
 * Decodes a JPEG, PNG or WebP file to pixels 0..255 of shape [height, width, 3], turned upright as its EXIF says, then cut.
 * Grey, palette, 16-bit and CMYK images become sRGB, one with a colour profile by that; transparent parts lie on black.
 * Decodes and resizes on libuv's threads.
 * @param file What errors call the image.
 * @param cutOf Called with the size of the upright image.
 * @throws {DataError} when the image is damaged or has more than 100 million pixels.
 */
export type ImageDecoder = (file: string, bytes: Uint8Array, cutOf: (size: Size) => Cut) => Promise<Uint8Array>;

/** More than photographs have; a file of a few bytes may claim any number. */
const mostPixels = 1e8;

/**
 * Loads sharp on first use: who reads no image files need not have it.
 * @throws {DataError} when it cannot be loaded.
 */
export async function loadSharp(): Promise<typeof sharp> {
  try {
    return (await import('sharp')).default;
  } catch (cause) {
    // sharp itself explains over many lines; the first says what is wrong.
    const [reason] = (cause as Error).message.split('\n');
    throw new DataError('sharp', `image files need the npm package sharp, which cannot be loaded: ${reason}`, { cause });
  }
}

/** @throws {DataError} when sharp cannot be loaded. */
export async function imageDecoder(): Promise<ImageDecoder> {
  const open = await loadSharp();
  return async (file, bytes, cutOf) => {
    try {
      // 'error': a JPEG with harmless extra bytes, of which ImageNet has some, is not damaged; one cut short is.
      const image = open(bytes, { failOn: 'error', limitInputPixels: mostPixels });
      const { region, size, crop } = cutOf((await image.metadata()).autoOrient);
      image.autoOrient();
      if (region) image.extract(region);
      // Bilinear, over as many neighbours as the reduction needs, as Pillow and torchvision do.
      image.resize({ ...size, fit: 'fill', kernel: 'linear' });
      if (crop) image.extract(crop);
      return await image.flatten({ background: 'black' }).toColourspace('srgb').raw({ depth: 'uchar' }).toBuffer();
    } catch (cause) {
      const reason = (cause as Error).message.trim().replace(/\s*\n\s*/g, '; ');
      throw new DataError(file, `${file} cannot be decoded: ${reason}`, { cause });
    }
  };
}

/** @throws {DataError} naming the file when it cannot be read. */
export async function readImage(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw new DataError(file, `${file} cannot be read: ${(cause as Error).message}`, { cause });
  }
}
