import { OptionError } from '../../lib/errors';
import { annealingPresets, GASoftmaxLoss, lambdaAt } from '../../lib/losses';
import { currentConfig, modelConfig } from '../../lib/models/registry';
import { expectThrown } from '../nn/expectations';

test.each([
  [0, 1000],
  [1, 1000 / 1.12],
  [1000, 1000 / 121],
  [1_000_000, 5],
])('sphereface at iteration %d: %d', (iteration, lambda) => {
  expect(lambdaAt(annealingPresets.sphereface, iteration)).toBeCloseTo(lambda, 10);
});

test.each([
  [0, 1000],
  [4000, 1000 / 1.1 ** 35],
  [40_000, 1000 / 2 ** 35],
])('lsoftmax at iteration %d: %d', (iteration, lambda) => {
  expect(lambdaAt(annealingPresets.lsoftmax, iteration)).toBeCloseTo(lambda, 10);
});

test('the minimum holds', () => {
  expect(lambdaAt({ base: 10, gamma: 1, power: 2, minimum: 3 }, 0)).toBe(10);
  expect(lambdaAt({ base: 10, gamma: 1, power: 2, minimum: 3 }, 1)).toBe(3);
});

describe('the course of lambda over a run', () => {
  const { sphereface, lsoftmax, 'sphereface-scaled': scaled, 'lsoftmax-scaled': lsoftmaxScaled } = annealingPresets;

  test.each([[sphereface, scaled], [lsoftmax, lsoftmaxScaled]])('scaled, is that of 64,000 iterations', (plain, stretched) => {
    for (const iterations of [6400, 64_000, 200_000]) {
      for (const share of [0, 0.01, 0.25, 0.9]) {
        const [iteration, original] = [share * iterations, share * 64_000];
        expect(lambdaAt(stretched, iteration, { iterations })).toBeCloseTo(lambdaAt(plain, original), 9);
      }
    }
  });

  test('unscaled, or in a run of unknown length, depends on the iteration alone', () => {
    for (const schedule of [sphereface, lsoftmax]) {
      expect(lambdaAt(schedule, 100, { iterations: 200 })).toBe(lambdaAt(schedule, 100));
    }
    expect(lambdaAt(scaled, 100)).toBe(lambdaAt(sphereface, 100));
  });

  test('begins at the start', () => {
    expect(lambdaAt(sphereface, 10, { start: 90 })).toBe(lambdaAt(sphereface, 100));
    expect(lambdaAt(scaled, 10, { start: 80, iterations: 32_000 })).toBe(lambdaAt(sphereface, 100));
    expect(lambdaAt(scaled, 0, { start: 64_000, iterations: 10 })).toBe(5);
  });

  test('a schedule of its own may be scaled', () => {
    const own = { base: 8, gamma: 1, power: 1, minimum: 0, iterations: 70 };
    expect(lambdaAt(own, 1, { iterations: 10 })).toBe(1);
    expect(lambdaAt(own, 7)).toBe(1);
  });
});

const head = (annealing?: unknown, annealingStart?: number) =>
  new GASoftmaxLoss({ inFeatures: 2, classes: 2, annealing: annealing as never, annealingStart });

test('a head follows the run that it is told of', () => {
  const loss = head();
  loss.atIteration(50, 6400);
  expect(loss.lambda).toBeCloseTo(1000 / (1 + 0.12 * 500), 9);
  const finetuned = head('sphereface', 8000);
  expect(finetuned.lambda).toBe(5);
  finetuned.atIteration(3);
  expect(finetuned.lambda).toBe(5);
});

describe('configs', () => {
  const annealingOf = (options: object) => modelConfig({ network: 'cnn', depth: 3, classes: 2, head: options as never }).head;

  test('write the annealing out', () => {
    expect(annealingOf({ loss: 'ga-softmax' })).toEqual({ loss: 'ga-softmax', annealing: 'sphereface-scaled' });
    expect(annealingOf({ loss: 'a-softmax', annealing: 'none' })).toEqual({ loss: 'a-softmax', annealing: 'none' });
    expect(annealingOf({ loss: 'w-softmax' })).toEqual({ loss: 'w-softmax' });
  });

  test('of earlier checkpoints keep the annealing that they had', () => {
    const now = (loss: object) => currentConfig({ network: 'cnn', head: loss })['head'];
    expect(now({ loss: 'ga-softmax', margin: 2 })).toEqual({ loss: 'ga-softmax', margin: 2, annealing: 'sphereface' });
    expect(now({ loss: 'a-softmax', annealing: 'lsoftmax' })).toEqual({ loss: 'a-softmax', annealing: 'lsoftmax' });
    expect(now({ loss: 'softmax' })).toEqual({ loss: 'softmax' });
    expect(currentConfig({ network: 'cnn' })).toEqual({ network: 'cnn' });
  });
});

test.each([
  [undefined, 1000 / (1 + 0.12 * 50)],
  ['sphereface', 1000 / (1 + 0.12 * 50)],
  ['lsoftmax', 1000 * (1 + 2.5e-5 * 50) ** -35],
  [{ base: 4, gamma: 0, power: 1, minimum: 0 }, 4],
  ['none', null],
])('a head with annealing %j tells lambda at iteration 50', (annealing, lambda) => {
  const loss = head(annealing);
  loss.atIteration(50);
  expect(loss.lambda).toBe(lambda);
});

test('a head begins with the lambda of iteration 0', () => {
  expect(head().lambda).toBe(1000);
});

test.each<[string, () => unknown, string, RegExp]>([
  ['an unknown name', () => head('fast'), 'annealing', /one of "sphereface-scaled", .*"sphereface", "lsoftmax", "none"/],
  ['a length of 0', () => head({ base: 1, gamma: 1, power: 1, minimum: 0, iterations: 0 }), 'annealing.iterations', /at least 1/],
  ['a negative start', () => head('sphereface', -1), 'annealingStart', /at least 0/],
  ['a run of no steps', () => { head().atIteration(0, 0); }, 'iterations', /at least 1/],
  ['an unknown key of the run', () => lambdaAt(annealingPresets.lsoftmax, 0, { offset: 1 } as never), 'offset', /no option/],
  ['an unknown key', () => head({ base: 1, gamma: 1, power: 1, min: 1 }), 'min', /no option "min"/],
  ['a missing key', () => head({ base: 1, gamma: 1, power: 1 }), 'annealing.minimum', /but got undefined/],
  ['a negative base', () => head({ base: -1, gamma: 1, power: 1, minimum: 0 }), 'annealing.base', /at least 0/],
  ['a fraction of an iteration', () => { head().atIteration(0.5); }, 'iteration', /integer/],
  ['a negative iteration', () => lambdaAt(annealingPresets.sphereface, -1), 'iteration', /at least 0/],
])('refuses %s', (_, run, argument, message) => {
  expectThrown(run, OptionError, argument, message);
});
