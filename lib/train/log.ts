import { appendFile, readFile, truncate, writeFile } from 'node:fs/promises';
import { DataError } from '../errors';
import type { LogEntry } from '../report/log';

/** A training log in JSON lines, one event a line; `readLog` of the reports reads it. */
export class TrainingLog {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  /**
   * Opens the log of a run that goes on after `iteration`. What a former run has written beyond it, because it was
   * killed after its last checkpoint, is cut off: those iterations come again. From iteration 0 the log is a new one.
   * @throws {DataError} when the file cannot be read or written, or is no log.
   */
  static async open(path: string, iteration: number): Promise<TrainingLog> {
    const log = new TrainingLog(path);
    await log.#guard(async () => {
      if (iteration === 0) await writeFile(path, '');
      else await cutAfter(path, iteration);
    });
    return log;
  }

  /** @throws {DataError} when the line cannot be written. */
  async write(entry: LogEntry): Promise<void> {
    await this.#guard(() => appendFile(this.#path, JSON.stringify(entry) + '\n'));
  }

  async #guard(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (cause) {
      throw new DataError(this.#path, `cannot write the log ${this.#path}: ${(cause as Error).message}`, { cause });
    }
  }
}

async function cutAfter(path: string, iteration: number): Promise<void> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  });
  if (text === null) return;
  let bytes = 0;
  // What follows the last newline was cut short by a kill.
  for (const line of text.split('\n').slice(0, -1)) {
    if ((JSON.parse(line) as { iteration: number }).iteration > iteration) break;
    bytes += Buffer.byteLength(line) + 1;
  }
  await truncate(path, bytes);
}
