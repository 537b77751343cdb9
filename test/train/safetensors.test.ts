import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CheckpointError } from '../../lib/errors';
import { BatchNorm2d } from '../../lib/nn';
import { tensor } from '../../lib/tensor';
import { readSafetensors, type StoredTensor, writeSafetensors } from '../../lib/train/safetensors';
import { compileLibrary } from './compiled';

let compiled: string;
beforeAll(() => {
  compiled = compileLibrary();
});
afterAll(() => rm(compiled, { recursive: true }));

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
  path = join(folder, 'state.safetensors');
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const tensors = new Map<string, StoredTensor>([
  ['bytes', { dtype: 'u8', shape: [3], data: Uint8Array.of(1, 2, 255) }],
  ['weights', { dtype: 'f32', shape: [2, 2], data: Float32Array.of(1.5, -0, NaN, Infinity) }],
  ['scalar', { dtype: 'f64', shape: [], data: Float64Array.of(Math.PI) }],
  ['none', { dtype: 'f32', shape: [0, 4], data: new Float32Array(0) }],
  ['labels', { dtype: 'i32', shape: [1, 2], data: Int32Array.of(-7, 2 ** 31 - 1) }],
]);

async function failure(promise: Promise<unknown>): Promise<CheckpointError> {
  const error: unknown = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(CheckpointError);
  return error as CheckpointError;
}

describe('round trip', () => {
  test('gives back names, types, shapes, every bit and the metadata', async () => {
    await writeSafetensors(path, tensors, { iteration: '12', text: '{"é":"\\n"}' });
    const read = await readSafetensors(path);
    expect(new Map([...read.tensors].sort())).toEqual(new Map([...tensors].sort()));
    expect(Object.is((read.tensors.get('weights')!.data as Float32Array)[1], -0)).toBe(true);
    expect(read.metadata).toEqual({ iteration: '12', text: '{"é":"\\n"}' });
  });

  test('of no tensor at all', async () => {
    await writeSafetensors(path, new Map());
    expect(await readSafetensors(path)).toEqual({ tensors: new Map(), metadata: {} });
  });

  test('writes every tensor aligned to its elements', async () => {
    await writeSafetensors(path, tensors);
    const bytes = await readFile(path);
    const dataStart = 8 + Number(bytes.readBigUInt64LE());
    const { __metadata__: _, ...header } = JSON.parse(bytes.toString('utf8', 8, dataStart)) as Record<string, { data_offsets: number[] }>;
    expect(dataStart % 8).toBe(0);
    for (const [name, { data_offsets: offsets }] of Object.entries(header)) {
      expect(offsets[0] % tensors.get(name)!.data.BYTES_PER_ELEMENT).toBe(0);
    }
  });

  test('takes a view into a larger array', async () => {
    const data = Float32Array.of(0, 1, 2, 3).subarray(1, 3);
    await writeSafetensors(path, new Map([['view', { dtype: 'f32', shape: [2], data }]]));
    expect((await readSafetensors(path)).tensors.get('view')!.data).toEqual(Float32Array.of(1, 2));
  });

  test('replaces a former file and leaves nothing beside it, also not what killed processes left', async () => {
    const { pid } = spawn('true');
    const leftover = `.state.safetensors.${pid}-00000000-0000-0000-0000-000000000000.partial`;
    await sleep(50);
    await writeFile(join(folder, leftover), 'half');
    await writeFile(join(folder, '.other.partial'), 'not ours');
    await writeSafetensors(path, tensors, { version: '1' });
    await writeSafetensors(path, tensors, { version: '2' });
    expect((await readSafetensors(path)).metadata).toEqual({ version: '2' });
    expect((await readdir(folder)).sort()).toEqual(['.other.partial', 'state.safetensors']);
  });

  test('several writers of one path at a time do not mix', async () => {
    const versions = ['1', '2', '3', '4'];
    await Promise.all(versions.map((version) => writeSafetensors(path, tensors, { version })));
    expect(versions).toContain((await readSafetensors(path)).metadata['version']);
    expect(await readdir(folder)).toEqual(['state.safetensors']);
  });
});

/** A file with this header and `bytes` bytes of data; `length` is the header length it claims. */
async function forge(header: unknown, bytes: number, length?: number): Promise<void> {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(length ?? json.length));
  await writeFile(path, Buffer.concat([prefix, json, Buffer.alloc(bytes)]));
}

const entry = (start: number, end: number, shape: unknown = [(end - start) / 4], dtype = 'F32') => ({
  dtype,
  shape,
  data_offsets: [start, end],
});

describe('files of PyTorch', () => {
  /** One tensor of these bytes, beside one of f32. */
  const read = async (dtype: string, shape: number[], values: ArrayBufferView) => {
    const bytes = Buffer.from(values.buffer);
    const json = Buffer.from(JSON.stringify({
      __metadata__: { format: 'pt' },
      extra: { dtype, shape, data_offsets: [0, bytes.length] },
      weight: { dtype: 'F32', shape: [1], data_offsets: [bytes.length, bytes.length + 4] },
    }));
    const prefix = Buffer.alloc(8);
    prefix.writeBigUInt64LE(BigInt(json.length));
    await writeFile(path, Buffer.concat([prefix, json, bytes, Buffer.from(Float32Array.of(0.5).buffer)]));
    const { tensors: found } = await readSafetensors(path);
    expect(found.get('weight')!.data).toEqual(Float32Array.of(0.5));
    return found.get('extra');
  };

  test.each<[string, ArrayBufferView, string, number[]]>([
    ['F16', Uint16Array.of(0x3c00, 0xc500, 0x7bff, 0x0001, 0x8000, 0x03ff, 0xfc00, 0x3555), 'f32',
      [1, -5, 65504, 2 ** -24, -0, 1023 * 2 ** -24, -Infinity, 1365 * 2 ** -12]],
    ['BF16', Uint16Array.of(0x3f80, 0xc0a0, 0x7f7f, 0x0001), 'f32', [1, -5, 255 * 2 ** 120, 2 ** -133]],
    ['I64', BigInt64Array.of(7n, -(2n ** 31n), 2n ** 31n - 1n), 'i32', [7, -(2 ** 31), 2 ** 31 - 1]],
    ['U64', BigUint64Array.of(3n), 'i32', [3]],
    ['U32', Uint32Array.of(2 ** 31 - 1), 'i32', [2 ** 31 - 1]],
    ['U16', Uint16Array.of(65535), 'i32', [65535]],
    ['I16', Int16Array.of(-32768), 'i32', [-32768]],
    ['I8', Int8Array.of(-128), 'i32', [-128]],
    ['BOOL', Uint8Array.of(1, 0), 'u8', [1, 0]],
  ])('%s is read with its values', async (code, values, dtype, expected) => {
    const found = await read(code, [expected.length], values);
    expect(found).toMatchObject({ dtype, shape: [expected.length] });
    expect([...found!.data]).toEqual(expected);
  });

  test('a NaN of 16 bits stays one', async () => {
    expect([...(await read('F16', [2], Uint16Array.of(0x7e00, 0xfc01)))!.data]).toEqual([NaN, NaN]);
  });

  test.each<[string, ArrayBufferView, string]>([
    ['I64', BigInt64Array.of(1n, -(2n ** 31n) - 1n), '-2147483649'],
    ['I64', BigInt64Array.of(2n ** 53n + 1n), '9007199254740993'],
    ['U32', Uint32Array.of(2 ** 31), '2147483648'],
  ])('an %s that i32 cannot hold is no damage, but an error', async (code, values, shown) => {
    const error = await failure(read(code, [values.byteLength / (code === 'U32' ? 4 : 8)], values));
    expect(error.message).toBe(`cannot read ${path}: tensor "extra" has the ${code} value ${shown}, which i32 cannot hold`);
  });

  test('the counters of BatchNorm are passed over', () => {
    using layer = new BatchNorm2d({ channels: 2 });
    using counter = tensor(Int32Array.of(9), []);
    const state = { ...layer.stateDict(), num_batches_tracked: counter };
    expect(() => { layer.loadStateDict(state); }).not.toThrow();
    expect(() => { layer.loadStateDict({ ...state, batches: counter }); }).toThrow('unexpected: batches');
  });
});

describe('damaged files are rejected by name and reason', () => {
  test.each<[string, unknown, number, RegExp]>([
    ['a header that is no JSON', '{"a":', 0, /header is no JSON/],
    ['a header that is no object', '[1]', 0, /header is no JSON object/],
    ['metadata that are no strings', { __metadata__: { a: 1 } }, 0, /__metadata__ must map names to strings/],
    ['an entry that is no object', { a: 3 }, 0, /tensor "a" has no JSON object/],
    ['an unknown dtype', { a: entry(0, 4, [4], 'F8_E5M2') }, 4, /^cannot read .* tensor "a" has dtype "F8_E5M2", not one of F64, F32, F16, BF16, I64/],
    ['a missing shape', { a: { dtype: 'F32', data_offsets: [0, 4] } }, 4, /tensor "a" has shape undefined/],
    ['a negative extent', { a: entry(0, 4, [-1]) }, 4, /tensor "a" has shape \[-1\]/],
    ['a broken extent', { a: entry(0, 4, [0.5]) }, 4, /tensor "a" has shape \[0.5\]/],
    ['missing offsets', { a: { dtype: 'F32', shape: [1] } }, 4, /tensor "a" has data_offsets undefined/],
    ['one offset', { a: { dtype: 'F32', shape: [1], data_offsets: [4] } }, 4, /tensor "a" has data_offsets \[4\]/],
    ['negative offsets', { a: entry(-4, 0) }, 4, /tensor "a" has data_offsets \[-4, 0\]/],
    ['offsets that do not fit the shape', { a: entry(0, 8, [1]) }, 8, /tensor "a" of F32 \[1\] needs 4 bytes, .* give 8/],
    ['offsets in reverse', { a: entry(8, 4, [1]) }, 8, /tensor "a" of F32 \[1\] needs 4 bytes, .* give -4/],
    ['a tensor outside the file', { a: entry(0, 8) }, 4, /tensor "a" ends at byte 8 .* there are 4: the file is truncated/],
    ['overlapping tensors', { a: entry(0, 8), b: entry(4, 12) }, 12, /tensor "b" overlaps/],
    ['the same place twice', { a: entry(0, 4), b: entry(0, 4) }, 4, /tensor "b" overlaps/],
    ['a gap', { a: entry(0, 4), b: entry(8, 12) }, 12, /4 bytes before tensor "b" belong to no tensor/],
    ['bytes after the end', { a: entry(0, 4) }, 7, /3 bytes after the last tensor/],
  ])('%s', async (_, header, bytes, reason) => {
    await forge(header, bytes);
    const error = await failure(readSafetensors(path));
    expect(error.message).toMatch(reason);
    expect(error.message).toContain(path);
    expect(error.argument).toBe(path);
  });

  test('a header longer than the file', async () => {
    await forge({}, 0, 1000);
    expect((await failure(readSafetensors(path))).message).toMatch(/header claims 1000 bytes, but the file ends after 10/);
  });

  test('a senseless header length', async () => {
    await forge({}, 0, 2 ** 50);
    expect((await failure(readSafetensors(path))).message).toMatch(/header claims 1125899906842624 bytes, more than 100000000/);
  });

  test('cut short anywhere', async () => {
    await writeSafetensors(path, tensors);
    const bytes = await readFile(path);
    for (let length = 0; length < bytes.length; length += 3) {
      await writeFile(path, bytes.subarray(0, length));
      expect((await failure(readSafetensors(path))).message).toContain('is not an intact safetensors file');
    }
  });

  test('a missing file, a folder', async () => {
    expect((await failure(readSafetensors(path))).message).toMatch(/cannot read .*state.safetensors: ENOENT/);
    expect((await failure(readSafetensors(folder))).message).toMatch(/cannot read .*: EISDIR/);
  });
});

describe('failures to write', () => {
  test('into a missing folder or over a folder', async () => {
    expect((await failure(writeSafetensors(join(folder, 'no', 'file'), tensors))).message).toContain('ENOENT');
    await mkdir(path);
    await failure(writeSafetensors(path, tensors));
    expect(await readdir(folder)).toEqual(['state.safetensors']);
  });

  test('a full disk leaves the former file and no partial one', async () => {
    if (!mountTinyDisk(folder)) return;
    try {
      await writeSafetensors(path, tensors, { version: 'former' });
      const large = new Map([['large', { dtype: 'u8', shape: [1 << 20], data: new Uint8Array(1 << 20) } as const]]);
      const error = await failure(writeSafetensors(path, large));
      expect(error.message).toMatch(/cannot write .*state.safetensors: ENOSPC/);
      expect((await readSafetensors(path)).metadata).toEqual({ version: 'former' });
      expect(await readdir(folder)).toEqual(['state.safetensors']);
    } finally {
      execFileSync('umount', [folder]);
    }
  });

  test('beyond the file size limit, in a child process', async () => {
    const script = writerScript(`
      await writeSafetensors(path, tensors(10), { version: 'former' });
      await writeSafetensors(path, tensors(1 << 20)).catch((error) => console.log(error.name));
    `);
    const child = spawn('bash', ['-c', 'ulimit -f 100; exec "$0" "$@"', process.execPath, ...script, path]);
    expect(await output(child)).toContain('CheckpointError');
    expect((await readSafetensors(path)).metadata).toEqual({ version: 'former' });
    expect(await readdir(folder)).toEqual(['state.safetensors']);
  });
});

/** Mounts a disk of 256 KiB on the folder; false where this user may not. */
function mountTinyDisk(target: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', target], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Arguments for node: `body` with the writer at hand. */
function writerScript(body: string): string[] {
  const library = join(compiled, 'lib', 'train', 'safetensors');
  const code = `
    process.on('SIGXFSZ', () => {});
    const { writeSafetensors } = require(${JSON.stringify(library)});
    const path = process.argv[1];
    const tensors = (size) => new Map([['a', { dtype: 'f32', shape: [size], data: new Float32Array(size).fill(size) }]]);
    void (async () => { ${body} })();
  `;
  return ['-e', code];
}

async function output(child: ChildProcess): Promise<string> {
  let text = '';
  child.stdout!.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await once(child, 'close');
  return text;
}

test('killed at any moment of repeated writing, the process leaves a whole file', async () => {
  const script = writerScript(`
    for (let version = 0; ; version++) {
      await writeSafetensors(path, tensors(50_000 + (version % 7)), { version: String(version) });
      if (version === 0) console.log('ready');
    }
  `);
  for (let round = 0; round < 6; round++) {
    const child = spawn(process.execPath, [...script, path]);
    await once(child.stdout, 'data');
    await sleep(20 + 17 * round);
    child.kill('SIGKILL');
    await once(child, 'close');
    const { tensors: read } = await readSafetensors(path);
    const { data, shape } = read.get('a')!;
    expect(data.every((value) => value === shape[0])).toBe(true);
  }
  await writeSafetensors(path, tensors);
  expect(await readdir(folder)).toEqual(['state.safetensors']);
});
