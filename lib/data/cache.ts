import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { homedir, hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { DataError } from '../errors';
import { makeFolder } from '../files';
import { FolderLock } from '../folderLock';

/** In the format of sha256sum(1), so that a user can check a folder without us. */
const CHECKSUMS = 'SHA256SUMS';
const PARTIAL = /^\.partial-(\d+)-(.+)-[0-9a-f-]{36}$/;
const DAY_IN_MS = 24 * 3600 * 1000;

/** The folder for fetched data: `option`, else $SPHERENET_CACHE, else $XDG_CACHE_HOME/spherenet, else ~/.cache/spherenet. */
export function cacheRoot(option?: string): string {
  const { SPHERENET_CACHE: own, XDG_CACHE_HOME: shared } = process.env;
  if (option !== undefined) return resolve(option);
  // An empty variable counts as unset, as the XDG specification wants it.
  if (own) return resolve(own);
  if (shared) return resolve(shared, 'spherenet');
  return join(homedir(), '.cache', 'spherenet');
}

/**
 * The path of folder `name` in the cache. `fill` writes the files when the folder is missing or fails its checksums.
 * The folder appears whole or not at all: it is filled under a temporary name, flushed to the disk and renamed. Others who
 * want it meanwhile, in this process or another, wait for it.
 */
export async function cachedFolder(root: string, name: string, fill: (folder: string) => Promise<void>): Promise<string> {
  const folder = join(root, name);
  if (await isWhole(folder)) return folder;
  await makeCacheFolder(root, root);
  const lock = await FolderLock.wait(root, `waiting for another process that fetches into ${root}`);
  try {
    if (!(await isWhole(folder))) await replaceFolder(root, folder, fill);
  } finally {
    await lock.release();
  }
  return folder;
}

async function replaceFolder(root: string, folder: string, fill: (folder: string) => Promise<void>): Promise<void> {
  await removeLeftovers(root);
  await withPartialFolder(root, async (partial) => {
    await fill(partial);
    await writeChecksums(partial);
    try {
      await rename(partial, folder);
    } catch {
      // The damaged folder is in the way; or, on a file system without locks, a whole one of somebody else.
      if (await isWhole(folder)) return;
      await rm(folder, { recursive: true, force: true });
      await rename(partial, folder);
    }
  });
}

/** Runs `use` with an empty folder below `root`, which is gone afterwards, whatever happened. */
export async function withPartialFolder<T>(root: string, use: (folder: string) => Promise<T>): Promise<T> {
  const partial = join(root, `.partial-${process.pid}-${hostname()}-${randomUUID()}`);
  await makeCacheFolder(root, partial);
  try {
    return await use(partial);
  } finally {
    // A stream that has failed may still be closing its file, hence the retries.
    await rm(partial, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** @throws {DataError} naming the cache. */
async function makeCacheFolder(root: string, folder: string): Promise<void> {
  await makeFolder(folder).catch((cause: unknown) => {
    throw new DataError('cache', `cannot write to the cache ${root}: ${(cause as Error).message}`, { cause });
  });
}

/** Removes what killed processes left behind: by their id on this host, by age for the other hosts that share the cache. */
async function removeLeftovers(root: string): Promise<void> {
  for (const name of await readdir(root).catch(() => [])) {
    const match = PARTIAL.exec(name);
    if (!match) continue;
    const [, pid, host] = match;
    const path = join(root, name);
    const isAbandoned = host === hostname() ? !isRunning(Number(pid)) : (await ageInMs(path)) > DAY_IN_MS;
    if (isAbandoned) await rm(path, { recursive: true, force: true });
  }
}

/** 0 for a path that is already gone. */
async function ageInMs(path: string): Promise<number> {
  return stat(path).then(
    ({ mtimeMs }) => Date.now() - mtimeMs,
    () => 0,
  );
}

/** Whether this host has a process of that id. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function writeChecksums(folder: string): Promise<void> {
  const lines: string[] = [];
  for (const name of (await readdir(folder)).sort()) {
    const path = join(folder, name);
    lines.push(`${await sha256(path)}  ${name}\n`);
    await flush(path);
  }
  const path = join(folder, CHECKSUMS);
  await writeFile(path, lines.join(''));
  await flush(path);
}

async function flush(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

async function isWhole(folder: string): Promise<boolean> {
  try {
    const lines = (await readFile(join(folder, CHECKSUMS), 'utf8')).trim().split('\n');
    for (const line of lines) {
      const match = /^([0-9a-f]{64}) {2}(.+)$/.exec(line);
      if (match === null) return false;
      const [, sum, name] = match;
      if ((await sha256(join(folder, name))) !== sum) return false;
    }
    return true;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return false;
    throw new DataError('cache', `cannot read the cache ${folder}: ${message}`, { cause: error });
  }
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest('hex');
}
