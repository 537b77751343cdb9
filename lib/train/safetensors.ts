import { randomUUID } from 'node:crypto';
import { type FileHandle, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isRunning } from '../data/cache';
import { CheckpointError, describe } from '../errors';
import { type HostArray, type HostDType, type Shape, sizeOf } from '../tensor';

/** A tensor as a file holds it. */
export interface StoredTensor {
  readonly dtype: HostDType;
  readonly shape: Shape;
  readonly data: HostArray;
}

/** The contents of a safetensors file. */
export interface SafetensorsFile {
  tensors: Map<string, StoredTensor>;
  metadata: Record<string, string>;
}

interface HeaderEntry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

/** What a header says of one tensor, checked. */
interface Placement {
  name: string;
  dtype: HostDType;
  shape: Shape;
  start: number;
  end: number;
}

const codes: Record<HostDType, string> = { f32: 'F32', f64: 'F64', i32: 'I32', u8: 'U8' };
const dtypes = new Map(Object.entries(codes).map(([dtype, code]) => [code, dtype as HostDType]));
const arrayTypes = { f32: Float32Array, f64: Float64Array, i32: Int32Array, u8: Uint8Array } as const;

const PARTIAL = /^\.(.+)\.(\d+)-[0-9a-f-]{36}\.partial$/;
const LENGTH_BYTES = 8;
/** The limit of the reference implementation: a damaged length must not make us read gigabytes. */
const MAX_HEADER_BYTES = 100_000_000;

/**
 * Writes a safetensors file, whole or not at all: to a temporary file in the same folder, flushed to the disk, which
 * then takes the name `path`. A kill at any moment leaves the former file or the new one.
 *
 * The arrays must not change until the promise settles.
 * @throws {CheckpointError} when the disk is full or the folder cannot be written; a former file is then untouched.
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, StoredTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${process.pid}-${randomUUID()}.partial`);
  try {
    await removeLeftovers(folder, basename(path));
    await writeFlushed(temporary, tensors, metadata);
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw new CheckpointError(path, `cannot write ${path}: ${(cause as Error).message}`, { cause });
  }
  await flushFolder(folder);
}

/** Removes what killed processes left of the same file. */
async function removeLeftovers(folder: string, name: string): Promise<void> {
  for (const entry of await readdir(folder)) {
    const match = PARTIAL.exec(entry);
    if (match?.[1] === name && !isRunning(Number(match[2]))) await rm(join(folder, entry), { force: true });
  }
}

async function writeFlushed(
  path: string,
  tensors: ReadonlyMap<string, StoredTensor>,
  metadata: Readonly<Record<string, string>>,
): Promise<void> {
  // Wider elements first keeps every tensor aligned, as the format's readers that map the file like it.
  const sorted = [...tensors].sort(([, a], [, b]) => b.data.BYTES_PER_ELEMENT - a.data.BYTES_PER_ELEMENT);
  const file = await open(path, 'wx');
  try {
    await file.writeFile(encodeHeader(sorted, metadata));
    for (const [, { data }] of sorted) await file.writeFile(bytesOf(data));
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Length and JSON, padded so that the data starts at a multiple of eight bytes. */
function encodeHeader(tensors: [string, StoredTensor][], metadata: Readonly<Record<string, string>>): Buffer {
  let offset = 0;
  const entries = tensors.map(([name, { dtype, shape, data }]): [string, HeaderEntry] => {
    const start = offset;
    offset += data.byteLength;
    return [name, { dtype: codes[dtype], shape: [...shape], data_offsets: [start, offset] }];
  });
  const json = JSON.stringify(Object.fromEntries([['__metadata__', metadata], ...entries]));
  const length = Math.ceil(Buffer.byteLength(json) / 8) * 8;
  const header = Buffer.alloc(LENGTH_BYTES + length, ' ');
  header.writeBigUInt64LE(BigInt(length));
  header.write(json, LENGTH_BYTES);
  return header;
}

function bytesOf(data: HostArray): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** The new name survives a power cut. Not every file system can do this; the file itself is whole in either case. */
async function flushFolder(path: string): Promise<void> {
  const folder = await open(path).catch(() => null);
  await folder?.sync().catch(() => undefined);
  await folder?.close();
}

/**
 * Reads a safetensors file, its header checked in full before any tensor is read.
 * @throws {CheckpointError} naming the file and what is wrong with it.
 */
export async function readSafetensors(path: string): Promise<SafetensorsFile> {
  let file: FileHandle;
  try {
    file = await open(path);
  } catch (cause) {
    throw new CheckpointError(path, `cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
  try {
    return await readFrom(file);
  } catch (cause) {
    throw new CheckpointError(path, `${path} is not an intact safetensors file: ${(cause as Error).message}`, { cause });
  } finally {
    await file.close();
  }
}

async function readFrom(file: FileHandle): Promise<SafetensorsFile> {
  const { size } = await file.stat();
  if (size < LENGTH_BYTES) throw new Error(`it has ${size} bytes, fewer than the ${LENGTH_BYTES} of the header's length`);
  const length = Number((await readBytes(file, 0, new Uint8Array(LENGTH_BYTES))).readBigUInt64LE());
  if (length > MAX_HEADER_BYTES) throw new Error(`its header claims ${length} bytes, more than ${MAX_HEADER_BYTES}`);
  const dataStart = LENGTH_BYTES + length;
  if (dataStart > size) throw new Error(`its header claims ${length} bytes, but the file ends after ${size}`);
  const header = parseHeader((await readBytes(file, LENGTH_BYTES, new Uint8Array(length))).toString());
  requireExactCover(header.placements, size - dataStart);
  const tensors = new Map<string, StoredTensor>();
  for (const { name, dtype, shape, start } of header.placements) {
    const data = new arrayTypes[dtype](sizeOf(shape));
    await readBytes(file, dataStart + start, bytesOf(data));
    tensors.set(name, { dtype, shape, data });
  }
  return { tensors, metadata: header.metadata };
}

/** Fills `bytes` from the file and returns them as a Buffer. */
async function readBytes(file: FileHandle, position: number, bytes: Uint8Array): Promise<Buffer> {
  // One call reads at most 2 GiB.
  for (let done = 0; done < bytes.length;) {
    const { bytesRead } = await file.read(bytes, done, Math.min(bytes.length - done, 1 << 30), position + done);
    if (bytesRead === 0) throw new Error(`it ends after ${position + done} bytes`);
    done += bytesRead;
  }
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function parseHeader(json: string): { placements: Placement[]; metadata: Record<string, string> } {
  let header: unknown;
  try {
    header = JSON.parse(json);
  } catch (cause) {
    throw new Error(`its header is no JSON: ${(cause as Error).message}`, { cause });
  }
  if (!isRecord(header)) throw new Error('its header is no JSON object');
  const { __metadata__: metadata = {}, ...entries } = header;
  if (!isRecord(metadata) || !Object.values(metadata).every((value) => typeof value === 'string')) {
    throw new Error('__metadata__ must map names to strings');
  }
  const placements = Object.entries(entries).map(([name, entry]) => parseEntry(name, entry));
  return { placements, metadata: metadata as Record<string, string> };
}

function parseEntry(name: string, entry: unknown): Placement {
  const label = `tensor ${describe(name)}`;
  if (!isRecord(entry)) throw new Error(`${label} has no JSON object`);
  const { dtype: code, shape, data_offsets: offsets } = entry;
  const dtype = dtypes.get(code as string);
  if (!dtype) throw new Error(`${label} has dtype ${describe(code)}, not one of ${[...dtypes.keys()].join(', ')}`);
  if (!isExtents(shape)) throw new Error(`${label} has shape ${describe(shape)}, not integers of at least 0`);
  if (!isExtents(offsets) || offsets.length !== 2) throw new Error(`${label} has data_offsets ${describe(offsets)}, not [start, end]`);
  const [start, end] = offsets as [number, number];
  const bytes = sizeOf(shape) * arrayTypes[dtype].BYTES_PER_ELEMENT;
  if (end - start !== bytes) {
    throw new Error(`${label} of ${String(code)} ${describe(shape)} needs ${bytes} bytes, but data_offsets ${describe(offsets)} give ${end - start}`);
  }
  return { name, dtype, shape, start, end };
}

/** The format leaves no gap: the tensors follow one another and end where the file does. */
function requireExactCover(placements: readonly Placement[], available: number): void {
  let offset = 0;
  for (const { name, start, end } of [...placements].sort((a, b) => a.start - b.start || a.end - b.end)) {
    const label = `tensor ${describe(name)}`;
    if (end > available) throw new Error(`${label} ends at byte ${end} of the data, but there are ${available}: the file is truncated`);
    if (start < offset) throw new Error(`${label} overlaps the one before it`);
    if (start > offset) throw new Error(`${start - offset} bytes before ${label} belong to no tensor`);
    offset = end;
  }
  if (offset !== available) throw new Error(`${available - offset} bytes after the last tensor belong to no tensor`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isExtents(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((extent) => Number.isSafeInteger(extent) && (extent as number) >= 0);
}
