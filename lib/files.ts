import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DataError } from './errors';

/** Writes a file under another name and renames it: a reader never sees half of it, and a link is replaced, not followed. */
export async function writeWhole(path: string, content: string | Buffer): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await writeFile(temporary, content, { flush: true });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/**
 * Makes a folder, and those above it. Node's own recursive mkdir never ends where a folder that is there refuses a new one
 * with ENOENT, as /proc does.
 */
export async function makeFolder(path: string): Promise<void> {
  if (await isFolder(path)) return;
  const parent = dirname(path);
  if (parent !== path) await makeFolder(parent);
  await mkdir(path).catch(async (error: unknown) => {
    // Somebody else was faster.
    if (!(await isFolder(path))) throw error;
  });
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then((found) => found.isDirectory(), () => false);
}

/** @throws {DataError} when the folder for results cannot be made. */
export async function makeOutputFolder(output: string): Promise<void> {
  await makeFolder(output).catch((cause: unknown) => {
    throw new DataError('output', `cannot make the output folder ${output}: ${(cause as Error).message}`, { cause });
  });
}
