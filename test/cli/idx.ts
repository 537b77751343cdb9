import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Writes a data set in the layout of MNIST that a small network can learn: class c lights up row c of 16. */
export async function writeTinyMnist(folder: string, counts: { train: number; test: number }): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeSplit(folder, 'train', counts.train);
  await writeSplit(folder, 't10k', counts.test);
}

const side = 16;

async function writeSplit(folder: string, prefix: string, count: number): Promise<void> {
  const labels = Uint8Array.from({ length: count }, (_, i) => (7 * i) % 10);
  const images = new Uint8Array(count * side * side);
  labels.forEach((label, i) => {
    for (let pixel = 0; pixel < side * side; pixel++) {
      const isLit = Math.floor(pixel / side) === label;
      images[i * side * side + pixel] = (isLit ? 200 : 40) + ((i * 31 + pixel * 17) % 50);
    }
  });
  await writeFile(join(folder, `${prefix}-images-idx3-ubyte`), Buffer.concat([header(count, side, side), images]));
  await writeFile(join(folder, `${prefix}-labels-idx1-ubyte`), Buffer.concat([header(count), labels]));
}

/** Magic number for unsigned bytes of this rank, then the extents, all big-endian. */
function header(...extents: number[]): Buffer {
  const bytes = Buffer.alloc(4 + 4 * extents.length);
  bytes.writeUInt32BE(0x0800 + extents.length);
  extents.forEach((extent, axis) => bytes.writeUInt32BE(extent, 4 + 4 * axis));
  return bytes;
}
