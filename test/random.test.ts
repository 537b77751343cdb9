import { defaultGenerator, Generator, type GeneratorState, manualSeed } from '../lib/random';
import { OptionError } from '../lib/errors';
import { expectThrown } from './nn/expectations';

const draw = <T>(count: number, next: () => T): T[] => Array.from({ length: count }, next);

/** The two words that make one number: the upper 21 bits of the first, all 32 of the second. */
const fromWords = (high: number, low: number) => ((high >>> 11) * 2 ** 32 + low) / 2 ** 53;

test('is xoshiro128**: the reference sequence from the state 1, 2, 3, 4', () => {
  const words = [11520, 0, 5927040, 70819200, 2031721326, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804];
  const generator = new Generator(0);
  generator.setState([1, 2, 3, 4]);
  const expected = [0, 2, 4, 6, 8].map((i) => fromWords(words[i], words[i + 1]));
  expect(draw(5, () => generator.uniform())).toEqual(expected);
});

test('the same seed gives the same numbers, another seed others', () => {
  const numbers = (seed: number) => draw(5, ((generator) => () => generator.uniform())(new Generator(seed)));
  expect(numbers(7)).toEqual(numbers(7));
  const first = [0, 1, 2, 2 ** 32, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER].map((seed) => numbers(seed)[0]);
  expect(new Set(first).size).toBe(6);
});

test('uniform() has the moments of the uniform distribution and stays in [0, 1)', () => {
  const generator = new Generator(1);
  const numbers = draw(100_000, () => generator.uniform());
  const mean = numbers.reduce((a, b) => a + b) / 1e5;
  const variance = numbers.reduce((a, b) => a + (b - mean) ** 2, 0) / 1e5;
  expect(Math.abs(mean - 1 / 2)).toBeLessThan(5 / Math.sqrt(12e5));
  expect(Math.abs(variance - 1 / 12)).toBeLessThan(0.002);
  expect(numbers.every((number) => number >= 0 && number < 1)).toBe(true);
});

test('normal() has the moments of N(0, 1)', () => {
  const generator = new Generator(1);
  const numbers = draw(100_000, () => generator.normal());
  const moment = (power: number) => numbers.reduce((a, b) => a + b ** power, 0) / 1e5;
  [0, 1, 0, 3].forEach((expected, i) => {
    // Six standard errors of a moment: sqrt of the 2n-th moment, less the square of the n-th, over n.
    expect(Math.abs(moment(i + 1) - expected)).toBeLessThan(6 * Math.sqrt([1, 2, 15, 96][i] / 1e5));
  });
});

test('integer() takes every value equally often, and reaches large ones', () => {
  const generator = new Generator(2);
  const counts = [0, 0, 0, 0, 0];
  for (let i = 0; i < 50_000; i++) counts[generator.integer(5)]++;
  for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500);
  const large = draw(100, () => generator.integer(2 ** 53 - 1));
  expect(Math.max(...large)).toBeGreaterThan(2 ** 52);
  expect(generator.integer(1)).toBe(0);
});

test('permutation() holds each integer once, in every order equally often', () => {
  const generator = new Generator(3);
  expect(generator.permutation(0)).toEqual(new Int32Array(0));
  expect(generator.permutation(1000).sort()).toEqual(Int32Array.from({ length: 1000 }, (_, i) => i));
  const orders = new Map<string, number>();
  for (let i = 0; i < 6000; i++) {
    const order = generator.permutation(3).join();
    orders.set(order, (orders.get(order) ?? 0) + 1);
  }
  expect(orders.size).toBe(6);
  for (const count of orders.values()) expect(Math.abs(count - 1000)).toBeLessThan(180);
});

test('seedFor() depends on every key, its kind and its place, and on nothing else', () => {
  const keys = [[], [0], [1], [0, 0], [0, 1], [1, 0], ['1'], [1, 'a'], ['a', 1], [12], [1, 2], ['order 1'], ['order 2'], [-1], [0.5]];
  const seeds = keys.map((key) => Generator.seedFor(...key));
  expect(new Set(seeds).size).toBe(keys.length);
  expect(keys.map((key) => Generator.seedFor(...key))).toEqual(seeds);
  for (const seed of seeds) expect(Number.isSafeInteger(seed) && seed >= 0).toBe(true);
});

test('seedFor() gives generators without a visible relation', () => {
  const batches = Array.from({ length: 20_000 }, (_, batch) => new Generator(Generator.seedFor(5, 0, batch)).uniform());
  const mean = batches.reduce((a, b) => a + b) / batches.length;
  const lagged = batches.slice(1).reduce((a, b, i) => a + (b - mean) * (batches[i] - mean), 0) / batches.length;
  expect(Math.abs(mean - 1 / 2)).toBeLessThan(0.01);
  expect(Math.abs(lagged) * 12).toBeLessThan(0.03);
  expect(new Set(batches).size).toBe(20_000);
});

test('a state goes through JSON and continues the sequence', () => {
  const generator = new Generator(4);
  generator.normal();
  const state = JSON.parse(JSON.stringify(generator.state())) as GeneratorState;
  const expected = draw(4, () => generator.normal());
  const resumed = new Generator(99);
  resumed.setState(state);
  expect(draw(4, () => resumed.normal())).toEqual(expected);
});

test('manualSeed() starts the default generator anew', () => {
  const generator = defaultGenerator();
  manualSeed(11);
  const first = generator.uniform();
  expect(first).toBe(new Generator(11).uniform());
  expect(generator.uniform()).not.toBe(first);
  manualSeed(11);
  expect(defaultGenerator().uniform()).toBe(first);
});

test.each<[string, () => unknown, string]>([
  ['a negative seed', () => new Generator(-1), 'seed'],
  ['a fraction', () => new Generator(0.5), 'seed'],
  ['a seed that is too large', () => { manualSeed(2 ** 53); }, 'seed'],
  ['no choice', () => new Generator(0).integer(0), 'below'],
  ['a negative count', () => new Generator(0).permutation(-1), 'count'],
  ['a key that is NaN', () => Generator.seedFor(1, NaN), 'keys'],
  ['a state of zeros', () => { new Generator(0).setState([0, 0, 0, 0]); }, 'state'],
  ['a short state', () => { new Generator(0).setState([1, 2, 3] as never); }, 'state'],
  ['a word out of range', () => { new Generator(0).setState([1, 2, 3, 2 ** 32]); }, 'state'],
  ['no state', () => { new Generator(0).setState(null as never); }, 'state'],
])('refuses %s', (_, run, argument) => {
  expectThrown(run, OptionError, argument, /must be/);
});
