import { mkdir, mkdtemp, readFile, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { homedir, hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheRoot, cachedFolder, withPartialFolder } from '../../lib/data/cache';
import { FolderLock } from '../../lib/folderLock';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
});
afterEach(async () => {
  await rm(root, { recursive: true });
});

describe('cacheRoot', () => {
  const environment = { ...process.env };
  afterEach(() => {
    process.env = { ...environment };
  });

  test('takes the option, then SPHERENET_CACHE, then XDG_CACHE_HOME, then ~/.cache', () => {
    process.env['SPHERENET_CACHE'] = '/own';
    process.env['XDG_CACHE_HOME'] = '/shared';
    expect(cacheRoot('/option')).toBe('/option');
    expect(cacheRoot()).toBe('/own');
    process.env['SPHERENET_CACHE'] = '';
    expect(cacheRoot()).toBe('/shared/spherenet');
    delete process.env['XDG_CACHE_HOME'];
    expect(cacheRoot()).toBe(join(homedir(), '.cache/spherenet'));
  });
});

describe('cachedFolder', () => {
  const fill = jest.fn(async (folder: string) => {
    await writeFile(join(folder, 'a.bin'), 'first');
    await writeFile(join(folder, 'b.bin'), 'second');
  });
  beforeEach(() => fill.mockClear());

  test('fills once, with checksums that sha256sum can read', async () => {
    const folder = await cachedFolder(root, 'set', fill);
    expect(folder).toBe(join(root, 'set'));
    expect(await readFile(join(folder, 'b.bin'), 'utf8')).toBe('second');
    expect(await readFile(join(folder, 'SHA256SUMS'), 'utf8')).toBe(
      'a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e  a.bin\n' +
      '16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4  b.bin\n',
    );
    await cachedFolder(root, 'set', fill);
    expect(fill).toHaveBeenCalledTimes(1);
    expect(await readdir(root)).toEqual(['set']);
  });

  test.each([
    ['changed', (folder: string) => writeFile(join(folder, 'a.bin'), 'firsT')],
    ['cut short', (folder: string) => writeFile(join(folder, 'a.bin'), 'fir')],
    ['gone', (folder: string) => rm(join(folder, 'a.bin'))],
    ['without checksums', (folder: string) => rm(join(folder, 'SHA256SUMS'))],
    ['with damaged checksums', (folder: string) => writeFile(join(folder, 'SHA256SUMS'), '')],
  ])('fills again when a file is %s', async (_, damage) => {
    const folder = await cachedFolder(root, 'set', fill);
    await damage(folder);
    await cachedFolder(root, 'set', fill);
    expect(fill).toHaveBeenCalledTimes(2);
    expect(await readFile(join(folder, 'a.bin'), 'utf8')).toBe('first');
  });

  test('leaves nothing behind when filling fails', async () => {
    const failing = async (folder: string) => {
      await writeFile(join(folder, 'a.bin'), 'fir');
      throw new Error('out of paper');
    };
    await expect(cachedFolder(root, 'set', failing)).rejects.toThrow('out of paper');
    expect(await readdir(root)).toEqual([]);
  });

  test('fills once when two want it at once, also anew', async () => {
    const both = () => Promise.all([cachedFolder(root, 'set', fill), cachedFolder(root, 'set', fill)]);
    await both();
    expect(fill).toHaveBeenCalledTimes(1);
    await writeFile(join(root, 'set', 'a.bin'), 'firsT');
    for (const folder of await both()) expect(await readFile(join(folder, 'a.bin'), 'utf8')).toBe('first');
    expect(fill).toHaveBeenCalledTimes(2);
    expect(await readdir(root)).toEqual(['set']);
  });

  test('says so where it waits for another process', async () => {
    const lock = (await FolderLock.take(root))!;
    const warn = jest.spyOn(process, 'emitWarning');
    const told = new Promise<unknown>((resolve) => { warn.mockImplementation(resolve); });
    const folder = cachedFolder(root, 'set', fill);
    expect(await told).toBe(`waiting for another process that fetches into ${root}`);
    warn.mockRestore();
    await lock.release();
    await folder;
    expect(fill).toHaveBeenCalledTimes(1);
  });

  test("removes dead processes' folders and spares those in use", async () => {
    const uuid = '01234567-89ab-cdef-0123-456789abcdef';
    const leftover = async (pid: number, host: string, ageInDays: number) => {
      const name = `.partial-${pid}-${host}-${uuid}`;
      await mkdir(join(root, name));
      const time = Date.now() / 1000 - ageInDays * 24 * 3600;
      await utimes(join(root, name), time, time);
      return name;
    };
    // Linux has no process ids above 2^22.
    await leftover(2 ** 30, hostname(), 0);
    await leftover(2 ** 30, 'elsewhere-1.example', 2);
    const spared = [await leftover(process.pid, hostname(), 2), await leftover(2 ** 30, 'elsewhere-2.example', 0), 'set'];
    await cachedFolder(root, 'set', fill);
    expect(await readdir(root)).toEqual(spared.sort());
  });
});

test('withPartialFolder removes its folder when the work succeeds or fails', async () => {
  let path = '';
  const use = async (folder: string) => {
    path = folder;
    expect((await stat(folder)).isDirectory()).toBe(true);
    return 7;
  };
  expect(await withPartialFolder(root, use)).toBe(7);
  await expect(stat(path)).rejects.toThrow('ENOENT');
  await expect(withPartialFolder(root, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(await readdir(root)).toEqual([]);
});

test('a cache that cannot be written is named', async () => {
  const file = join(root, 'file');
  await writeFile(file, '');
  const load = cachedFolder(file, 'data', () => Promise.resolve());
  await expect(load).rejects.toMatchObject({ name: 'DataError', argument: 'cache' });
  await expect(load).rejects.toThrow(`cannot write to the cache ${file}: `);
});

// Node's recursive mkdir never ends there, nor does its process: a failure needs a timeout around jest.
(process.platform === 'linux' ? test : test.skip)('a cache below /proc is named', async () => {
  const load = cachedFolder('/proc/spherenet/cache', 'data', () => Promise.resolve());
  await expect(load).rejects.toThrow('cannot write to the cache /proc/spherenet/cache: ');
});
