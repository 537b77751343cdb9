import { readFile } from 'node:fs/promises';
import type sharp from 'sharp';
import { DataError } from '../errors';
import type { Cut, Size } from './cut';

/**
 * Reads a JPEG, PNG or WebP file as pixels 0..255 of shape [height, width, 3], turned upright as its EXIF says, then cut.
 * Grey, palette, 16-bit and CMYK images become sRGB, one with a colour profile by that; transparent parts lie on black.
 * Decodes and resizes on libuv's threads.
 * @param cutOf Called with the size of the upright image.
 * @throws {DataError} naming the file when it cannot be read or is damaged.
 */
export type ImageDecoder = (file: string, cutOf: (size: Size) => Cut) => Promise<Uint8Array>;

let decoder: Promise<ImageDecoder> | undefined;

/**
 * Loads sharp on first use: who reads no image files need not have it.
 * @throws {DataError} when it cannot be loaded.
 */
export function imageDecoder(): Promise<ImageDecoder> {
  return (decoder ??= import('sharp').then(
    (sharp) => decoderWith(sharp.default),
    (cause: unknown) => {
      // sharp itself explains over many lines; the first says what is wrong.
      const [reason] = (cause as Error).message.split('\n');
      throw new DataError('sharp', `image files need the npm package sharp, which cannot be loaded: ${reason}`, { cause });
    },
  ));
}

function decoderWith(open: typeof sharp): ImageDecoder {
  return async (file, cutOf) => {
    try {
      // 'error': a JPEG with harmless extra bytes, of which ImageNet has some, is not damaged; one cut short is.
      const image = open(await readFile(file), { failOn: 'error' });
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
