import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import sharp from 'sharp';

/** Writes a file below `root`, with its folders. */
export async function put(root: string, path: string, bytes: Uint8Array | string = ''): Promise<string> {
  const file = join(root, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, bytes);
  return file;
}

/** A PNG of pixels [height, width, 3]. */
export function png(pixels: Uint8Array, width: number, height: number): Promise<Buffer> {
  return sharp(pixels, { raw: { width, height, channels: 3 } }).png().toBuffer();
}

/** A PNG of one colour. */
export function plainPng(rgb: readonly [number, number, number], width = 12, height = 12): Promise<Buffer> {
  return png(Uint8Array.from({ length: 3 * width * height }, (_, i) => rgb[i % 3]), width, height);
}
