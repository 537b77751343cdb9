import { randomUUID } from 'node:crypto';
import { type FileHandle, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isRunning } from '../data/cache';
import { CheckpointError, describe } from '../errors';
import { widened } from '../hostArrays';
import { isJsonObject } from '../json';
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
  code: Code;
  shape: Shape;
  start: number;
  end: number;
}

const codes: Record<HostDType, string> = { f32: 'F32', f64: 'F64', i32: 'I32', u8: 'U8' };

/** The arrays of a file's elements, for each dtype of the format that can be read. */
const arrayTypes = {
  F64: Float64Array, F32: Float32Array, F16: Uint16Array, BF16: Uint16Array,
  I64: BigInt64Array, I32: Int32Array, I16: Int16Array, I8: Int8Array,
  U64: BigUint64Array, U32: Uint32Array, U16: Uint16Array, U8: Uint8Array, BOOL: Uint8Array,
} as const;
type Code = keyof typeof arrayTypes;
type FileArray = HostArray | InstanceType<(typeof arrayTypes)[Code]>;

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

function bytesOf(data: FileArray): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** The new name survives a power cut. Not every file system can do this; the file itself is whole in either case. */
async function flushFolder(path: string): Promise<void> {
  const folder = await open(path).catch(() => null);
  await folder?.sync().catch(() => undefined);
  await folder?.close();
}

/** The file may be intact, but holds what no tensor here can. */
class UnsupportedContents extends Error {}

/**
 * Reads a safetensors file, its header checked in full before any tensor is read. F16 and BF16 become f32 with the same
 * values; BOOL becomes u8, and other integers i32.
 * @throws {CheckpointError} naming the file and what is wrong with it, or an integer that i32 cannot hold.
 */
export async function readSafetensors(path: string): Promise<SafetensorsFile> {
  let file: FileHandle | undefined;
  try {
    file = await open(path);
    return await readFrom(file);
  } catch (cause) {
    const { message, code } = cause as NodeJS.ErrnoException;
    // A code comes from the system, a RangeError where there is no memory.
    const isUnreadable = code !== undefined || cause instanceof RangeError || cause instanceof UnsupportedContents;
    const problem = isUnreadable ? `cannot read ${path}` : `${path} is not an intact safetensors file`;
    throw new CheckpointError(path, `${problem}: ${message}`, { cause });
  } finally {
    await file?.close();
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
  for (const { name, code, shape, start } of header.placements) {
    const elements = new arrayTypes[code](sizeOf(shape));
    await readBytes(file, dataStart + start, bytesOf(elements));
    tensors.set(name, { shape, ...converted(name, code, elements) });
  }
  return { tensors, metadata: header.metadata };
}

/** As an array that tensors have. */
function converted(name: string, code: Code, elements: FileArray): Pick<StoredTensor, 'dtype' | 'data'> {
  if (elements instanceof Float32Array) return { dtype: 'f32', data: elements };
  if (elements instanceof Float64Array) return { dtype: 'f64', data: elements };
  if (elements instanceof Int32Array) return { dtype: 'i32', data: elements };
  if (elements instanceof Uint8Array) return { dtype: 'u8', data: elements };
  if (code === 'BF16') return { dtype: 'f32', data: widened(elements as Uint16Array) };
  if (code === 'F16') return { dtype: 'f32', data: Float32Array.from(elements as Uint16Array, halfValue) };
  const data = Int32Array.from(elements as ArrayLike<number | bigint>, Number);
  // Loosely: one side may be a bigint.
  const misfit = data.findIndex((value, index) => value != elements[index]);
  if (misfit === -1) return { dtype: 'i32', data };
  throw new UnsupportedContents(`tensor ${describe(name)} has the ${code} value ${elements[misfit]}, which i32 cannot hold`);
}

/** Of the bits of an IEEE half: sign, 5 bits of exponent, 10 of fraction. */
function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
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
  if (!isJsonObject(header)) throw new Error('its header is no JSON object');
  const { __metadata__: metadata = {}, ...entries } = header;
  if (!isJsonObject(metadata) || !Object.values(metadata).every((value) => typeof value === 'string')) {
    throw new Error('__metadata__ must map names to strings');
  }
  const placements = Object.entries(entries).map(([name, entry]) => parseEntry(name, entry));
  return { placements, metadata: metadata as Record<string, string> };
}

function parseEntry(name: string, entry: unknown): Placement {
  const label = `tensor ${describe(name)}`;
  if (!isJsonObject(entry)) throw new Error(`${label} has no JSON object`);
  const { dtype: code, shape, data_offsets: offsets } = entry;
  if (!isCode(code)) throw new UnsupportedContents(`${label} has dtype ${describe(code)}, not one of ${Object.keys(arrayTypes).join(', ')}`);
  if (!isExtents(shape)) throw new Error(`${label} has shape ${describe(shape)}, not integers of at least 0`);
  if (!isExtents(offsets) || offsets.length !== 2) throw new Error(`${label} has data_offsets ${describe(offsets)}, not [start, end]`);
  const [start, end] = offsets as [number, number];
  const bytes = sizeOf(shape) * arrayTypes[code].BYTES_PER_ELEMENT;
  if (end - start !== bytes) {
    throw new Error(`${label} of ${code} ${describe(shape)} needs ${bytes} bytes, but data_offsets ${describe(offsets)} give ${end - start}`);
  }
  return { name, code, shape, start, end };
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

function isCode(value: unknown): value is Code {
  return typeof value === 'string' && Object.hasOwn(arrayTypes, value);
}

function isExtents(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((extent) => Number.isSafeInteger(extent) && (extent as number) >= 0);
}
