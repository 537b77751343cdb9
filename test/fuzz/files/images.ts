// Files with images: idx, the binary version of CIFAR and its archives, PNG, JPEG and WebP.
import { link, mkdir, open, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import sharp from 'sharp';
import { Header } from 'tar';
import { type DatasetSplits, type ImageDataset, ImageFolderLoader, loadCifar10, loadImageFolder, loadMnist } from '../../../lib/data';
import type { Generator } from '../../../lib/random';
import { damaged, oneOf } from '../damage';
import { expectRight, type FuzzTarget } from '../harness';

function expectDataset({ train, test }: DatasetSplits<ImageDataset>): void {
  for (const { count, height, width, channels, images, labels, classes } of [train, test]) {
    expectRight(images.length === count * height * width * channels, 'images of another size than their shape');
    expectRight(labels.length === count && labels.every((label) => label >= 0 && label < classes.length), 'labels out of range');
  }
}

function idx(...shape: number[]): Buffer {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.writeUInt32BE(0x0800 + shape.length);
  shape.forEach((extent, axis) => header.writeUInt32BE(extent, 4 + 4 * axis));
  const size = shape.reduce((product, extent) => product * extent, 1);
  return Buffer.concat([header, Buffer.from(Uint8Array.from({ length: size }, (_, i) => (i * i) % 10))]);
}

const idxFiles: Readonly<Record<string, Buffer>> = {
  'train-images-idx3-ubyte': idx(20, 5, 6),
  'train-labels-idx1-ubyte': idx(20),
  't10k-images-idx3-ubyte': idx(4, 5, 6),
  't10k-labels-idx1-ubyte': idx(4),
};

/** One of four files is damaged, before it is compressed or afterwards. */
export const mnist: FuzzTarget = {
  name: 'idx',
  async run(random, folder) {
    const chosen = oneOf(random, Object.keys(idxFiles));
    const how = oneOf(random, ['plain', 'gzip of damaged', 'damaged gzip'] as const);
    for (const [name, bytes] of Object.entries(idxFiles)) {
      await rm(join(folder, name), { force: true });
      if (name !== chosen) await writeFile(join(folder, name), bytes);
      else if (how === 'plain') await writeFile(join(folder, name), damaged(bytes, random));
      else await writeFile(join(folder, `${name}.gz`), how === 'damaged gzip' ? damaged(gzipSync(bytes), random) : gzipSync(damaged(bytes, random)));
    }
    expectDataset(await loadMnist({ source: folder }));
  },
};

const [records, recordBytes] = [10_000, 3073];

/** All batches are zeros, but the first has a wrong label or another size: to read all of them takes seconds. */
export const cifar: FuzzTarget = {
  name: 'cifar',
  async run(random, folder) {
    const [first, others] = [join(folder, 'data_batch_1.bin'), ['data_batch_2', 'data_batch_3', 'data_batch_4', 'data_batch_5', 'test_batch']];
    await rm(first, { force: true });
    const file = await open(first, 'w');
    const shorter = random.integer(2) === 0;
    await file.truncate(records * recordBytes - (shorter ? 1 + random.integer(records * recordBytes) : 0));
    if (!shorter) await file.write(Buffer.of(10 + random.integer(246)), 0, 1, random.integer(records) * recordBytes);
    await file.close();
    for (const name of others) {
      await rm(join(folder, `${name}.bin`), { force: true });
      await link(first, join(folder, `${name}.bin`));
    }
    expectDataset(await loadCifar10({ source: folder }));
  },
};

/** A tar archive whose files are much smaller than those of CIFAR: unpacked it is refused. */
function archive(): Buffer {
  const entries = ['readme.html', 'cifar/data_batch_1.bin', 'cifar/test_batch.bin'].flatMap((path, index) => {
    const header = Buffer.alloc(512);
    new Header({ path, mode: 0o644, size: 700 * index, mtime: new Date(0), type: 'File' }).encode(header);
    return [header, Buffer.alloc(1024 * Math.min(index, 1), index)];
  });
  return Buffer.concat([...entries, Buffer.alloc(1024)]);
}

export const tarball: FuzzTarget = {
  name: 'tar',
  async run(random, folder) {
    const source = join(folder, 'cifar-10-binary.tar.gz');
    const how = oneOf(random, ['plain', 'gzip of damaged', 'damaged gzip'] as const);
    const bytes = how === 'damaged gzip' ? damaged(gzipSync(archive()), random) : damaged(archive(), random);
    await writeFile(source, how === 'gzip of damaged' ? gzipSync(bytes) : bytes);
    expectDataset(await loadCifar10({ source, cache: join(folder, 'cache') }));
  },
};

let pictures: Promise<Buffer[]> | undefined;

function makePictures(): Promise<Buffer[]> {
  const [width, height] = [24, 20];
  const pixels = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * i * 31 + i * 7) % 251);
  const image = sharp(pixels, { raw: { width, height, channels: 3 } });
  return Promise.all([
    image.clone().png(),
    image.clone().png({ progressive: true }),
    image.clone().png({ palette: true }),
    image.clone().toColourspace('rgb16').png(),
    image.clone().jpeg(),
    image.clone().jpeg({ progressive: true }),
    image.clone().withMetadata({ orientation: 6 }).jpeg(),
    image.clone().webp(),
  ].map((each) => each.toBuffer()));
}

async function expectBatch(loader: ImageFolderLoader): Promise<void> {
  try {
    const { images, labels } = await loader.batch(0);
    expectRight(images.shape.join() === '2,16,16,3' && labels.shape.join() === '2', `a batch of shape ${images.shape.join()}`);
    expectRight(images.data().every(Number.isFinite), 'pixels that are not finite');
  } finally {
    loader.close();
  }
}

async function putImage(folder: string, name: string, bytes: Buffer): Promise<void> {
  await mkdir(join(folder, name), { recursive: true });
  await writeFile(join(folder, name, '0.png'), bytes);
}

export const images: FuzzTarget = {
  name: 'images',
  async run(random, folder) {
    const made = await (pictures ??= makePictures());
    await putImage(folder, 'train/a', made[0]);
    await putImage(folder, 'val/a', made[0]);
    await putImage(folder, 'train/b', damaged(oneOf(random, made), random));
    const { train } = await loadImageFolder({ source: folder, imageSize: 16, onError: oneOf(random, ['throw', 'skip'] as const) });
    await expectBatch(new ImageFolderLoader(train, { batchSize: 2, seed: random.integer(9), augment: augmentation(random) }));
  },
};

function augmentation(random: Generator) {
  return { crop: oneOf(random, ['central', 'random', 'random-resized'] as const), flipHorizontal: true };
}
