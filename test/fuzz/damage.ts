import type { Generator } from '../../lib/random';

/** One of `values`. */
export function oneOf<T>(random: Generator, values: readonly T[]): T {
  return values[random.integer(values.length)];
}

const bounds = [0n, 1n, ...[7n, 8n, 16n, 31n, 32n, 53n, 63n, 64n].flatMap((bits) => [2n ** bits - 1n, (2n ** bits) % 2n ** 64n])];

/** A number where a length or an offset may be, of any size and order of bytes. */
function overwriteNumber(bytes: Buffer, random: Generator): Buffer {
  const width = oneOf(random, [1, 2, 4, 8]);
  if (bytes.length < width) return bytes;
  const value = Buffer.alloc(8);
  value.writeBigUInt64LE(oneOf(random, bounds));
  const number = value.subarray(0, width);
  if (random.integer(2) === 0) number.reverse();
  // Lengths are mostly in front.
  const places = bytes.length - width + 1;
  bytes.set(number, random.integer(random.integer(2) === 0 ? Math.min(places, 64) : places));
  return bytes;
}

/** What a value of a JSON text becomes. */
const texts = ['0', '-1', '1', '7', '255', '1e9', '2147483648', '9007199254740993', '1e400', '0.5', 'null', '"x"', '[]', '{}', 'true', '[[[[1]]]]'];

/** A copy of a JSON text with another value somewhere. */
export function withOtherValue(bytes: Buffer, random: Generator): Buffer {
  const text = bytes.toString('latin1');
  const values = [...text.slice(0, 1 << 16).matchAll(/-?\d+(\.\d+)?|"[^"]*"/g)];
  if (values.length === 0) return bytes;
  const { index, 0: { length } } = oneOf(random, values);
  return Buffer.from(text.slice(0, index) + oneOf(random, texts) + text.slice(index + length), 'latin1');
}

type Damage = (bytes: Buffer, random: Generator) => Buffer;

/** A part of the bytes: where it starts and ends. */
function part({ length }: Buffer, random: Generator): [start: number, end: number] {
  const start = random.integer(length + 1);
  return [start, start + random.integer(Math.min(length - start, 1 << random.integer(16)) + 1)];
}

const damages: readonly Damage[] = [
  (bytes, random) => {
    if (bytes.length > 0) bytes[random.integer(bytes.length)] ^= 1 << random.integer(8);
    return bytes;
  },
  (bytes, random) => bytes.subarray(0, random.integer(bytes.length + 1)),
  (bytes, random) => bytes.fill(oneOf(random, [0, 0xff, 0x20]), ...part(bytes, random)),
  (bytes, random) => {
    const [start, end] = part(bytes, random);
    return Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]);
  },
  (bytes, random) => {
    const [[start, end], at] = [part(bytes, random), random.integer(bytes.length + 1)];
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(start, end), bytes.subarray(at)]);
  },
  (bytes, random) => Buffer.concat([bytes, Buffer.alloc(random.integer(4096), oneOf(random, [0, 0x20, 0x7b]))]),
  overwriteNumber,
  withOtherValue,
];

/** A copy with one to four damages: bits, ends, runs of one byte, parts left out or doubled, numbers. */
export function damaged(bytes: Uint8Array, random: Generator): Buffer {
  let copy: Buffer = Buffer.from(bytes);
  for (let count = 1 + random.integer(4); count > 0; count--) copy = oneOf(random, damages)(copy, random);
  return copy;
}
