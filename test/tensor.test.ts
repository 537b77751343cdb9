import { DataError, DeviceError, DisposedError, DTypeError, OptionError, ShapeError } from '../lib/errors';
import { memoryStats } from '../lib/device';
import { hostArray } from '../lib/hostArrays';
import { add, conv2d, relu, scale } from '../lib/ops';
import { type DType, full, isGradEnabled, noGrad, ones, Tensor, tensor, tidy, zeros } from '../lib/tensor';
import { testDevice } from './support/device';
import { expectError } from './support/tensors';

const storages = () => memoryStats().storages;

describe('creation', () => {
  test.each<[string, () => Tensor, number[], DType, number[]]>([
    ['a number', () => tensor(3), [], 'f32', [3]],
    ['an array', () => tensor([1, 2, 3]), [3], 'f32', [1, 2, 3]],
    ['nested arrays', () => tensor([[1, 2], [3, 4], [5, 6]]), [3, 2], 'f32', [1, 2, 3, 4, 5, 6]],
    ['an empty array', () => tensor([]), [0], 'f32', []],
    ['nested arrays under a shape', () => tensor([[1, 2], [3, 4]], [4, 1]), [4, 1], 'f32', [1, 2, 3, 4]],
    ['numbers as f64', () => tensor([0.1], [1], { dtype: 'f64' }), [1], 'f64', [0.1]],
    ['numbers as i32', () => tensor([-1, 2], [2], { dtype: 'i32' }), [2], 'i32', [-1, 2]],
    ['a Float32Array', () => tensor(Float32Array.of(1.5, 2)), [2], 'f32', [1.5, 2]],
    ['a Float64Array', () => tensor(Float64Array.of(0.1, 0.2), [1, 2]), [1, 2], 'f64', [0.1, 0.2]],
    ['an Int32Array', () => tensor(Int32Array.of(7, -7)), [2], 'i32', [7, -7]],
    ['a Uint8Array', () => tensor(Uint8Array.of(0, 255)), [2], 'u8', [0, 255]],
    ['an Int32Array as f32', () => tensor(Int32Array.of(1, 2), [2], { dtype: 'f32' }), [2], 'f32', [1, 2]],
    ['full', () => full([2, 1], 2.5), [2, 1], 'f32', [2.5, 2.5]],
    ['full of i32', () => full([2], 3, { dtype: 'i32' }), [2], 'i32', [3, 3]],
    ['zeros', () => zeros([3]), [3], 'f32', [0, 0, 0]],
    ['ones as f64', () => ones([], { dtype: 'f64' }), [], 'f64', [1]],
  ])('%s', (_, make, shape, dtype, values) => {
    const made = make();
    expect([made.shape, made.dtype, made.device, Array.from(made.data())]).toEqual([shape, dtype, testDevice, values]);
    expect(made.size).toBe(values.length);
    expect(made.requiresGrad).toBe(false);
  });

  test('cast rounds to the nearest, keeps NaN and infinity, and passes the gradient back', () => {
    const values = [1, 1 + 2 ** -8, 1 + 3 * 2 ** -8, -3.14159, 1e-40, Infinity, NaN];
    const x = tensor(values, undefined, { requiresGrad: true });
    const halves = x.cast('bf16');
    expect([halves.dtype, halves.bytes, halves.shape]).toEqual(['bf16', 14, [7]]);
    const rounded = Array.from(halves.data());
    // Halves of the last place go to the even neighbour.
    expect(rounded.slice(0, 3)).toEqual([1, 1, 1 + 2 ** -6]);
    expect(rounded[3]).toBeCloseTo(-3.14159, 1);
    expect(rounded.slice(5)).toEqual([Infinity, NaN]);
    const back = halves.cast('f32');
    expect(Array.from(back.data())).toEqual(rounded);
    back.backward({ gradient: tensor([1, 2, 3, 4, 5, 6, 7]) });
    expect(Array.from(x.grad!.data())).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(Array.from(tensor([1.5, -2], undefined, { dtype: 'f64' }).cast('f32').data())).toEqual([1.5, -2]);
    expect(Array.from(tensor(Uint8Array.of(0, 255)).cast('f32').data())).toEqual([0, 255]);
    expect(Array.from(full([2], 0.1, { dtype: 'bf16' }).data())).toEqual(Array.from(tensor([0.1, 0.1], [2], { dtype: 'bf16' }).data()));
  });

  test('cast to and from integers: nearest numbers that fit, a NaN is 0, and no gradient', () => {
    const x = tensor([-1, 300, 2.9, NaN, -Infinity, 1e10], undefined, { requiresGrad: true });
    expect(Array.from(x.cast('u8').data())).toEqual([0, 255, 2, 0, 0, 255]);
    expect(Array.from(x.cast('i32').data())).toEqual([-1, 300, 2, 0, -(2 ** 31), 2 ** 31 - 1]);
    const back = x.cast('i32').cast('f32');
    expect([x.cast('u8').requiresGrad, back.requiresGrad, back.node]).toEqual([false, false, null]);
  });

  test('a bf16 result that is used twice adds its gradients up', () => {
    const x = tensor([1, 2], undefined, { requiresGrad: true });
    const halves = x.cast('bf16');
    add(halves.cast('f32'), scale(halves.cast('f32'), 2)).backward({ gradient: tensor([1, 10]) });
    expect(Array.from(x.grad!.data())).toEqual([3, 30]);
  });

  test('bf16 is for storage: copies and moves work, operators refuse it', () => {
    const x = tensor([1, 2], [2], { dtype: 'bf16' });
    expect([x.clone(), x.to('cpu'), zeros([2], { dtype: 'bf16' }).assign(x)].map((each) => Array.from(each.data()))).toEqual([[1, 2], [1, 2], [1, 2]]);
    expectError(() => relu(x), DTypeError, 'x', /x must be f32 or f64, but is bf16/);
    expectError(() => x.assign(Float32Array.of(1, 2)), DTypeError, 'from', /assign\(\) to bf16 needs a tensor/);
    expectError(() => x.cast('f16' as never), OptionError, 'dtype', /one of "f32", .*"bf16", but got "f16"/);
  });

  test('bytes, requiresGrad and a copy of the data', () => {
    const source = Float64Array.of(1, 2);
    const made = tensor(source, [2], { requiresGrad: true });
    source[0] = 9;
    expect([made.bytes, made.requiresGrad, made.data()[0]]).toEqual([16, true, 1]);
    expect([zeros([3], { dtype: 'u8' }).bytes, zeros([2, 3]).bytes]).toEqual([3, 24]);
  });

  test('the shape cannot be changed, nor can the dtype', () => {
    const made = zeros([2, 3]);
    const changes: (() => void)[] = [
      () => (made.shape as number[]).pop(),
      () => (made.shape as number[]).reverse(),
      () => { (made.shape as number[])[0] = 7; },
      () => { Object.assign(made, { shape: [7] }); },
      () => { Object.assign(made, { dtype: 'f64' }); },
    ];
    for (const change of changes) expect(change).toThrow(TypeError);
    for (const each of [made, made.detach(), relu(made), made.cast('f64')]) expect(Object.isFrozen(each.shape)).toBe(true);
    expect([made.shape, made.dtype, relu(made).shape]).toEqual([[2, 3], 'f32', [2, 3]]);
  });

  test('the shape is a copy', () => {
    const shape = [2, 3];
    const made = zeros(shape);
    shape[0] = 7;
    expect(made.shape).toEqual([2, 3]);
  });

  test.each<[string, () => unknown, typeof DataError, string, RegExp]>([
    ['uneven rows', () => tensor([[1, 2], [3]]), ShapeError, 'data', /nested evenly: 1 entries stand where 2 were expected/],
    ['a number among arrays', () => tensor([[1], 2] as never), ShapeError, 'data', /a number stands where an array was expected/],
    ['an array among numbers', () => tensor([1, [2]] as never), ShapeError, 'data', /1 entries stand where a number/],
    ['a string', () => tensor(['1'] as never), DTypeError, 'data', /data must hold numbers, but holds "1"/],
    ['no data', () => tensor(undefined as never), DTypeError, 'data', /but got undefined/],
    ['another typed array', () => tensor(new Int16Array(2) as never), DTypeError, 'data', /Float32, Float64, Int32 or Uint8Array, but got Int16Array/],
    ['too few numbers', () => tensor([1, 2, 3], [2, 2]), ShapeError, 'data', /data has 3 elements, but shape \[2, 2\] needs 4/],
    ['a fractional extent', () => zeros([1.5]), ShapeError, 'shape', /integers >= 0, but got \[1.5\]/],
    ['a negative extent', () => ones([-1]), ShapeError, 'shape', /\[-1\]/],
    ['too many axes', () => zeros([1, 1, 1, 1, 1, 1, 1]), ShapeError, 'shape', /at most 6/],
    ['more than a device holds', () => zeros([2 ** 33, 2 ** 31]), DeviceError, 'memory', /out of memory.*\[8589934592, 2147483648\]/],
    ['no shape', () => full(3 as never, 1), ShapeError, 'shape', /but got 3/],
    ['another dtype', () => zeros([1], { dtype: 'f16' as never }), OptionError, 'dtype', /"f32", "f64", "i32", "u8", "bf16", but got "f16"/],
    ['an array that holds itself', () => { const a: unknown[] = []; a.push(a); return tensor(a as never); }, ShapeError, 'data', /at most 6 arrays/],
    ['another option', () => zeros([1], { type: 'f32' } as never), OptionError, 'type', /no option "type"/],
    ['NaN in a full i32', () => full([2], NaN, { dtype: 'i32' }), DataError, 'value', /value is NaN, which i32 cannot hold/],
    ['2^31 in a full i32', () => full([2], 2 ** 31, { dtype: 'i32' }), DataError, 'value', /2147483648/],
    ['a fraction in a full u8', () => full([2], 0.5, { dtype: 'u8' }), DataError, 'value', /0.5, which u8/],
    ['a fraction as i32', () => tensor([1, 1.5], [2], { dtype: 'i32' }), DataError, 'data', /data\[1\] is 1.5, which i32 cannot hold/],
    ['NaN as i32', () => tensor([NaN], [1], { dtype: 'i32' }), DataError, 'data', /NaN/],
    ['256 as u8', () => tensor([256], [1], { dtype: 'u8' }), DataError, 'data', /data\[0\] is 256, which u8 cannot hold/],
    ['-1 as u8', () => tensor(Int32Array.of(-1), [1], { dtype: 'u8' }), DataError, 'data', /-1, which u8/],
  ])('rejects %s', (_, run, type, argument, message) => {
    expectError(run, type, argument, message);
  });
});

describe('reading and writing', () => {
  test('toArray nests, item reads the only element', () => {
    const values = [[[1, 2], [3, 4]], [[5, 6], [7, 8]]];
    expect(tensor(values).toArray()).toEqual(values);
    expect(tensor(5).toArray()).toBe(5);
    expect([tensor(5).item(), tensor([[6]]).item()]).toEqual([5, 6]);
    expectError(() => pair.item(), ShapeError, 'tensor', /item\(\) needs a tensor of one element.*\[2\]/);
  });

  const pair = tensor([1, 2]);

  test('data is a copy of the matching type', () => {
    const copy = pair.data();
    copy[0] = 9;
    expect(pair.data()).toEqual(Float32Array.of(1, 2));
    expect(tensor([1], [1], { dtype: 'u8' }).data()).toBeInstanceOf(Uint8Array);
  });

  test('assign takes a typed array or a tensor', () => {
    const target = zeros([2]);
    expect(target.assign(Float32Array.of(3, 4)).toArray()).toEqual([3, 4]);
    expect(target.assign(pair).toArray()).toEqual([1, 2]);
  });

  test.each<[string, () => unknown, typeof DataError, RegExp]>([
    ['length', () => pair.assign(new Float32Array(3)), ShapeError, /from has 3 elements, but shape \[2\] needs 2/],
    ['type', () => pair.assign(new Float64Array(2)), DTypeError, /needs a Float32Array, but got Float64Array/],
    ['shape', () => pair.assign(column), ShapeError, /from has shape \[2, 1\], but \[2\] is needed/],
    ['dtype', () => pair.assign(double), DTypeError, /assign\(\) to f32 got a tensor of f64/],
  ])('assign rejects another %s', (_, run, type, message) => {
    expectError(run, type, 'from', message);
  });

  const [column, double] = [zeros([2, 1]), zeros([2], { dtype: 'f64' })];

  test('clone has memory of its own, detach has not', () => {
    const source = tensor([1, 2], [2], { requiresGrad: true });
    const result = scale(source, 2);
    const [copy, view] = [result.clone(), result.detach()];
    result.assign(Float32Array.of(7, 8));
    expect([copy.toArray(), view.toArray()]).toEqual([[2, 4], [7, 8]]);
    expect([copy.requiresGrad, view.requiresGrad, view.node]).toEqual([false, false, null]);
    result.dispose();
    expect(view.toArray()).toEqual([7, 8]);
  });
});

describe('host memory', () => {
  test('more than the host has is an error, after which everything works', () => {
    expect(() => hostArray('f64', 2 ** 53)).toThrow(new DeviceError('memory', 'out of memory: the host has no array of 9007199254740992 elements of f64'));
    expect(tensor([1, 2]).toArray()).toEqual([1, 2]);
  });

  test('an array whose buffer was transferred or shrunk is an error, not an empty tensor', () => {
    const given = new Float32Array(2);
    structuredClone(given, { transfer: [given.buffer] });
    expect(() => tensor(given)).toThrow(DataError);
    expect(() => zeros([2]).assign(given)).toThrow(/from has no elements any longer: its buffer was transferred or shrunk/);
    const options: object = { maxByteLength: 32 };
    const buffer = new (ArrayBuffer as new (length: number, options: object) => ArrayBuffer)(16, options);
    const view = new Float32Array(buffer, 8, 2);
    (buffer as unknown as { resize: (length: number) => void }).resize(4);
    expect(() => tensor(view)).toThrow(/data has no elements any longer/);
    expect(tensor(new Float32Array(0)).shape).toEqual([0]);
  });
});

describe('release', () => {
  test('dispose gives the memory back, twice is allowed', () => {
    const before = storages();
    const made = zeros([10]);
    expect(storages()).toBe(before + 1);
    made.dispose();
    made.dispose();
    expect(storages()).toBe(before);
    expect(made.disposed).toBe(true);
  });

  test('use after release says what happened', () => {
    const gone = zeros([2, 3]);
    gone.dispose();
    for (const use of [() => gone.data(), () => gone.clone(), () => gone.assign(new Float32Array(6)), () => gone.detach()]) {
      expectError(use, DisposedError, 'tensor', /tensor of shape \[2, 3\] was used after its release: it was disposed/);
    }
    expect(gone.shape).toEqual([2, 3]);
  });

  test('using releases at the end of its block, also when it throws', () => {
    const before = storages();
    const block = () => {
      using made = zeros([4]);
      expect(storages()).toBe(before + 1);
      throw new Error(`a tensor of ${made.size}`);
    };
    expect(block).toThrow('a tensor of 4');
    expect(storages()).toBe(before);
  });

  test('memory is reused', () => {
    zeros([1000]).dispose();
    const { reserved } = memoryStats();
    for (let i = 0; i < 100; i++) zeros([1000]).dispose();
    expect(memoryStats().reserved).toBe(reserved);
  });
});

describe('tidy', () => {
  test('releases what was made in it and not returned', () => {
    const before = storages();
    const kept = tidy(() => {
      const [a, b] = [ones([3]), ones([3])];
      return add(a, b);
    });
    expect(storages()).toBe(before + 1);
    expect(kept.toArray()).toEqual([2, 2, 2]);
  });

  test('finds returned tensors in arrays and plain objects', () => {
    const before = storages();
    const { first, rest } = tidy(() => ({ first: ones([1]), rest: [ones([2]), { last: ones([3]) }] as const, name: 'x' }));
    expect(storages()).toBe(before + 3);
    expect([first, rest[0], rest[1].last].map((found) => found.size)).toEqual([1, 2, 3]);
  });

  test('keep() excepts a tensor', () => {
    let kept: Tensor | undefined;
    tidy(() => {
      kept = ones([1]).keep();
    });
    expect(kept!.item()).toBe(1);
    kept!.dispose();
    expect(kept!.disposed).toBe(true);
  });

  test('leaves tensors from outside alone', () => {
    const outside = ones([1]);
    tidy(() => scale(outside, 2));
    expect(outside.disposed).toBe(false);
  });

  test('what an inner scope returns belongs to the outer one', () => {
    const before = storages();
    let inner: Tensor | undefined;
    const outer = tidy(() => {
      inner = tidy(() => scale(ones([1]), 2));
      expect(storages()).toBe(before + 1);
      return scale(inner, 2);
    });
    expect(inner!.disposed).toBe(true);
    expect(outer.item()).toBe(4);
    expect(storages()).toBe(before + 1);
  });

  test('a returned outer tensor stays as it was', () => {
    const outside = ones([1]);
    expect(tidy(() => tidy(() => outside))).toBe(outside);
    expect(outside.disposed).toBe(false);
  });

  test('an explicit release inside is allowed', () => {
    const before = storages();
    tidy(() => {
      ones([2]).dispose();
    });
    expect(storages()).toBe(before);
  });

  test('releases also when the body throws', () => {
    const before = storages();
    expect(() => tidy(() => {
      zeros([5]);
      throw new Error('no');
    })).toThrow('no');
    expect(storages()).toBe(before);
    const after = ones([1]);
    expect(after.disposed).toBe(false);
  });

  test('rejects an asynchronous body and releases what it made', async () => {
    const before = storages();
    let promise: Promise<number> | undefined;
    expectError(
      () => tidy(() => (promise = Promise.resolve(zeros([5]).size))),
      OptionError, 'body', /the body of tidy\(\) must not be asynchronous/,
    );
    expect(await promise).toBe(5);
    expect(storages()).toBe(before);
  });

  test('gradients of leaves outlive it, also accumulated ones', () => {
    const leaf = tensor([1, 2], [2], { requiresGrad: true });
    for (let i = 0; i < 2; i++) {
      tidy(() => {
        scale(leaf, 3).backward({ gradient: ones([2]) });
      });
    }
    expect(leaf.grad!.toArray()).toEqual([6, 6]);
  });
});

describe('noGrad', () => {
  test('records nothing, and restores recording', () => {
    const x = ones([2], { requiresGrad: true });
    const y = noGrad(() => {
      expect(isGradEnabled()).toBe(false);
      return scale(x, 2);
    });
    expect([y.requiresGrad, y.node, isGradEnabled()]).toEqual([false, null, true]);
    expect(() => noGrad(() => {
      throw new Error('no');
    })).toThrow('no');
    expect(isGradEnabled()).toBe(true);
  });

  test('releases activations as soon as it returns', () => {
    const [x, w] = [ones([1, 6, 6, 2]), ones([4, 3, 3, 2], { requiresGrad: true })];
    noGrad(() => conv2d(x, w)).dispose();
    const before = storages();
    const y = noGrad(() => relu(relu(conv2d(x, w))));
    expect(storages()).toBe(before + 1);
    expect(y.toArray()).toBeDefined();
  });

  test('says so when its tensors are used later', () => {
    let inner: Tensor | undefined;
    noGrad(() => {
      inner = ones([2]);
    });
    expectError(() => inner!.data(), DisposedError, 'tensor', /its tidy\(\) or noGrad\(\) scope has ended/);
  });
});

describe('a gradient that is set', () => {
  const owner = zeros([2]);
  const released = zeros([2]);
  released.dispose();

  test.each<[string, unknown, typeof DataError, RegExp]>([
    ['of another shape', ones([1]), ShapeError, /grad has shape \[1\], but \[2\] is needed/],
    ['of another dtype', ones([2], { dtype: 'f64' }), DTypeError, /grad must be f32 like its tensor, but is f64/],
    ['that was released', released, DisposedError, /grad of shape \[2\] was used after its release/],
    ['that is none', [1, 2], DTypeError, /grad must be a Tensor, but got \[1, 2\]/],
  ])('is refused: one %s', (_, gradient, type, message) => {
    expectError(() => { owner.grad = gradient as Tensor; }, type, 'grad', message);
    expect(owner.grad).toBeNull();
  });

  test('is taken where it fits, and taken away', () => {
    const gradient = ones([2]);
    owner.grad = gradient;
    expect(owner.grad).toBe(gradient);
    owner.grad = null;
    expect(owner.grad).toBeNull();
  });
});
