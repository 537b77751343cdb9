import { DataError, DisposedError, DTypeError, OptionError, ShapeError } from '../../lib/errors';
import { memoryStats } from '../../lib/device';
import {
  angularLogits,
  type AngularOperator,
  angularOperators,
  angularSoftmax,
  type AngularSoftmaxOptions,
  marginFunctions,
  multiMargin,
  scale,
  softmaxCrossEntropy,
} from '../../lib/ops';
import { noGrad, ones, type Tensor, tensor, zeros } from '../../lib/tensor';
import { angularValue } from '../support/angular';
import { expectGradients } from '../support/gradcheck';
import { type Inputs, type Params, testParity } from '../support/parity';
import { angle, dot, expectError, isFinite, isZero, norm, random, randomLabels, relativeError } from '../support/tensors';

function lossOf(inputs: Inputs, params: Params): Record<string, Tensor> {
  const { x, w, radius, logits, labels } = inputs;
  const { loss: kind, ...options } = params;
  if (kind === 'softmax') return { loss: softmaxCrossEntropy(logits, labels, options) };
  if (kind === 'hinge') return { loss: multiMargin(logits, labels, options) };
  if ('radius' in inputs) return { ...angularSoftmax(x, w, labels, { ...options, radius }) };
  return { ...angularSoftmax(x, w, labels, options) };
}

testParity('losses.safetensors', lossOf);

describe('softmax cross entropy', () => {
  test.each([0, 0.01, 0.3])('gradients with label smoothing %p', (labelSmoothing) => {
    const labels = randomLabels(5, 4, 1);
    expectGradients((logits) => softmaxCrossEntropy(logits, labels, { labelSmoothing }), random([5, 4], 2));
    expectGradients((logits) => scale(softmaxCrossEntropy(scale(logits, 3), labels, { labelSmoothing }), -2), random([5, 4], 3));
  });

  test('of equal logits is log(classes), with any smoothing', () => {
    for (const labelSmoothing of [0, 0.1]) {
      expect(softmaxCrossEntropy(zeros([3, 10]), randomLabels(3, 10, 1), { labelSmoothing }).item()).toBeCloseTo(Math.log(10), 6);
    }
  });

  test.each(['f32', 'f64'] as const)('of huge logits is finite in %s', (dtype) => {
    const logits = tensor([[1e4, -1e4, 0]], [1, 3], { dtype, requiresGrad: true });
    const loss = softmaxCrossEntropy(logits, tensor(Int32Array.of(1)), { labelSmoothing: 0.1 });
    // The largest logit, less the mean of the logits under (0.1 / 3, 0.9 + 0.1 / 3, 0.1 / 3).
    expect(loss.item() / (1e4 + 0.9 * 1e4)).toBeCloseTo(1, 6);
    loss.backward();
    expect(isFinite(logits.grad!)).toBe(true);
  });

  test.each([1e-4, 0.1, 1])('with a guard of %p inside the logarithm', (logGuard) => {
    const labels = randomLabels(5, 4, 1);
    for (const labelSmoothing of [0, 0.2]) {
      const loss = (logits: Tensor) => softmaxCrossEntropy(logits, labels, { labelSmoothing, logGuard });
      expectGradients((logits) => scale(loss(scale(logits, 3)), -2), random([5, 4], 2));

      const logits = random([5, 4], 3);
      const samples = [...labels.data()].map((label, i) => {
        const powers = [...logits.data().slice(4 * i, 4 * i + 4)].map(Math.exp);
        const total = powers.reduce((a, b) => a + b);
        return powers.reduce((sum, power, j) =>
          sum - (labelSmoothing / 4 + (j === label ? 1 - labelSmoothing : 0)) * Math.log(power / total + logGuard), 0);
      });
      expect(loss(logits).item()).toBeCloseTo(samples.reduce((a, b) => a + b) / 5, 12);
    }
  });

  test.each(['f32', 'f64'] as const)('a guard bounds the loss of hopeless logits, and their gradient vanishes, in %s', (dtype) => {
    const logits = tensor([[1e4, -1e4, 0]], [1, 3], { dtype, requiresGrad: true });
    const loss = softmaxCrossEntropy(logits, tensor(Int32Array.of(1)), { logGuard: 1e-4 });
    expect(loss.item()).toBeCloseTo(-Math.log(1e-4), 5);
    loss.backward();
    expect([...logits.grad!.data()].map(Math.abs)).toEqual([0, 0, 0]);
  });
});

const margins = (operator: AngularOperator) => (operator === 'linear' ? [1, 1.5, 2, 2.5, 3, 4] : [1, 2, 3, 4]);

describe.each(angularOperators)('angular softmax, %s', (operator) => {
  const labels = randomLabels(8, 4, 1);
  // Finite differences are many forward passes.
  const few = randomLabels(4, 4, 1);
  const lossWith = (options: AngularSoftmaxOptions) => (x: Tensor, w: Tensor) =>
    scale(angularSoftmax(x, w, few, { operator, ...options }).loss, 0.7);

  describe.each(margins(operator))('margin %p', (margin) => {
    test.each([0, 5])('gradients with annealing %p', (annealing) => {
      expectGradients(lossWith({ margin, annealing }), random([4, 5], 2), random([4, 5], 3));
    });

    test('gradients with a radius', () => {
      expectGradients(lossWith({ margin, radius: 4 }), random([4, 5], 2), random([4, 5], 3));
    });
  });

  test('gradients with a learned radius, also of the features alone', () => {
    const radius = tensor([4], [1], { dtype: 'f64', requiresGrad: true });
    const loss = (x: Tensor, w: Tensor, r: Tensor) => lossWith({ margin: 2, radius: r })(x, w);
    expectGradients(loss, random([4, 5], 2), random([4, 5], 3), radius);
    radius.requiresGrad = false;
    radius.grad = null;
    expectGradients((x) => loss(x, random([4, 5], 3), radius), random([4, 5], 2));
    expect(radius.grad).toBeNull();
    const [x, w] = [random([4, 5], 2), random([4, 5], 3)];
    expect(angularLogits(x, w, { operator, radius }).data()).toEqual(angularLogits(x, w, { operator, radius: 4 }).data());
  });

  if (operator === 'sigmoid') {
    test.each([0.1, 0.7])('gradients with k %p', (k) => {
      expectGradients(lossWith({ k, margin: 2 }), random([4, 5], 2), random([4, 5], 3));
    });
  }

  test('gradients only for what requires one', () => {
    const [x, w] = [random([4, 5], 2), random([4, 5], 3)];
    w.requiresGrad = false;
    lossWith({ margin: 2 })(x, w).backward();
    expect(w.grad).toBeNull();
    expect(x.grad!.shape).toEqual([4, 5]);
  });

  test.each(['f32', 'f64'] as const)('logits and theta in %s: without margin and off the tape', (dtype) => {
    const [x, w] = [random([8, 5], 2, dtype), random([4, 5], 3, dtype)];
    const { loss, logits, theta } = angularSoftmax(x, w, labels, { operator, margin: 3 });
    const rows = (of: Tensor) => Array.from({ length: of.shape[0] }, (_, i) => of.data().slice(i * 5, i * 5 + 5));
    const angles = rows(x).map((feature) => rows(w).map((weight) => angle(feature, weight)));
    const expected = rows(x).flatMap((feature, i) => angles[i].map((found) => norm(feature) * angularValue(operator, found)));
    expect(relativeError(logits.data(), expected)).toBeLessThan(1e-6);
    const own = angles.map((row, i) => row[labels.data()[i]]);
    expect(theta.item()).toBeCloseTo(own.reduce((total, found) => total + found, 0) / 8, 5);
    expect([loss, logits, theta].map((result) => [result.shape, result.requiresGrad])).toEqual([[[], true], [[8, 4], false], [[], false]]);
  });

  test('angularLogits are the logits of the loss', () => {
    const [x, w] = [random([8, 5], 2, 'f32'), random([4, 5], 3, 'f32')];
    for (const options of [{ operator }, { operator, radius: 7 }]) {
      const before = memoryStats().storages;
      const logits = angularLogits(x, w, options);
      expect(memoryStats().storages).toBe(before + 1);
      expect(logits.requiresGrad).toBe(false);
      expect(logits.data()).toEqual(angularSoftmax(x, w, labels, { ...options, margin: 2 }).logits.data());
    }
  });

  test('the length of features counts as a factor, or not at all with a radius', () => {
    const [x, w] = [random([3, 5], 2), random([4, 5], 3)];
    const [long, longW] = noGrad(() => [scale(x, 3), scale(w, 5)]);
    const logits = angularLogits(x, w, { operator });
    expect(relativeError(angularLogits(long, longW, { operator }).data(), logits.data().map((found) => 3 * found))).toBeLessThan(1e-12);
    const fixed = angularLogits(x, w, { operator, radius: 4 });
    expect(relativeError(angularLogits(long, longW, { operator, radius: 4 }).data(), fixed.data())).toBeLessThan(1e-12);
  });

  test('gradients have no part along the weights, nor with a radius along the features', () => {
    const [x, w] = [random([8, 5], 2), random([4, 5], 3)];
    angularSoftmax(x, w, labels, { operator, margin: 2, radius: 4 }).loss.backward();
    for (const [matrix, gradient] of [[x, x.grad!], [w, w.grad!]]) {
      expect(norm(gradient.data())).toBeGreaterThan(0);
      for (let row = 0; row < matrix.shape[0]; row++) {
        const [from, to] = [row * 5, row * 5 + 5];
        expect(Math.abs(dot(matrix.data().slice(from, to), gradient.data().slice(from, to)))).toBeLessThan(1e-12);
      }
    }
  });

  test('zero features and weights: a finite loss, and no gradient for them', () => {
    const [x, w] = [random([8, 5], 2, 'f32'), random([4, 5], 3, 'f32')];
    x.assign(x.data().fill(0, 0, 5));
    w.assign(w.data().fill(0, 5, 10));
    const { loss, logits } = angularSoftmax(x, w, labels, { operator, margin: 2 });
    expect(isFinite(logits)).toBe(true);
    expect(isZero(logits.data().slice(0, 4))).toBe(true);
    loss.backward();
    expect(isZero(x.grad!.data().slice(0, 5))).toBe(true);
    expect(isZero(w.grad!.data().slice(5, 10))).toBe(true);
    expect([x.grad!, w.grad!].map(isFinite)).toEqual([true, true]);
    expect(isZero(x.grad!.data())).toBe(false);
  });

  test.each(['f32', 'f64'] as const)('at the poles: finite in %s', (dtype) => {
    for (const [factor, margin] of [[3, 1], [3, 4], [-0.5, 1], [-0.5, 4]]) {
      const w = random([4, 5], 3, dtype);
      const x = noGrad(() => scale(w, factor));
      x.requiresGrad = true;
      const { loss, theta } = angularSoftmax(x, w, tensor(Int32Array.of(0, 1, 2, 3)), { operator, margin });
      expect(Math.abs(theta.item() - (factor > 0 ? 0 : Math.PI))).toBeLessThan(1e-3);
      loss.backward();
      expect([loss, x.grad!, w.grad!].map(isFinite)).toEqual([true, true, true]);
    }
  });

  test.each([1e-3, 0.01, Math.PI - 0.01, Math.PI - 1e-3])('a small step down lowers an angle of %p to the own class', (theta) => {
    for (const dtype of ['f32', 'f64'] as const) {
      const x = tensor([[Math.cos(theta), Math.sin(theta)]], [1, 2], { dtype, requiresGrad: true });
      const w = tensor([[1, 0], [0, 0]], [2, 2], { dtype });
      angularSoftmax(x, w, tensor(Int32Array.of(0)), { operator, margin: 2, radius: 1 }).loss.backward();
      const [values, gradient] = [x.data(), x.grad!.data()];
      const reach = (0.1 * Math.sin(theta)) / norm(gradient);
      const moved = Array.from(values, (found, i) => found - reach * gradient[i]);
      expect(angle(values, [1, 0]) - angle(moved, [1, 0])).toBeGreaterThan(0.05 * Math.sin(theta));
    }
  });
});

function marginValue(operator: AngularOperator, theta: number, m: number): number {
  if (operator === 'linear') return 1 - (2 * m * theta) / Math.PI;
  const sector = Math.min(Math.floor((m * theta) / Math.PI), m - 1);
  return angularValue(operator, m * theta - sector * Math.PI) - 2 * sector;
}

/** g_m(theta), read off the loss of one feature of length 1 between its class and one without direction. */
function measured(operator: AngularOperator, theta: number, options: AngularSoftmaxOptions): number {
  return noGrad(() => {
    const x = tensor([[Math.cos(theta), Math.sin(theta)]], [1, 2], { dtype: 'f64' });
    const w = tensor([[2, 0], [0, 0]], [2, 2], { dtype: 'f64' });
    const { loss } = angularSoftmax(x, w, tensor(Int32Array.of(0)), { operator, ...options });
    return -Math.log(Math.expm1(loss.item()));
  });
}

describe.each(angularOperators.flatMap((operator) => [...margins(operator), 5].map((m) => [operator, m] as const)))(
  'g_m of %s with m = %p',
  (operator, m) => {
    // annealedMargins.test.ts has a finer grid, many angles a call.
    const steps = 120;
    const angles = Array.from({ length: steps + 1 }, (_, i) => (i * Math.PI) / steps);
    const values = angles.map((theta) => measured(operator, theta, { margin: m }));

    test('is g(m theta - j pi) - 2j', () => {
      expect(relativeError(values, angles.map((theta) => marginValue(operator, theta, m)))).toBeLessThan(1e-7);
    });

    test('falls everywhere, from 1 to 1 - 2m', () => {
      expect(values.slice(1).filter((found, i) => found >= values[i])).toEqual([]);
      expect(relativeError([values[0], values[steps]], [1, 1 - 2 * m])).toBeLessThan(1e-7);
    });

    test('is continuous at the borders of its sectors', () => {
      for (let j = 1; j < m; j++) {
        const border = (j * Math.PI) / m;
        const [before, after] = [measured(operator, border - 1e-9, { margin: m }), measured(operator, border + 1e-9, { margin: m })];
        expect(Math.abs(before - after)).toBeLessThan(1e-6);
      }
    });

    test('is drawn towards g by annealing', () => {
      for (const theta of [0.3, 1.1, 2, 3]) {
        const expected = (5 * angularValue(operator, theta) + marginValue(operator, theta, m)) / 6;
        expect(measured(operator, theta, { margin: m, annealing: 5 })).toBeCloseTo(expected, 9);
      }
    });
  },
);

describe.each(angularOperators)('additive margins of %s', (operator) => {
  const angles = Array.from({ length: 101 }, (_, i) => (i * Math.PI) / 100);
  const own = (theta: number, options: AngularSoftmaxOptions) => measured(operator, theta, options);

  test.each([0, 0.3, 0.5, 1.2, Math.PI])('on the angle, m = %p: g(theta + m), continuous and falling', (margin) => {
    const options = { marginFunction: 'additive-angle', margin } as const;
    const values = angles.map((theta) => own(theta, options));
    const expected = angles.map((theta) =>
      theta + margin <= Math.PI
        ? angularValue(operator, theta + margin)
        : -1 + angularValue(operator, theta) - angularValue(operator, Math.PI - margin),
    );
    expect(relativeError(values, expected)).toBeLessThan(1e-7);
    // The square is flat at pi / 2.
    expect(values.slice(1).filter((found, i) => found > values[i] + 1e-12)).toEqual([]);
  });

  test('on the value: g(theta) - m', () => {
    for (const theta of [0, 0.3, 1.1, 2, Math.PI]) {
      expect(own(theta, { marginFunction: 'additive-value', margin: 0.35 })).toBeCloseTo(angularValue(operator, theta) - 0.35, 9);
    }
  });

  const labels = randomLabels(4, 4, 1);
  test.each<AngularSoftmaxOptions>([
    { marginFunction: 'additive-angle', margin: 0.5, radius: 4 },
    { marginFunction: 'additive-angle', margin: 2.5, annealing: 3 },
    { marginFunction: 'additive-value', margin: 0.35, radius: 4 },
    { marginFunction: 'additive-value', margin: 1.5 },
  ])('gradients with %p', (options) => {
    expectGradients((x, w) => angularSoftmax(x, w, labels, { operator, ...options }).loss, random([4, 5], 2), random([4, 5], 3));
  });

  test('no margin by default', () => {
    const [x, w] = [random([4, 5], 2, 'f32'), random([4, 5], 3, 'f32')];
    const lossOf = (options: AngularSoftmaxOptions) => angularSoftmax(x, w, labels, { operator, ...options }).loss.item();
    for (const marginFunction of marginFunctions) expect(lossOf({ marginFunction })).toBeCloseTo(lossOf({}), 6);
  });

  test('at the poles: finite', () => {
    for (const marginFunction of ['additive-angle', 'additive-value'] as const) {
      for (const factor of [3, -0.5]) {
        const w = random([4, 5], 3, 'f32');
        const x = noGrad(() => scale(w, factor));
        x.requiresGrad = true;
        const { loss } = angularSoftmax(x, w, tensor(Int32Array.of(0, 1, 2, 3)), { operator, marginFunction, margin: 0.5 });
        loss.backward();
        expect([loss, x.grad!, w.grad!].map(isFinite)).toEqual([true, true, true]);
      }
    }
  });
});

describe('errors', () => {
  const [x, w, labels] = [random([2, 3], 1, 'f32'), random([4, 3], 2, 'f32'), randomLabels(2, 4, 3)];
  const [logits, vector, wide, double] = [random([2, 4], 4, 'f32'), ones([3]), ones([4, 5]), ones([4, 3], { dtype: 'f64' })];
  const [tooLarge, negative] = [tensor(Int32Array.of(0, 4)), tensor(Int32Array.of(-1, 0))];
  const [floats, three] = [zeros([2]), randomLabels(3, 4, 5)];
  const k = ones([1]);
  const radii = ones([1], { dtype: 'f64' });
  const gone = ones([2, 3]);
  gone.dispose();
  const angular = (options: object, target = labels) => () => angularSoftmax(x, w, target, options);

  test.each<[string, () => unknown, typeof DataError, string, RegExp]>([
    ['rank of logits', () => softmaxCrossEntropy(vector, labels), ShapeError, 'logits', /logits must have shape \[N, classes\], but has \[3\]/],
    ['label too large', () => softmaxCrossEntropy(logits, tooLarge), DataError, 'labels', /labels\[1\] is 4, but there are 4 classes: 0 to 3/],
    ['label negative', () => softmaxCrossEntropy(logits, negative), DataError, 'labels', /labels\[0\] is -1/],
    ['labels not i32', () => softmaxCrossEntropy(logits, floats), DTypeError, 'labels', /labels must be i32, but are f32/],
    ['labels no tensor', () => softmaxCrossEntropy(logits, [0, 1] as never), DTypeError, 'labels', /must be a Tensor, but got \[0, 1\]/],
    ['number of labels', () => softmaxCrossEntropy(logits, three), ShapeError, 'labels', /labels must have shape \[2\], but has \[3\]/],
    ['a guard below 0', () => softmaxCrossEntropy(logits, labels, { logGuard: -1e-4 }), OptionError, 'logGuard', /at least 0/],
    ['smoothing of 1', () => softmaxCrossEntropy(logits, labels, { labelSmoothing: 1 }), OptionError, 'labelSmoothing', /less than 1, but got 1/],
    ['integers as logits', () => softmaxCrossEntropy(labels, labels), DTypeError, 'logits', /logits must be f32 or f64/],
    ['unknown option', () => softmaxCrossEntropy(logits, labels, { smoothing: 0.1 } as never), OptionError, 'smoothing', /softmaxCrossEntropy has no option/],
    ['disposed logits', () => softmaxCrossEntropy(gone, labels), DisposedError, 'logits', /logits of shape \[2, 3\]/],

    ['rank of x', () => angularSoftmax(vector, w, labels), ShapeError, 'x', /x must have shape \[N, D\]/],
    ['rank of weight', () => angularSoftmax(x, vector, labels), ShapeError, 'weight', /weight must have shape \[O, D\]/],
    ['features', () => angularSoftmax(x, wide, labels), ShapeError, 'x', /x has 3 features.*takes 5/],
    ['dtypes', () => angularSoftmax(x, double, labels), DTypeError, 'weight', /weight is f64 but x is f32/],
    ['label out of range', angular({}, tooLarge), DataError, 'labels', /labels\[1\] is 4/],
    ['float labels', angular({}, floats), DTypeError, 'labels', /labels must be i32/],
    ['too many labels', angular({}, three), ShapeError, 'labels', /labels must have shape \[2\]/],
    ['operator', angular({ operator: 'arc' }), OptionError, 'operator', /"linear", "cosine", "sigmoid".*, but got "arc"/],
    ['k of the cosine', angular({ operator: 'cosine', k: 0.3 }), OptionError, 'k', /k belongs to the sigmoid operator/],
    ['k of 0', angular({ k: 0 }), OptionError, 'k', /greater than 0/],
    ['k a tensor', angular({ k }), OptionError, 'k', /k must be a number.*got a Tensor/],
    ['margin below 1', angular({ operator: 'linear', margin: 0.5 }), OptionError, 'margin', /at least 1.*, but got 0.5/],
    ['fraction as margin', angular({ operator: 'cosine', margin: 1.5 }), OptionError, 'margin', /an integer at least 1.*, but got 1.5/],
    ['fraction as margin, default operator', angular({ margin: 2.5 }), OptionError, 'margin', /an integer/],
    ['margin function', angular({ marginFunction: 'arc' }), OptionError, 'marginFunction', /one of "multiplicative", .*, but got "arc"/],
    ['margin on the angle', angular({ marginFunction: 'additive-angle', margin: 4 }), OptionError, 'margin', /at most 3.14/],
    ['margin on the value', angular({ marginFunction: 'additive-value', margin: -1 }), OptionError, 'margin', /at least 0.*, but got -1/],
    ['annealing', angular({ annealing: -1 }), OptionError, 'annealing', /at least 0, but got -1/],
    ['radius', angular({ radius: 0 }), OptionError, 'radius', /greater than 0.*but got 0/],
    ['radius beyond float32', angular({ radius: 1e300 }), OptionError, 'radius', /at most 1000000, but got 1e\+300/],
    ['dtype of a radius', angular({ radius: radii }), DTypeError, 'radius', /radius is f64 but x is f32/],
    ['shape of a radius', angular({ radius: vector }), ShapeError, 'radius', /radius must have shape \[1\], but has \[3\]/],
    ['margin beyond reach', angular({ marginFunction: 'additive-value', margin: 3 }), OptionError, 'margin', /at most 2, but got 3/],
    ['margin without end', angular({ operator: 'cosine', margin: 1e9 }), OptionError, 'margin', /at most 100/],
    ['unknown option of angularSoftmax', angular({ m: 4 }), OptionError, 'm', /angularSoftmax has no option "m"/],
    ['disposed weight', () => angularSoftmax(x, gone, labels), DisposedError, 'weight', /weight of shape/],

    ['features of angularLogits', () => angularLogits(x, wide), ShapeError, 'x', /x has 3 features/],
    ['margin of angularLogits', () => angularLogits(x, w, { margin: 2 } as never), OptionError, 'margin', /angularLogits has no option "margin"/],
    ['radius of angularLogits', () => angularLogits(x, w, { radius: -1 }), OptionError, 'radius', /greater than 0/],
  ])('%s', (_, run, type, argument, message) => {
    expectError(run, type, argument, message);
  });
});
