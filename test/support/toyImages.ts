import { type ImageDataset, imageDataset } from '../../lib/data';

const side = 8;

/** Two classes: dark and light. */
export function toyImages(name: string, count: number): ImageDataset {
  const labels = Int32Array.from({ length: count }, (_, i) => i % 2);
  const pixels = Uint8Array.from({ length: count * side * side }, (_, i) => 200 * labels[Math.floor(i / side ** 2)] + (i % 50));
  return imageDataset({ name, images: pixels, labels, height: side, width: side, channels: 1, classes: ['dark', 'light'] });
}
