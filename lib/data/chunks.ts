import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';

/** How many bytes one byte of a gzip file can become. */
export const mostInflation = 1032;

/** The bytes of a file, piece by piece, or what a gzip file holds. It is inflated on libuv's threads. */
export function chunksOf(path: string, isGzip: boolean): AsyncIterable<Buffer> {
  const source = createReadStream(path);
  if (!isGzip) return source;
  // When one fails, or the reader leaves early, both are closed; who reads gets the error.
  return pipeline(source, createGunzip(), () => undefined);
}
