import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
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

/** @throws {DataError} when the folder for results cannot be made. */
export async function makeOutputFolder(output: string): Promise<void> {
  await mkdir(output, { recursive: true }).catch((cause: unknown) => {
    throw new DataError('output', `cannot make the output folder ${output}: ${(cause as Error).message}`, { cause });
  });
}
