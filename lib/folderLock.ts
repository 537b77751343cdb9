import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { DataError } from './errors';
import { makeOutputFolder } from './files';
import { native } from './native';

const MS_BETWEEN_TRIES = 200;

/**
 * A folder that one holder at a time has, over all processes. The lock is on the folder itself, leaves no file, and ends
 * with its process, however that ends. Where the file system has no locks (some NFS), nobody is kept out.
 */
export class FolderLock {
  readonly #folder: FileHandle;

  private constructor(folder: FileHandle) {
    this.#folder = folder;
  }

  /** Null while somebody else has the folder, which must exist. */
  static async take(folder: string): Promise<FolderLock | null> {
    const handle = await open(folder, 'r');
    if (native.tryLock(handle.fd)) return new FolderLock(handle);
    await handle.close();
    return null;
  }

  /**
   * Makes the folder for results where there is none, and takes it.
   * @throws {DataError} when it cannot be made, or somebody else has it.
   */
  static async ofOutput(output: string): Promise<FolderLock> {
    await makeOutputFolder(output);
    const lock = await FolderLock.take(output);
    if (lock) return lock;
    throw new DataError('output', `${output} is in use: another run writes there`);
  }

  /** Waits until nobody else has the folder, which must exist. */
  static async wait(folder: string): Promise<FolderLock> {
    for (;;) {
      const lock = await FolderLock.take(folder);
      if (lock) return lock;
      await pause(MS_BETWEEN_TRIES);
    }
  }

  release(): Promise<void> {
    return this.#folder.close();
  }
}
