import sharp from 'sharp';

/** Pixels red, green, blue, alpha. */
export interface Picture {
  width: number;
  height: number;
  data: Uint8Array;
}

/** Decodes a PNG. */
export async function readPng(bytes: Uint8Array): Promise<Picture> {
  const { data, info } = await sharp(bytes).toColourspace('srgb').ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, data };
}
