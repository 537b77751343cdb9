import { existsSync } from 'node:fs';
import { lstat, realpath, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { OptionError } from '../errors';
import { FolderLock } from '../folderLock';
import { TrainingLog } from './log';

/** What the user wants with the run that a folder may hold. */
export interface FolderIntent {
  /** The checkpoint to go on from. */
  resume?: string;
  /** Whether a run that is there may be replaced. */
  overwrite: boolean;
}

/**
 * The folder of a run, with its log and its last checkpoint. One Trainer at a time holds it. A run that it holds already is
 * gone on with or, where the user says so, replaced, but never touched otherwise.
 */
export class RunFolder {
  readonly checkpoint: string;
  readonly log: TrainingLog;
  readonly #path: string;
  /** The run that is replaced, until the new one has a checkpoint. */
  readonly #former: { checkpoint: string; log: string };
  #lock: FolderLock | null = null;
  /** Whether the files in the folder are of the run that goes on. */
  #isOwn = false;
  /** Whether the run that was to be replaced goes on. */
  #isFormer = false;

  constructor(path: string) {
    this.#path = path;
    this.#former = { checkpoint: join(path, 'former.safetensors'), log: join(path, 'former.jsonl') };
    this.checkpoint = join(path, 'last.safetensors');
    this.log = new TrainingLog(join(path, 'log.jsonl'));
  }

  /**
   * Keeps everybody else out until {@link release}; changes nothing, but makes the folder.
   * @throws {DataError} when the folder cannot be made, or somebody else has it.
   * @throws {OptionError} when it holds a run that the user has not said to resume or to overwrite.
   */
  async hold(intent: FolderIntent): Promise<void> {
    this.#lock = await FolderLock.ofOutput(this.#path);
    if (!this.#isOwn) await this.#requireIntent(intent);
  }

  /** Lets others in again. */
  async release(): Promise<void> {
    await this.log.close();
    await this.#lock?.release();
    this.#lock = null;
  }

  /** Before the first line of the log. A run that is replaced is set aside until the new one has a checkpoint. */
  async begin(): Promise<void> {
    if (this.#isFormer) {
      // The new run ended before it had a checkpoint.
      await rename(this.#former.checkpoint, this.checkpoint);
      await rename(this.#former.log, this.log.path).catch(() => undefined);
    } else if (!this.#isOwn) {
      // A log alone is of a run that has nothing to lose.
      if (await exists(this.checkpoint)) {
        await rename(this.checkpoint, this.#former.checkpoint);
        await rename(this.log.path, this.#former.log).catch(() => undefined);
      }
      await rm(this.log.path, { force: true });
    }
    this.#isOwn = true;
    this.#isFormer = false;
  }

  /** After a checkpoint of the new run: nothing of the former one is needed any longer. */
  async dropFormer(): Promise<void> {
    for (const path of Object.values(this.#former)) await rm(path, { force: true });
  }

  async #requireIntent({ resume, overwrite }: FolderIntent): Promise<void> {
    const [hasLast, hasFormer] = [await exists(this.checkpoint), await exists(this.#former.checkpoint)];
    if (!hasLast && !hasFormer && !(await exists(this.log.path))) return;
    const isLast = await isSameFile(resume, this.checkpoint);
    const isFormer = await isSameFile(resume, this.#former.checkpoint);
    if ((isLast || isFormer) && overwrite) {
      throw new OptionError('overwrite', `overwrite would replace the run in ${this.#path} that is resumed`);
    }
    // What a new run has begun is not to be lost for the former one.
    this.#isFormer = isFormer && !hasLast;
    this.#isOwn = isLast;
    if (isLast || this.#isFormer || overwrite) return;
    const checkpoint = hasLast ? this.checkpoint : this.#former.checkpoint;
    const goOn = hasLast || hasFormer ? `go on with it (resume, --resume ${checkpoint}), ` : '';
    throw new OptionError('output', `${this.#path} holds a run already: ${goOn}replace it (overwrite, --overwrite), or name another folder`);
  }
}

/** Whether two paths lead to one file that is there. */
async function isSameFile(path: string | undefined, other: string): Promise<boolean> {
  if (path === undefined || !existsSync(path) || !existsSync(other)) return false;
  return (await realpath(path)) === (await realpath(other));
}

/** Also of a link that leads nowhere. */
async function exists(path: string): Promise<boolean> {
  return lstat(path).then(() => true, () => false);
}
