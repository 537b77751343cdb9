import { DisposedError, DTypeError, OptionError, ShapeError } from '../lib/errors';
import { memoryStats } from '../lib/device';
import { add, conv2d, flatten, linear, matmul, maxPool2d, relu, reshape, scale, softmaxCrossEntropy, sphereConv2d, sum } from '../lib/ops';
import { noGrad, ones, type Tensor, tensor } from '../lib/tensor';
import { expectGradients } from './support/gradcheck';
import { expectError, random, randomLabels } from './support/tensors';

const leafOf = (...values: number[]) => tensor(values, [values.length], { requiresGrad: true });
const gradientOf = (leaf: Tensor) => Array.from(leaf.grad!.data());

describe('gradients of graphs', () => {
  test.each<[string, (x: Tensor) => Tensor]>([
    ['a chain', (x) => scale(relu(scale(x, 2)), 3)],
    ['x + x', (x) => add(x, x)],
    ['a diamond', (x) => add(scale(x, 2), relu(x))],
    ['a diamond of a result', (x) => { const y = scale(x, 2); return add(relu(y), y); }],
    ['many uses', (x) => { const y = relu(x); return add(add(y, y), add(y, x)); }],
    ['a product with itself', (x) => matmul(x, x, { transposeB: true })],
    ['two paths through views', (x) => add(reshape(x, [9]), reshape(scale(x, 2), [9]))],
    ['a view of a result and the result', (x) => { const y = relu(x); return add(sum(reshape(y, [9])), sum(y)); }],
    ['a long skip', (x) => add(scale(scale(scale(x, 2), 2), 2), x)],
  ])('%s', (_, run) => {
    expectGradients(run, random([3, 3], 1));
  });
});

describe('leaves', () => {
  test('gradients of two backward calls add up', () => {
    const x = leafOf(1, 2);
    sum(scale(x, 3)).backward();
    const first = x.grad;
    sum(scale(x, 4)).backward();
    expect(gradientOf(x)).toEqual([7, 7]);
    expect(first!.disposed).toBe(true);
  });

  test('of two leaves of one sum each has a gradient of its own', () => {
    const [a, b] = [leafOf(1), leafOf(2)];
    add(a, b).backward();
    a.grad!.dispose();
    expect(gradientOf(b)).toEqual([1]);
  });

  test('those that require none get none', () => {
    const [a, b] = [leafOf(1), leafOf(2)];
    b.requiresGrad = false;
    add(a, b).backward();
    expect([gradientOf(a), b.grad]).toEqual([[1], null]);
  });

  test('without any, nothing is recorded', () => {
    const y = add(ones([1]), ones([1]));
    expect([y.requiresGrad, y.node]).toEqual([false, null]);
  });

  test('the gradient passed in stays the caller\'s', () => {
    const [x, gradient] = [leafOf(1, 2), tensor([5, 6])];
    reshape(x, [2]).backward({ gradient });
    expect(gradientOf(x)).toEqual([5, 6]);
    expect(gradient.disposed).toBe(false);
    x.grad!.dispose();
    expect(gradient.toArray()).toEqual([5, 6]);
  });

  test('detach ends the tape', () => {
    const x = leafOf(2);
    const y = scale(x, 3);
    add(y.detach(), x).backward();
    expect(gradientOf(x)).toEqual([1]);
  });

  test('backward inside noGrad works on a graph from outside', () => {
    const x = leafOf(1);
    const y = scale(x, 3);
    noGrad(() => {
      y.backward();
    });
    expect(gradientOf(x)).toEqual([3]);
  });
});

describe('release', () => {
  test('backward releases intermediate results, not leaves and not its root', () => {
    const x = leafOf(1, 2);
    const middle = scale(x, 2);
    const root = sum(middle);
    root.backward();
    expect([x, middle, root].map((found) => found.disposed)).toEqual([false, true, false]);
    expectError(() => middle.data(), DisposedError, 'tensor', /backward\(\) released it as an intermediate result; call keep\(\)/);
    expectError(() => scale(middle, 2), DisposedError, 'x', /x of shape \[2\].*backward\(\) released it/);
  });

  test('keep() holds a result', () => {
    const x = leafOf(1, 2);
    const middle = scale(x, 2).keep();
    sum(middle).backward();
    expect(middle.toArray()).toEqual([2, 4]);
  });

  test('nothing but leaves, gradients and the root is left', () => {
    const [x, w] = [random([2, 6, 6, 3], 1, 'f32'), random([4, 3, 3, 3], 2, 'f32')];
    sum(sphereConv2d(x, w)).backward();
    const { storages, allocated } = memoryStats();
    const loss = sum(relu(sphereConv2d(x, w)));
    loss.backward();
    loss.dispose();
    expect(memoryStats()).toMatchObject({ storages, allocated });
  });

  test('of a branch that the loss does not reach, nothing is touched', () => {
    const x = leafOf(1);
    const [used, unused] = [scale(x, 2), scale(x, 3)];
    sum(used).backward();
    expect(unused.item()).toBe(3);
    unused.backward();
    expect(gradientOf(x)).toEqual([5]);
  });

  test('retainGraph allows a second backward', () => {
    const x = leafOf(1, 2);
    const middle = relu(x);
    const root = sum(middle);
    root.backward({ retainGraph: true });
    expect(middle.disposed).toBe(false);
    root.backward();
    expect(gradientOf(x)).toEqual([2, 2]);
    expect(middle.disposed).toBe(true);
  });
});

describe('errors', () => {
  test('nothing recorded', () => {
    const constant = ones([1]);
    const x = leafOf(1);
    const y = noGrad(() => scale(x, 2));
    for (const root of [constant, x, y]) {
      expectError(() => { root.backward(); }, OptionError, 'tensor', /backward\(\) needs a tensor that was computed from one with requiresGrad/);
    }
  });

  test('differentiated before', () => {
    const x = leafOf(1);
    const y = scale(x, 2);
    y.backward();
    expectError(() => { y.backward(); }, OptionError, 'tensor', /not yet differentiated/);
    expect(gradientOf(x)).toEqual([2]);
  });

  test('a shared result that an earlier backward took', () => {
    const x = leafOf(1);
    const shared = scale(x, 2).keep();
    const [first, second] = [scale(shared, 3), scale(shared, 5)];
    first.backward();
    expectError(() => { second.backward(); }, OptionError, 'tensor', /an earlier backward\(\) differentiated.*retainGraph/);
    expect(gradientOf(x)).toEqual([6]);
    expect(shared.grad).toBeNull();
  });

  test('no gradient for more than one element, or a wrong one', () => {
    const x = leafOf(1, 2);
    const y = scale(x, 2);
    const [column, double] = [ones([2, 1]), ones([2], { dtype: 'f64' })];
    expectError(() => { y.backward(); }, ShapeError, 'gradient', /shape \[2\] needs options.gradient of that shape/);
    expectError(() => { y.backward({ gradient: column }); }, ShapeError, 'gradient', /gradient has shape \[2, 1\], but \[2\] is needed/);
    expectError(() => { y.backward({ gradient: double }); }, DTypeError, 'gradient', /must be f32 like its tensor, but is f64/);
    y.backward({ gradient: ones([2]) });
    expect(gradientOf(x)).toEqual([2, 2]);
  });

  test('an input that was disposed before backward', () => {
    const x = ones([1, 4, 4, 1]);
    const w = ones([1, 3, 3, 1], { requiresGrad: true });
    const y = sum(conv2d(x, w));
    x.dispose();
    expect(() => { y.backward(); }).toThrow(DisposedError);
  });
});

describe('a training loop without a single dispose', () => {
  const images = random([4, 12, 12, 3], 1, 'f32');
  images.requiresGrad = false;
  const labels = randomLabels(4, 5, 2);
  const parameters = [random([8, 3, 3, 3], 3, 'f32'), random([16, 3, 3, 8], 4, 'f32'), random([5, 144], 5, 'f32'), random([5], 6, 'f32')];

  /** As an optimizer does it. */
  function zeroGradients(): void {
    for (const parameter of parameters) {
      parameter.grad?.dispose();
      parameter.grad = null;
    }
  }

  function iterate(): Tensor {
    const [first, second, weight, bias] = parameters;
    const low = maxPool2d(relu(conv2d(images, first, { padding: 1 })), { kernelSize: 2 });
    const high = maxPool2d(relu(sphereConv2d(low, second, { padding: 1 })), { kernelSize: 2 });
    const loss = softmaxCrossEntropy(linear(flatten(high), weight, { bias }), labels);
    zeroGradients();
    loss.backward();
    return loss;
  }

  test('holds a flat line over 300 iterations', () => {
    for (let i = 0; i < 3; i++) iterate();
    const before = memoryStats();
    const losses = Array.from({ length: 300 }, iterate);
    const after = memoryStats();
    // The losses themselves, which this test holds: 300 smallest blocks.
    const held = losses.length * 64;
    expect(after.allocated - before.allocated).toBeLessThanOrEqual(held);
    expect(after.storages - before.storages).toBeLessThanOrEqual(losses.length);
    expect(after.reserved - before.reserved).toBeLessThanOrEqual(held);
    expect(after.peak - before.peak).toBeLessThanOrEqual(held);
    for (const loss of losses) loss.dispose();
    expect(memoryStats().allocated).toBeLessThanOrEqual(before.allocated);
    expect(parameters.every((parameter) => parameter.grad?.data().some((value) => value !== 0))).toBe(true);
  });
});
