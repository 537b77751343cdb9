import { OptionError } from '../../lib/errors';
import { annealingPresets, GASoftmaxLoss, lambdaAt } from '../../lib/losses';
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

const head = (annealing?: unknown) => new GASoftmaxLoss({ inFeatures: 2, classes: 2, annealing: annealing as never });

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
  ['an unknown name', () => head('fast'), 'annealing', /one of "sphereface", "lsoftmax", "none"/],
  ['an unknown key', () => head({ base: 1, gamma: 1, power: 1, min: 1 }), 'min', /no option "min"/],
  ['a missing key', () => head({ base: 1, gamma: 1, power: 1 }), 'annealing.minimum', /but got undefined/],
  ['a negative base', () => head({ base: -1, gamma: 1, power: 1, minimum: 0 }), 'annealing.base', /at least 0/],
  ['a fraction of an iteration', () => { head().atIteration(0.5); }, 'iteration', /integer/],
  ['a negative iteration', () => lambdaAt(annealingPresets.sphereface, -1), 'iteration', /at least 0/],
])('refuses %s', (_, run, argument, message) => {
  expectThrown(run, OptionError, argument, message);
});
