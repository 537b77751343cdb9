// The tests' own safetensors reader: fixtures must not depend on the library they check.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export type FixtureTensor = { shape: number[] } & (
  | { dtype: 'f32'; data: Float32Array }
  | { dtype: 'f64'; data: Float64Array }
  | { dtype: 'i32'; data: Int32Array }
);

export interface FixtureCase {
  params: Record<string, unknown>;
  tensors: Record<string, FixtureTensor>;
}

interface HeaderEntry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

type Header = Record<string, HeaderEntry> & { __metadata__: Record<string, string> };

/** Reads `test/fixtures/<file>`, e.g. `conv2d.safetensors`: case name → parameters and tensors. */
export function loadFixtures(file: string): Map<string, FixtureCase> {
  const bytes = readFileSync(join(__dirname, '..', 'fixtures', file));
  const dataStart = 8 + Number(bytes.readBigUInt64LE(0));
  const { __metadata__: metadata, ...entries } = JSON.parse(bytes.toString('utf8', 8, dataStart)) as Header;

  const cases = new Map<string, FixtureCase>();
  for (const [name, params] of Object.entries(metadata)) {
    cases.set(name, { params: JSON.parse(params) as Record<string, unknown>, tensors: {} });
  }
  for (const [path, { dtype, shape, data_offsets }] of Object.entries(entries)) {
    const [name, tensor] = path.split('/') as [string, string];
    const [start, end] = data_offsets.map((offset) => bytes.byteOffset + dataStart + offset);
    // A copy of its own, so that the typed array is aligned.
    const raw = bytes.buffer.slice(start, end);
    cases.get(name)!.tensors[tensor] = { shape, ...typedArray(dtype, raw) };
  }
  return cases;
}

function typedArray(dtype: string, raw: ArrayBufferLike) {
  switch (dtype) {
    case 'F32':
      return { dtype: 'f32', data: new Float32Array(raw) } as const;
    case 'F64':
      return { dtype: 'f64', data: new Float64Array(raw) } as const;
    case 'I32':
      return { dtype: 'i32', data: new Int32Array(raw) } as const;
    default:
      throw new Error(`Unexpected dtype ${dtype} in a fixture`);
  }
}
