import { mkdtemp, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCli } from './cli';
import { writeTinyMnist } from './idx';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
  await writeTinyMnist(folder, { train: 30, test: 20 });
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

test('data --json tells where the images are, their shape and the images of each class', async () => {
  const { code, stdout, stderr } = await runCli(['data', 'mnist', '--source', folder, '--json']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(JSON.parse(stdout)).toMatchObject({
    name: 'mnist',
    location: folder,
    image: { height: 16, width: 16, channels: 1 },
    splits: [
      { split: 'train', images: 30, imagesPerClass: { 0: 3, 9: 3 } },
      { split: 'test', images: 20, imagesPerClass: { 0: 2, 9: 2 } },
    ],
  });
});

test('data prints a table for people', async () => {
  const { stdout } = await runCli(['data', 'mnist', '--source', folder]);
  expect(stdout).toContain('16×16×1 pixels; train 30 images (7.50 KiB), test 20 images (5.00 KiB)');
  expect(stdout).toMatch(/^0 +3 +2$/m);
});

test('data names a truncated file', async () => {
  const file = join(folder, 'train-images-idx3-ubyte');
  await truncate(file, 100);
  const { code, stdout, stderr } = await runCli(['data', 'mnist', '--source', folder]);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toMatch(/^error: [^\n]+\n$/);
  expect(stderr).toContain(file);
});
