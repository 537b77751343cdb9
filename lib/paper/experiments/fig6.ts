import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type DatasetName, type DatasetSplits, type ImageDataset, loadImageFolder } from '../../data';
import { isFolder } from '../../data/dataset';
import { loadSharp } from '../../data/decode';
import { DataError } from '../../errors';
import { makeFolder } from '../../files';
import type { Cell, TrainedExperiment } from '../experiment';
import { operators, softmax } from '../operators';

const networks = [
  { name: 'resnet', title: 'ResNet-18', operator: 'original', sphereShortcuts: false },
  { name: 'v1', title: 'SphereResNet-18-v1', operator: 'sigmoid-0.3', sphereShortcuts: true },
  { name: 'v2', title: 'SphereResNet-18-v2', operator: 'sigmoid-0.3', sphereShortcuts: false },
] as const;

function cellsOf(batchSize: number): Cell[] {
  return networks.map(({ name, title, operator, sphereShortcuts }) => ({
    name,
    labels: { network: title },
    model: { network: 'resnet18', sphereShortcuts, convolution: operators[operator].convolution, head: softmax },
    training: { optimizer: 'sgd', learningRate: 0.1, augment: 'full', batchSize },
    milestones: [200 / 550, 375 / 550],
    data: 'folder',
    baseline: 'resnet',
  }));
}

const images = { train: 4000, test: 1000 };
const imageSize = 64;

/**
 * Writes the first images of CIFAR-10 as PNG files by class, in ImageNet's layout, and opens that folder. A run that goes on
 * writes them again: the user may have named another source.
 */
async function makeImages(load: (name: DatasetName) => Promise<DatasetSplits>, output: string): Promise<DatasetSplits> {
  const { train, test } = await load('cifar10');
  const source = join(output, 'images');
  await rm(source, { recursive: true, force: true });
  await writeSplit(inMemory(train), images.train, join(source, 'train'));
  await writeSplit(inMemory(test), images.test, join(source, 'val'));
  return loadImageFolder({ source, imageSize });
}

function inMemory(dataset: DatasetSplits['train']): ImageDataset {
  if (!isFolder(dataset)) return dataset;
  throw new DataError('data', `the folder is made of images in memory, but ${dataset.name} is a folder`);
}

async function writeSplit({ images: pixels, labels, classes, width, height, channels, count }: ImageDataset, most: number, folder: string) {
  const sharp = await loadSharp();
  for (const name of classes) await makeFolder(join(folder, name));
  const bytes = height * width * channels;
  for (let index = 0; index < Math.min(count, most); index++) {
    const image = sharp(pixels.subarray(index * bytes, (index + 1) * bytes), { raw: { width, height, channels: channels as 1 | 3 } });
    await image.toColourspace('srgb').png().toFile(join(folder, classes[labels[index]], `${String(index).padStart(6, '0')}.png`));
  }
}

export const fig6: TrainedExperiment = {
  kind: 'trained',
  name: 'fig6',
  title: 'Figure 6: ResNet-18 on ImageNet',
  shows: 'Validation error of ResNet-18 and SphereResNet-18, with SphereConvs in the shortcuts too (v1) or not (v2). In the paper both learn faster.',
  presets: {
    paper: { cells: cellsOf(128), widths: [64, 128, 256, 512], iterations: 550_000, seeds: [0] },
    mini: { cells: cellsOf(32), widths: [16, 32, 64, 128], iterations: 600, seeds: [0], minutes: 4, makeData: makeImages },
  },
  metric: 'error',
  notes: [
    `Preset paper needs ImageNet: --source FOLDER with train/CLASS and val/CLASS. Preset mini makes a folder of its own, images in the ` +
    `output: the first ${images.train} training and ${images.test} test images of CIFAR-10 as PNG files, enlarged to ` +
    `${imageSize}×${imageSize}. It shows that the networks train from a folder; its numbers say nothing about ImageNet.`,
    'The paper does not name the operator: sigmoid (0.3).',
  ],
};
