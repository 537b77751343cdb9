import { constants } from 'node:fs';
import { appendFile, type FileHandle, open } from 'node:fs/promises';
import { DataError } from '../errors';
import { intactLog, type LogEntry } from '../report/log';

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_RDWR, O_WRONLY } = constants;

/**
 * A training log in JSON lines, one event a line; `readLog` of the reports reads it. A line that could not be written, as
 * on a full disk, is written before the next one.
 */
export class TrainingLog {
  readonly path: string;
  /** What was cut off because of damage. */
  readonly damagedPath: string;
  readonly #unwritten: Buffer[] = [];
  #file: FileHandle | null = null;
  /** Bytes of whole lines. */
  #length = 0;

  constructor(path: string) {
    this.path = path;
    this.damagedPath = path.replace(/\.jsonl$/, '.damaged.jsonl');
  }

  /**
   * Opens the file, which is made where there is none, and keeps the entries up to the first that is not to be kept, or
   * that is damaged. The rest is cut off; where there is damage, it is first added to {@link damagedPath}.
   * @returns The entries kept, and the line of the first that is damaged, or null.
   * @throws {DataError} when the file cannot be read or written, or is a link.
   */
  async open(isKept: (entry: LogEntry) => boolean): Promise<{ entries: LogEntry[]; damagedLine: number | null }> {
    return this.#guard(async () => {
      const file = await this.#openFile();
      const bytes = await file.readFile();
      const { entries, ends, damagedLine } = intactLog(bytes);
      const over = entries.findIndex((entry) => !isKept(entry));
      const kept = over < 0 ? entries.length : over;
      this.#length = kept > 0 ? ends[kept - 1] : 0;
      if (damagedLine !== null) {
        await appendFile(this.damagedPath, bytes.subarray(this.#length), { flag: O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, flush: true });
      }
      await file.truncate(this.#length);
      return { entries: entries.slice(0, kept), damagedLine };
    });
  }

  /** Opens the file again, where {@link close} has left it. @throws {DataError} */
  async reopen(): Promise<void> {
    await this.#guard(() => this.#openFile());
  }

  async #openFile(): Promise<FileHandle> {
    this.#file = await open(this.path, O_RDWR | O_CREAT | O_NOFOLLOW);
    return this.#file;
  }

  /** @throws {DataError} when the line cannot be written. */
  async write(entry: LogEntry): Promise<void> {
    this.#unwritten.push(Buffer.from(JSON.stringify(entry) + '\n'));
    await this.#guard(async () => {
      while (this.#unwritten.length > 0) {
        await this.#append(this.#unwritten[0]);
        this.#unwritten.shift();
      }
    });
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = null;
  }

  /** A line as a whole or not at all. */
  async #append(line: Buffer): Promise<void> {
    const file = this.#file!;
    try {
      for (let done = 0; done < line.length;) {
        done += (await file.write(line, done, line.length - done, this.#length + done)).bytesWritten;
      }
    } catch (error) {
      await file.truncate(this.#length);
      throw error;
    }
    this.#length += line.length;
  }

  async #guard<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (cause) {
      const { code, message, path = this.path } = cause as NodeJS.ErrnoException;
      const reason = code === 'ELOOP' ? 'it is a link, which is not followed' : message;
      throw new DataError(path, `cannot write the log ${path}: ${reason}`, { cause });
    }
  }
}
