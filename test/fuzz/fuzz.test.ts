// Random input for whatever users can give the library. Every run has seeds of its own and repeats those that ever failed.
//   SPHERENET_FUZZ_SECONDS  for each target; hours by hand (default: less than a second)
//   SPHERENET_FUZZ_SEED     the first seed, to see a failure again (default: the time)
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataError } from '../../lib/errors';
import { failedSeeds } from './failedSeeds';
import { cifar, images, mnist, tarball } from './files/images';
import { logs, resumedLogs, settings } from './files/records';
import { checkpoint, safetensors } from './files/tensors';
import { expectRight, fuzz, type FuzzTarget } from './harness';

const targets: readonly FuzzTarget[] = [safetensors, checkpoint, mnist, cifar, tarball, images, logs, resumedLogs, settings];
const { SPHERENET_FUZZ_SECONDS: seconds = '0.6', SPHERENET_FUZZ_SEED: first = String(Date.now()) } = process.env;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'spherenet-fuzz-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, maxRetries: 5 });
});

describe.each(targets.map((target) => [target.name, target] as const))('%s', (name, target) => {
  for (const seed of failedSeeds[name] ?? []) test(`seed ${seed}, which once failed`, () => fuzz(target, seed, folder));

  test(`seeds from ${first}`, async () => {
    const end = performance.now() + Number(seconds) * 1000;
    let seed = Number(first);
    do await fuzz(target, seed++, folder); while (performance.now() < end);
    process.stderr.write(`fuzz: ${name}, ${seed - Number(first)} cases from seed ${first}\n`);
  }, Number(seconds) * 1000 + 120_000);
});

test('every failed seed has its target', () => {
  expect(targets.map(({ name }) => name)).toEqual(expect.arrayContaining(Object.keys(failedSeeds)));
});

test.each<[string, () => Promise<void>, RegExp]>([
  ['an untyped error', () => Promise.reject(new TypeError('x is undefined')), /^broken, seed 7: TypeError: x is undefined/],
  ['a wrong result', async () => { await Promise.resolve(); expectRight(false, 'one and two'); }, /^broken, seed 7: Error: wrong result: one and two/],
])('the harness reports %s', async (_, run, message) => {
  await expect(fuzz({ name: 'broken', run }, 7, folder)).rejects.toThrow(message);
});

test('the harness takes a typed error for right', async () => {
  await fuzz({ name: 'strict', run: () => Promise.reject(new DataError('file', 'it is damaged')) }, 7, folder);
});
