import { describe, OptionError, requireNumber } from './errors';

/** Four 32-bit words, not all zero; plain numbers, so that JSON holds it. */
export type GeneratorState = readonly [number, number, number, number];

/** A seed: an integer from 0 below 2^53. @throws {OptionError} */
export function requireSeed(name: string, value: unknown): number {
  return requireNumber(name, value, { min: 0, max: Number.MAX_SAFE_INTEGER, integer: true });
}

// Local names: looking up a global costs jest's sandbox more than a whole number.
const { cos, imul, log, PI, sqrt } = Math;

const WORD = 2 ** 32;
const GOLDEN = 0x9e3779b9;

function rotateLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

/** A bijection of 32-bit words that spreads every bit (the finaliser of MurmurHash3). */
function scramble(word: number): number {
  let mixed = imul(word ^ (word >>> 16), 0x85ebca6b);
  mixed = imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

/** Random numbers by xoshiro128**: the same seed gives the same numbers everywhere. Not for cryptography. */
export class Generator {
  readonly #words = new Uint32Array(4);

  /** @throws {OptionError} unless the seed is an integer from 0 below 2^53. */
  constructor(seed: number) {
    requireSeed('seed', seed);
    const high = Math.floor(seed / WORD);
    for (let i = 0; i < 4; i++) this.#words[i] = scramble(scramble(seed + i * GOLDEN) ^ (high + (i + 1) * GOLDEN));
  }

  /**
   * A seed made of keys alone, so that for instance `new Generator(Generator.seedFor(seed, epoch, batch))` needs no
   * history. Every change of a key gives an unrelated generator.
   * @throws {OptionError} when a number among the keys is not finite.
   */
  static seedFor(...keys: readonly (number | string)[]): number {
    for (const key of keys) if (typeof key === 'number') requireNumber('keys', key);
    let [high, low] = [1, 2];
    for (const character of JSON.stringify(keys)) {
      const code = character.codePointAt(0)!;
      high = scramble(high ^ code) + GOLDEN;
      low = scramble(low ^ code) + GOLDEN;
    }
    return (high & 0x1fffff) * WORD + (low >>> 0);
  }

  #next(): number {
    const words = this.#words;
    const result = imul(rotateLeft(imul(words[1], 5), 7), 9) >>> 0;
    const shifted = words[1] << 9;
    words[2] ^= words[0];
    words[3] ^= words[1];
    words[1] ^= words[2];
    words[0] ^= words[3];
    words[2] ^= shifted;
    words[3] = rotateLeft(words[3], 11);
    return result;
  }

  /** An integer from 0 below 2^53, all equally likely; good as a seed. */
  seed(): number {
    const high = this.#next() >>> 11;
    return high * WORD + this.#next();
  }

  /** A number from [0, 1). */
  uniform(): number {
    return this.seed() / 2 ** 53;
  }

  /** A number from N(0, 1), by Box and Muller. */
  normal(): number {
    const radius = sqrt(-2 * log(1 - this.uniform()));
    return radius * cos(2 * PI * this.uniform());
  }

  /** An integer from 0 below `below`, all equally likely. @throws {OptionError} */
  integer(below: number): number {
    requireNumber('below', below, { min: 1, max: Number.MAX_SAFE_INTEGER, integer: true });
    const end = 2 ** 53 - (2 ** 53 % below);
    let drawn = this.seed();
    while (drawn >= end) drawn = this.seed();
    return drawn % below;
  }

  /** The integers from 0 below `count` in a random order (Fisher and Yates). @throws {OptionError} */
  permutation(count: number): Int32Array {
    requireNumber('count', count, { min: 0, max: 2 ** 31 - 1, integer: true });
    const order = Int32Array.from({ length: count }, (_, i) => i);
    for (let last = count - 1; last > 0; last--) {
      const chosen = this.integer(last + 1);
      [order[last], order[chosen]] = [order[chosen], order[last]];
    }
    return order;
  }

  /** Where the generator stands, for a checkpoint. */
  state(): GeneratorState {
    const [a, b, c, d] = this.#words;
    return [a, b, c, d];
  }

  /** Goes on from where {@link state} was taken. @throws {OptionError} when that cannot be a state. */
  setState(state: GeneratorState): void {
    const isWord = (word: unknown): boolean => Number.isInteger(word) && (word as number) >= 0 && (word as number) < WORD;
    const words: unknown = state;
    if (!Array.isArray(words) || words.length !== 4 || !words.every(isWord) || words.every((word) => word === 0)) {
      throw new OptionError('state', `state must be four 32-bit words, not all zero, but got ${describe(words)}`);
    }
    this.#words.set(state);
  }
}

const shared = new Generator(0);

/** The generator that layers draw their initial values from unless they are given one. Its seed is 0 at first. */
export function defaultGenerator(): Generator {
  return shared;
}

/** Makes {@link defaultGenerator} start anew from `seed`, an integer from 0 below 2^53. @throws {OptionError} */
export function manualSeed(seed: number): void {
  shared.setState(new Generator(seed).state());
}
