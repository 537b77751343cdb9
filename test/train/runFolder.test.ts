// Whose a folder is: runs there are never replaced unasked, by nobody else at the same time, and not through links.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataError, OptionError } from '../../lib/errors';
import { FolderLock } from '../../lib/folderLock';
import { native, packageRoot } from '../../lib/native';
import { readLog } from '../../lib/report/log';
import { readSafetensors } from '../../lib/train';
import { tinyTrainer } from './tiny';

let output: string;
let last: string;
beforeEach(async () => {
  output = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
  last = join(output, 'last.safetensors');
});
afterEach(async () => {
  await rm(output, { recursive: true, force: true });
});

const contents = async () => {
  const names = (await readdir(output)).sort();
  return Promise.all(names.map(async (name) => [name, (await readFile(join(output, name))).toString('base64')]));
};
const iterationOf = async (path: string) => Number((await readSafetensors(path)).metadata['iteration']);

describe('a folder that holds a run', () => {
  test('is refused, and nothing in it is changed, whatever was the signal', async () => {
    await tinyTrainer({ iterations: 3, output }).fit();
    const before = await contents();
    for (const signal of [undefined, AbortSignal.abort()]) {
      const error: unknown = await tinyTrainer({ iterations: 5, output, signal }).fit().catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(OptionError);
      expect((error as Error).message).toMatch(/holds a run already: .*--resume .*last\.safetensors.*--overwrite/);
    }
    const elsewhere = join(output, 'elsewhere');
    await tinyTrainer({ iterations: 2, output: elsewhere }).fit();
    const resume = join(elsewhere, 'last.safetensors');
    await expect(tinyTrainer({ iterations: 5, output, resume }).fit()).rejects.toThrow('holds a run already');
    await rm(elsewhere, { recursive: true });
    expect(await contents()).toEqual(before);
  });

  test('is gone on with by the checkpoint in it, and by the trainer that has begun it', async () => {
    const trainer = tinyTrainer({ iterations: 3, output });
    await trainer.fit();
    await trainer.fit();
    expect(await tinyTrainer({ iterations: 5, output, resume: last }).fit()).toMatchObject({ iterations: 5 });
    await expect(tinyTrainer({ iterations: 6, output, resume: last, overwrite: true }).fit()).rejects.toThrow(/overwrite would replace/);
  });

  test('is replaced where the user says so: not before the new run has a checkpoint', async () => {
    await tinyTrainer({ iterations: 3, output }).fit();
    const log = await readFile(join(output, 'log.jsonl'), 'utf8');
    const onStep = () => { throw new Error('killed'); };
    // The second one finds the log of a run without a checkpoint.
    for (let again = 0; again < 2; again++) {
      await expect(tinyTrainer({ iterations: 2, output, overwrite: true, callbacks: { onStep } }).fit()).rejects.toThrow('killed');
      expect((await readdir(output)).sort()).toEqual(['former.jsonl', 'former.safetensors', 'log.jsonl']);
      expect(await iterationOf(join(output, 'former.safetensors'))).toBe(3);
      expect(await readFile(join(output, 'former.jsonl'), 'utf8')).toBe(log);
    }
    await expect(tinyTrainer({ iterations: 2, output }).fit()).rejects.toThrow(/holds a run already: .*former\.safetensors.*--overwrite/);
    await tinyTrainer({ iterations: 2, output, overwrite: true }).fit();
    expect((await readdir(output)).sort()).toEqual(['last.safetensors', 'log.jsonl']);
    expect(await iterationOf(last)).toBe(2);
    expect((await readLog(join(output, 'log.jsonl'))).filter(({ event }) => event === 'start')).toHaveLength(1);
  });

  test('that is to be replaced can be gone on with, as long as the new one has no checkpoint', async () => {
    await tinyTrainer({ iterations: 3, output }).fit();
    const onStep = () => { throw new Error('killed'); };
    await expect(tinyTrainer({ iterations: 2, output, overwrite: true, callbacks: { onStep } }).fit()).rejects.toThrow('killed');
    const resume = join(output, 'former.safetensors');
    expect(await tinyTrainer({ iterations: 5, output, resume }).fit()).toMatchObject({ iterations: 5, checkpoint: last });
    expect((await readdir(output)).sort()).toEqual(['last.safetensors', 'log.jsonl']);
    const log = await readLog(join(output, 'log.jsonl'));
    expect(log.filter(({ event }) => event === 'start').map(({ iteration }) => iteration)).toEqual([0, 3]);
  });

  test('is not replaced by what goes on from another file in it, nor by a run that ends before its first step', async () => {
    await tinyTrainer({ iterations: 3, output }).fit();
    const copy = join(output, 'copy.safetensors');
    await copyFile(last, copy);
    await expect(tinyTrainer({ iterations: 5, output, resume: copy }).fit()).rejects.toThrow('holds a run already');
    await tinyTrainer({ iterations: 5, output, overwrite: true, signal: AbortSignal.abort() }).fit();
    expect(await iterationOf(join(output, 'former.safetensors'))).toBe(3);
  });

  test('options that need each other say so', () => {
    expect(() => tinyTrainer({ iterations: 2, overwrite: true })).toThrow('overwrite needs an output folder');
    expect(() => tinyTrainer({ iterations: 2, change: ['seed'] })).toThrow('change belongs to resume');
    expect(() => tinyTrainer({ iterations: 2, resume: last, change: 'seed' as never })).toThrow('change must be a list of names');
  });
});

describe('one run at a time', () => {
  test('has a folder; the second one is refused and changes nothing', async () => {
    let second: unknown;
    const onStep = async (iteration: number) => {
      if (iteration !== 1) return;
      const before = await contents();
      second = await tinyTrainer({ iterations: 2, output, overwrite: true }).fit().catch((reason: unknown) => reason);
      expect(await contents()).toEqual(before);
    };
    await tinyTrainer({ iterations: 2, output, callbacks: { onStep } }).fit();
    expect(second).toBeInstanceOf(DataError);
    expect((second as Error).message).toBe(`${output} is in use: another run writes there`);
  });

  test('over processes, and a killed one leaves no lock behind', async () => {
    const script = `
      const { openSync } = require('node:fs');
      const kinds = ['shape', 'dtype', 'device', 'option', 'data', 'disposed'];
      const { open } = require('node-gyp-build')(${JSON.stringify(packageRoot)});
      const addon = open(Object.fromEntries(kinds.map((kind) => [kind, Error])));
      process.stdout.write(String(addon.tryLock(openSync(${JSON.stringify(output)}, 'r'))));
      setInterval(() => undefined, 1000);
    `;
    const child = spawn(process.execPath, ['-e', script], { cwd: packageRoot, stdio: ['ignore', 'pipe', 'inherit'] });
    const [told] = await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]) as [unknown];
    expect(String(told)).toBe('true');
    await expect(tinyTrainer({ iterations: 1, output }).fit()).rejects.toThrow('is in use');
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(await tinyTrainer({ iterations: 1, output }).fit()).toMatchObject({ iterations: 1 });
  });

  test('FolderLock waits for its turn, and names what it cannot open', async () => {
    const first = (await FolderLock.take(output))!;
    expect(await FolderLock.take(output)).toBeNull();
    const order: string[] = [];
    const waiting = FolderLock.wait(output, 'waiting').then((lock) => {
      order.push('second');
      return lock.release();
    });
    order.push('first');
    await first.release();
    await waiting;
    expect(order).toEqual(['first', 'second']);
    for (const descriptor of [-1, 0.5, NaN, 2 ** 31]) expect(() => native.tryLock(descriptor)).toThrow(OptionError);
    const gone = join(output, 'gone');
    const error: unknown = await FolderLock.take(gone).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(DataError);
    expect((error as Error).message).toContain(`cannot open the folder ${gone}: ENOENT`);
  });
});

test('links in the folder are not followed', async () => {
  const outside = join(output, 'outside');
  const run = join(output, 'run');
  await writeFile(outside, 'precious');
  await mkdir(run);
  await symlink(outside, join(run, 'log.jsonl'));
  await symlink(outside, join(run, 'last.safetensors'));
  await expect(tinyTrainer({ iterations: 1, output: run }).fit()).rejects.toThrow('holds a run already');
  await tinyTrainer({ iterations: 1, output: run, overwrite: true }).fit();
  const resume = join(run, 'last.safetensors');
  expect(await iterationOf(resume)).toBe(1);
  await rm(join(run, 'log.jsonl'));
  await symlink(outside, join(run, 'log.jsonl'));
  await expect(tinyTrainer({ iterations: 2, output: run, resume }).fit()).rejects.toThrow(/cannot write the log .*: it is a link/);
  expect(await readFile(outside, 'utf8')).toBe('precious');
});
