import { type DataError, DisposedError, DTypeError, OptionError, ShapeError } from '../../lib/errors';
import { energyPowers, hypersphericalEnergy, minimalAngle, scale } from '../../lib/ops';
import { noGrad, ones, type Tensor, tensor, zeros } from '../../lib/tensor';
import { expectGradients } from '../support/gradcheck';
import { testParity } from '../support/parity';
import { dot, expectError, isFinite, isZero, norm, random } from '../support/tensors';

testParity(
  'separation.safetensors',
  ({ w }, params) => ({ loss: 'power' in params ? hypersphericalEnergy(w, params) : minimalAngle(w) }),
  // 33 filters or their opposites in five dimensions lie close: 2 - 2 cos has lost digits, which 1 / |u - v|^4 enlarges.
  (name) => (name === 'energy-2-half' ? 1e-4 : 0),
);

const penalties = [
  ...energyPowers.flatMap((power) => [
    [`energy ${power}`, (w: Tensor) => hypersphericalEnergy(w, { power })] as const,
    [`energy ${power} in the half space`, (w: Tensor) => hypersphericalEnergy(w, { power, halfSpace: true })] as const,
  ]),
  ['angle', minimalAngle] as const,
];

describe.each(penalties)('%s', (_, penalty) => {
  test.each([[[4, 3, 3, 2]], [[3, 17]], [[9, 2]], [[2, 5]]])('gradients of %j', (shape) => {
    expectGradients(penalty, random(shape, 1));
    expectGradients((w) => scale(penalty(scale(w, 3)), -0.3), random(shape, 2));
  });

  test('the length of filters does not matter, and the gradient has no part along them', () => {
    const w = random([4, 9], 1);
    const loss = penalty(w);
    expect(penalty(noGrad(() => scale(w, 7))).item()).toBeCloseTo(loss.item(), 12);
    loss.backward();
    for (let row = 0; row < 4; row++) {
      const [filter, gradient] = [w.data(), w.grad!.data()].map((values) => values.slice(row * 9, row * 9 + 9));
      expect(Math.abs(dot(filter, gradient))).toBeLessThan(1e-12);
      expect(norm(gradient)).toBeGreaterThan(1e-6);
    }
  });

  test.each(['f32', 'f64'] as const)('equal and opposite filters: finite in %s', (dtype) => {
    for (const other of [2, -2]) {
      const w = tensor([[3, 4, 1], [3 * other, 4 * other, other], [0, 1, 0]], [3, 3], { dtype, requiresGrad: true });
      const loss = penalty(w);
      loss.backward();
      expect([loss, w.grad!].map(isFinite)).toEqual([true, true]);
    }
  });

  test('a zero filter gets no gradient', () => {
    const w = tensor([[0, 0, 0], [0, 1, 2], [2, 1, 0]], [3, 3], { requiresGrad: true });
    penalty(w).backward();
    expect(isFinite(w.grad!)).toBe(true);
    expect(isZero(w.grad!.data().slice(0, 3))).toBe(true);
    expect(isZero(w.grad!.data().slice(3))).toBe(false);
  });

  test('a single filter has no gradient', () => {
    const w = random([1, 2, 2, 3], 1);
    const loss = penalty(w);
    loss.backward();
    expect(isFinite(loss)).toBe(true);
    expect(isZero(w.grad!.data())).toBe(true);
  });

  test('a small step against the gradient lowers it, close to equal filters too', () => {
    for (const angle of [1e-2, 0.1, 1]) {
      const w = tensor([[1, 0], [Math.cos(angle), Math.sin(angle)]], [2, 2], { dtype: 'f64', requiresGrad: true });
      const before = penalty(w);
      before.backward();
      const [values, gradient] = [w.data(), w.grad!.data()];
      const reach = (0.05 * angle) / norm(gradient);
      const moved = tensor(values.map((value: number, i: number) => value - reach * gradient[i]), [2, 2]);
      expect(penalty(moved).item()).toBeLessThan(before.item());
    }
  });

  test('NaN shows', () => {
    expect(penalty(tensor([[1, 2], [NaN, 1], [1, 0]])).item()).toBeNaN();
  });
});

describe('values', () => {
  // Unit vectors at 0, 90 and 180 degrees: squared distances 2, 2 and 4.
  const w = tensor([[1, 0], [0, 3], [-2, 0]], [3, 2], { dtype: 'f64' });

  test.each([
    [0, -(2 * Math.log(2) + Math.log(4)) / 6],
    [1, (2 / Math.SQRT2 + 0.5) / 3],
    [2, (2 / 2 + 1 / 4) / 3],
  ] as const)('the mean energy of power %p', (power, expected) => {
    expect(hypersphericalEnergy(w, { power }).item()).toBeCloseTo(expected, 4);
  });

  test('power 2 is the default', () => {
    expect(hypersphericalEnergy(w).item()).toBe(hypersphericalEnergy(w, { power: 2 }).item());
  });

  test('in the half space opposite filters cost as equal ones do', () => {
    const equal = tensor([[1, 0], [0, 1], [1, 0]], [3, 2], { dtype: 'f64' });
    const energy = (filters: Tensor) => hypersphericalEnergy(filters, { halfSpace: true }).item();
    expect(energy(w)).toBeCloseTo(energy(equal), 9);
    expect(energy(w)).toBeGreaterThan(100 * hypersphericalEnergy(w).item());
  });

  test('the mean angle to the nearest filter', () => {
    expect(minimalAngle(w).item()).toBeCloseTo(-Math.PI / 2, 12);
    expect(minimalAngle(tensor([[1, 0], [1, 1], [-1, 0]])).item()).toBeCloseTo(-(Math.PI / 4 + Math.PI / 4 + (3 * Math.PI) / 4) / 3, 6);
  });
});

describe('errors', () => {
  const w = random([2, 3], 1, 'f32');
  const [vector, empty, integers] = [ones([3]), ones([0, 3]), zeros([2, 3], { dtype: 'i32' })];
  const gone = ones([2, 3]);
  gone.dispose();

  test.each<[string, () => Tensor, typeof DataError, string, RegExp]>([
    ['rank', () => hypersphericalEnergy(vector), ShapeError, 'weight', /weight must have shape \[O, ...\].*but has \[3\]/],
    ['empty', () => minimalAngle(empty), ShapeError, 'weight', /but has \[0, 3\]/],
    ['integers', () => minimalAngle(integers), DTypeError, 'weight', /weight must be f32 or f64/],
    ['disposed', () => hypersphericalEnergy(gone), DisposedError, 'weight', /weight of shape \[2, 3\]/],
    ['power', () => hypersphericalEnergy(w, { power: 3 as never }), OptionError, 'power', /one of 0, 1, 2, but got 3/],
    ['half space', () => hypersphericalEnergy(w, { halfSpace: 1 as never }), OptionError, 'halfSpace', /true or false/],
    ['unknown option', () => hypersphericalEnergy(w, { s: 1 } as never), OptionError, 's', /hypersphericalEnergy has no option/],
  ])('%s', (_, run, type, argument, message) => {
    expectError(run, type, argument, message);
  });
});
