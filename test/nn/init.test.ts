import { DTypeError, OptionError, ShapeError } from '../../lib/errors';
import { init } from '../../lib/nn';
import { Generator } from '../../lib/random';
import { type Tensor, zeros } from '../../lib/tensor';
import { expectThrown } from './expectations';

const filters = () => zeros([40, 3, 3, 30]);

function moments(tensor: Tensor): { mean: number; variance: number; largest: number } {
  const values = tensor.data() as Float32Array;
  const mean = values.reduce((a, b) => a + b) / values.length;
  const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
  return { mean, variance, largest: values.reduce((a, b) => Math.max(a, Math.abs(b)), 0) };
}

test('normal', () => {
  const { mean, variance } = moments(init.normal(filters(), { mean: 3, std: 0.5, generator: new Generator(1) }));
  expect(mean).toBeCloseTo(3, 1);
  expect(variance / 0.25).toBeCloseTo(1, 1);
});

test('uniform', () => {
  const { mean, variance, largest } = moments(init.uniform(filters(), { low: 2, high: 4, generator: new Generator(1) }));
  expect(mean).toBeCloseTo(3, 1);
  expect(variance / (4 / 12)).toBeCloseTo(1, 1);
  expect(largest).toBeLessThan(4);
});

test('heNormal: variance 2 / (kH kW C)', () => {
  expect(moments(init.heNormal(filters(), { generator: new Generator(1) })).variance * 270 / 2).toBeCloseTo(1, 1);
  expect(moments(init.heNormal(zeros([200, 50]), { generator: new Generator(1) })).variance * 50 / 2).toBeCloseTo(1, 1);
});

test('xavier: uniform up to sqrt(6 / (kH kW (C + O)))', () => {
  const limit = Math.sqrt(6 / (9 * 70));
  const { variance, largest } = moments(init.xavier(filters(), { generator: new Generator(1) }));
  expect(largest).toBeLessThanOrEqual(limit);
  expect(largest).toBeGreaterThan(0.99 * limit);
  expect((variance * 3) / limit ** 2).toBeCloseTo(1, 1);
});

test('constant, and every function returns the tensor that it filled', () => {
  const tensor = zeros([2], { dtype: 'f64' });
  expect(init.constant(tensor, 0.1)).toBe(tensor);
  expect(tensor.toArray()).toEqual([0.1, 0.1]);
});

test('the generator decides the values', () => {
  for (const fill of [init.normal, init.uniform, init.heNormal, init.xavier]) {
    const values = (seed: number) => fill(filters(), { generator: new Generator(seed) }).data();
    expect(values(1)).toEqual(values(1));
    expect(values(1)).not.toEqual(values(2));
  }
});

test.each<[string, () => unknown, typeof OptionError, string, RegExp]>([
  ['std', () => init.normal(filters(), { std: -1 }), OptionError, 'std', /at least 0/],
  ['mean', () => init.normal(filters(), { mean: NaN }), OptionError, 'mean', /finite/],
  ['range', () => init.uniform(filters(), { low: 1, high: 0 }), OptionError, 'high', /at least 1/],
  ['value', () => init.constant(filters(), Infinity), OptionError, 'value', /finite/],
  ['unknown option', () => init.heNormal(filters(), { std: 1 } as never), OptionError, 'std', /no option/],
  ['rank', () => init.heNormal(zeros([3])), ShapeError, 'tensor', /\[O, \.\.\., I\]/],
  ['rank', () => init.xavier(zeros([3])), ShapeError, 'tensor', /\[O, \.\.\., I\]/],
  ['dtype', () => init.normal(zeros([3], { dtype: 'i32' })), DTypeError, 'tensor', /f32 or f64/],
])('refuses a wrong %s', (_, run, type, argument, message) => {
  expectThrown(run, type, argument, message);
});
