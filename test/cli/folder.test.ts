// The commands on images in folders by class.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { plainPng, put } from '../data/images';
import { onTestDevice, runCli } from './cli';

let root: string;
let source: string;
const checkpoint = () => join(root, 'run', 'last.safetensors');
const data = () => ['--data', 'folder', '--source', source, '--image-size', '8'];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
  source = join(root, 'colours');
  const colours = { blue: [30, 40, 220], red: [220, 40, 30] } as const;
  for (const [name, colour] of Object.entries(colours)) {
    for (let image = 0; image < 10; image++) await put(source, `${name}/${image}.png`, await plainPng(colour, 12 + image, 14));
  }
  await put(source, 'red/notes.txt');
});
afterAll(async () => {
  await rm(root, { recursive: true });
});

test('data tells classes, images and what is left out', async () => {
  const { code, stdout } = await runCli(['data', 'folder', '--source', source, '--image-size', '8', '--test-share', '0.3', '--json']);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toEqual({
    name: 'folder',
    location: source,
    image: { height: 8, width: 8, channels: 3 },
    splits: [
      { split: 'train', images: 14, bytes: null, ignored: 1, imagesPerClass: { blue: 7, red: 7 } },
      { split: 'test', images: 6, bytes: null, ignored: 0, imagesPerClass: { blue: 3, red: 3 } },
    ],
  });
  const text = await runCli(['data', 'folder', '--source', source]);
  expect(text.stdout).toContain('224×224×3 pixels; train 16 images (other files left out: 1), test 4 images\n');
});

test('train and eval', async () => {
  const trained = await runCli([
    'train', ...data(), '--augment', 'random-resized', '--network', 'cnn3', '--widths', '4,4,4', '--batch-size', '8',
    '--iterations', '30', '--output', join(root, 'run'), '--json', ...onTestDevice,
  ]);
  expect(trained).toMatchObject({ code: 0 });
  expect(JSON.parse(trained.stdout)).toMatchObject({ iterations: 30, bestAccuracy: 1 });
  const evaluated = await runCli(['eval', checkpoint(), ...data(), '--json', ...onTestDevice]);
  expect(evaluated).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse(evaluated.stdout)).toMatchObject({ dataset: 'colours test', images: 4, accuracy: 1 });
});

test('eval names a damaged image, or skips it', async () => {
  const args = ['eval', checkpoint(), ...data(), '--test-share', '0.95', '--json', ...onTestDevice];
  const file = join(source, 'blue', '3.png');
  await writeFile(file, 'no image');
  const failed = await runCli(args);
  expect(failed).toMatchObject({ code: 2, stdout: '' });
  expect(failed.stderr).toMatch(new RegExp(`^error: ${file} cannot be decoded: [^\\n]+\\n$`));
  const skipped = await runCli([...args, '--on-error', 'skip']);
  expect(skipped.code).toBe(0);
  expect(skipped.stderr).toMatch(new RegExp(`^skipped: ${file} cannot be decoded: [^\\n]+\\n$`));
  expect(JSON.parse(skipped.stdout)).toMatchObject({ images: 17, accuracy: 1 });
});

test('eval refuses images of another number of classes', async () => {
  await put(source, 'green/1.png');
  await put(source, 'green/2.png');
  const { code, stderr } = await runCli(['eval', checkpoint(), ...data(), ...onTestDevice]);
  await rm(join(source, 'green'), { recursive: true });
  expect(code).toBe(2);
  expect(stderr).toBe("error: dataset must have images of 2 classes, as the model's head has, but colours test has 3\n");
});

test.each<[string, string[], RegExp]>([
  ['an option of another data set', ['cifar10', '--image-size', '8'], /^error: --image-size: loadCifar10 has no option "imageSize"/],
  ['no source', ['folder'], /^error: --source must be the path of a folder with a folder for each class, but got undefined$/m],
  ['no source of CIFAR-100', ['cifar100'], /^error: --source: loadCifar100 needs the folder, .tar.gz file or http\(s\) address/],
])('data refuses %s', async (_, args, message) => {
  const { code, stdout, stderr } = await runCli(['data', ...args]);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toMatch(message);
});
