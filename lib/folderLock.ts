import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { DataError } from './errors';
import { makeOutputFolder } from './files';
import { native } from './native';
import { warn } from './warnings';

const MS_BETWEEN_TRIES = 200;
/** About a second. */
const TRIES_IN_SILENCE = 5;

/**
 * A folder that one holder at a time has, over all processes. The lock is on the folder itself, leaves no file, and ends
 * with its process, however that ends. Where the file system has no locks (some NFS), nobody is kept out.
 */
export class FolderLock {
  readonly #folder: FileHandle;

  private constructor(folder: FileHandle) {
    this.#folder = folder;
  }

  /**
   * Null while somebody else has the folder.
   * @throws {DataError} when it cannot be opened.
   */
  static async take(folder: string): Promise<FolderLock | null> {
    const handle = await open(folder, 'r').catch((cause: unknown) => {
      throw new DataError(folder, `cannot open the folder ${folder}: ${(cause as Error).message}`, { cause });
    });
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

  /**
   * Waits until nobody else has the folder.
   * @param reason The warning, where that takes more than about a second.
   * @throws {DataError} when it cannot be opened.
   */
  static async wait(folder: string, reason: string): Promise<FolderLock> {
    for (let tries = 0; ; tries++) {
      const lock = await FolderLock.take(folder);
      if (lock) return lock;
      if (tries === TRIES_IN_SILENCE) warn('SPHERENET_WAITING', reason);
      await pause(MS_BETWEEN_TRIES);
    }
  }

  release(): Promise<void> {
    return this.#folder.close();
  }
}
