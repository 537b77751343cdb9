// How many images a second the loaders make: the table of docs/performance.md. `npx ts-node -T scripts/loader-throughput.ts`
// prints it. The images are made on the spot, so that every machine measures the same.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { DataLoader, imageDataset, ImageFolderLoader, loadImageFolder, type Loader } from '../lib/data';
import { describeMachine } from '../lib/machine';
import { Generator } from '../lib/random';
import { formatBytes, formatCount, formatSignificant, markdownTable } from '../lib/report';

const batchSize = 64;
const batches = 3;
const rounds = 5;
const [width, height] = [500, 375];
const workerCounts = [1, 2, 4];

interface Throughput {
  imagesPerSecond: number;
  /** Milliseconds of processor time an image, of all threads together: it hardly depends on what else the machine does. */
  processorTime: number;
}

/** The median of the rounds, after one of warm-up. The loop does nothing but take batches. */
async function measure(loader: Loader): Promise<Throughput> {
  const measured: Throughput[] = [];
  let iteration = 0;
  for (let round = 0; round <= rounds; round++) {
    const [started, before] = [performance.now(), process.cpuUsage()];
    for (const end = iteration + batches; iteration < end; iteration++) await loader.batch(iteration);
    const { user, system } = process.cpuUsage(before);
    const images = batches * batchSize;
    const seconds = (performance.now() - started) / 1000;
    if (round > 0) measured.push({ imagesPerSecond: images / seconds, processorTime: (user + system) / 1000 / images });
  }
  loader.close();
  const median = (values: number[]): number => values.sort((a, b) => a - b)[rounds >> 1];
  return {
    imagesPerSecond: median(measured.map((each) => each.imagesPerSecond)),
    processorTime: median(measured.map((each) => each.processorTime)),
  };
}

/** Coloured clouds with some grain: about as many bytes as ImageNet's photographs have. */
async function photograph(): Promise<Buffer> {
  const noise = async (mean: number, sigma: number) => {
    const create = { width, height, channels: 3, background: 'black', noise: { type: 'gaussian', mean, sigma } } as const;
    return sharp({ create }).png().toBuffer();
  };
  const clouds = await sharp(await noise(128, 120)).blur(6).normalise().toBuffer();
  return sharp(clouds).composite([{ input: await noise(128, 11), blend: 'soft-light' }]).jpeg({ quality: 92 }).toBuffer();
}

/** Two classes, with copies of a few photographs. Returns how large these are. */
async function makeFolder(root: string): Promise<number> {
  const pictures = await Promise.all(Array.from({ length: 8 }, photograph));
  for (const name of ['a', 'b']) await mkdir(join(root, name));
  for (let i = 0; i < 256; i++) await writeFile(join(root, 'ab'[i % 2], `${i}.jpg`), pictures[i % pictures.length]);
  return pictures.reduce((sum, { length }) => sum + length, 0) / pictures.length;
}

async function ofFolder(): Promise<string[][]> {
  const root = await mkdtemp(join(tmpdir(), 'spherenet-throughput-'));
  try {
    const bytes = await makeFolder(root);
    const { train } = await loadImageFolder({ source: root, testShare: 0.01 });
    const rows: string[][] = [];
    for (const crop of ['random', 'random-resized'] as const) {
      for (const workers of workerCounts) {
        const loader = new ImageFolderLoader(train, { batchSize, workers, augment: { crop, flipHorizontal: true } });
        rows.push(row(`JPEG ${width}×${height} of ${formatBytes(bytes)}, crop ${crop}`, String(workers), await measure(loader)));
      }
    }
    return rows;
  } finally {
    await rm(root, { recursive: true });
  }
}

/** Of CIFAR's size, with the augmentation of CIFAR-10+. */
async function inMemory(): Promise<string[]> {
  const [count, side] = [10_000, 32];
  const generator = new Generator(0);
  const images = Uint8Array.from({ length: count * side * side * 3 }, () => generator.integer(256));
  const labels = Int32Array.from({ length: count }, (_, i) => i % 10);
  const classes = Array.from({ length: 10 }, (_, i) => String(i));
  const dataset = imageDataset({ name: 'random', images, labels, height: side, width: side, channels: 3, classes });
  const loader = new DataLoader(dataset, { batchSize, augment: { padding: 4, flipHorizontal: true } });
  return row('in memory, 32×32, padding 4, flips', '–', await measure(loader));
}

function row(images: string, workers: string, { imagesPerSecond, processorTime }: Throughput): string[] {
  return [images, workers, formatCount(Math.round(imagesPerSecond)), formatSignificant(processorTime, 3)];
}

async function main(): Promise<void> {
  const { processor, cores } = describeMachine();
  const head = ['images', 'workers', 'images a second', 'processor ms an image'];
  const table = markdownTable({ head, rows: [...(await ofFolder()), await inMemory()], align: ['left', 'right', 'right', 'right'] });
  console.log(`${processor}, ${cores} cores\n\n${table}`);
}

void main();
