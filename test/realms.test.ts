// The library among realms: values of another context of node:vm, contexts that lack symbols, and two copies over one addon.
import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { promisify } from 'node:util';
import vm from 'node:vm';
import { imageDataset } from '../lib/data';
import { DTypeError, OptionError, SphereNetError } from '../lib/errors';
import { relu } from '../lib/ops';
import { type Tensor, tensor, tidy, zeros } from '../lib/tensor';
import { compileLibrary } from './train/compiled';

/** The value of an expression in a context of its own. */
function elsewhere(expression: string): unknown {
  return vm.runInNewContext(expression);
}

describe('values of another realm', () => {
  test.each(['Float32Array', 'Float64Array', 'Int32Array', 'Uint8Array'])('tensor() takes a %s', (name) => {
    const foreign = elsewhere(`new ${name}([1, 2, 3])`) as Float32Array;
    expect(tensor(foreign).toArray()).toEqual([1, 2, 3]);
    const own = Reflect.construct(Reflect.get(globalThis, name) as Float32ArrayConstructor, [3]) as Float32Array;
    expect(tensor(foreign).dtype).toBe(tensor(own).dtype);
  });

  test('tensor() takes nested arrays, and an array to convert', () => {
    expect(tensor(elsewhere('[[1, 2], [3, 4]]') as number[][]).shape).toEqual([2, 2]);
    expect(tensor(elsewhere('new Float64Array([1, 2])') as Float64Array, [2], { dtype: 'i32' }).dtype).toBe('i32');
  });

  test('assign() takes the array of its dtype and no other', () => {
    expect(zeros([2]).assign(elsewhere('new Float32Array([1, 2])') as Float32Array).toArray()).toEqual([1, 2]);
    expect(() => zeros([2]).assign(elsewhere('new Float64Array(2)') as Float64Array)).toThrow(DTypeError);
  });

  test('what only looks like a typed array is refused', () => {
    expect(() => tensor({ length: 1, 0: 1, [Symbol.toStringTag]: 'Float32Array' } as never, [1], { dtype: 'f32' })).toThrow(DTypeError);
    expect(() => tensor(new DataView(new ArrayBuffer(4)) as never)).toThrow(DTypeError);
    expect(() => tensor(new BigInt64Array(1) as never, [1], { dtype: 'i32' })).toThrow(DTypeError);
  });

  test('a data set takes its arrays', () => {
    const fields = { name: 'x', height: 2, width: 2, channels: 3, classes: ['a', 'b'] };
    const images = elsewhere('new Uint8Array(12)') as Uint8Array;
    expect(imageDataset({ ...fields, images, labels: elsewhere('new Int32Array(1)') as Int32Array }).count).toBe(1);
  });

  test('tidy() keeps the tensors in a plain object, and refuses a promise', () => {
    const result = elsewhere('({})') as { kept?: Tensor };
    tidy(() => Object.assign(result, { kept: zeros([1]) }));
    expect(result.kept!.disposed).toBe(false);
    expect(() => tidy(() => (elsewhere('Promise.resolve()') as Promise<void>))).toThrow(OptionError);
  });
});

test('shared memory can be read', () => {
  const shared = new Float32Array(new SharedArrayBuffer(8));
  shared.set([1, 2]);
  expect(tensor(shared).toArray()).toEqual([1, 2]);
  expect(zeros([2]).assign(shared).toArray()).toEqual([1, 2]);
});

describe('two copies of the library', () => {
  interface Copy {
    tensor: typeof import('../lib/tensor');
    ops: typeof import('../lib/ops');
    errors: typeof import('../lib/errors');
    native: typeof import('../lib/native');
    nn: typeof import('../lib/nn');
    optim: typeof import('../lib/optim');
  }
  function load(): Copy {
    let copy: Copy | undefined;
    jest.isolateModules(() => {
      copy = {
        tensor: jest.requireActual('../lib/tensor'), ops: jest.requireActual('../lib/ops'), errors: jest.requireActual('../lib/errors'),
        native: jest.requireActual('../lib/native'), nn: jest.requireActual('../lib/nn'), optim: jest.requireActual('../lib/optim'),
      };
    });
    return copy!;
  }
  const [first, second] = [load(), load()];

  test.each([['first', first, second], ['second', second, first]])('the %s throws native errors of its own', (_, own, other) => {
    const call = () => { own.native.native.read(null as never, new Float32Array(1)); };
    expect(call).toThrow(own.errors.OptionError);
    expect(call).not.toThrow(other.errors.OptionError);
  });

  test('an asynchronous call throws errors of its own, too', async () => {
    const call = () => first.native.native.imageBatch(
      'cpu', new Uint8Array(3), 1, 1, 3, Int32Array.of(9), new Int32Array(3), 0, 1, 1, new Float32Array(3), new Float32Array(3),
    );
    await expect(async () => call()).rejects.toThrow(first.errors.DataError);
  });

  test('a tensor, a layer or a parameter of the other is refused, and said to be so', () => {
    const foreign = second.tensor.ones([2]);
    const layer = new second.nn.Linear({ inFeatures: 2, outFeatures: 2 });
    const message = /of another copy of spherenet, which is loaded twice here/;
    expect(() => first.ops.relu(foreign)).toThrow(message);
    expect(() => first.tensor.tensor(foreign as never)).toThrow(message);
    expect(() => first.tensor.zeros([2]).assign(foreign as never)).toThrow(message);
    expect(() => new first.nn.Sequential([layer])).toThrow(message);
    expect(() => new first.optim.Adam(layer.parameters())).toThrow(message);
    expect(() => first.optim.parameterGroups(layer, { weightDecay: 0 })).toThrow(message);
    expect(() => relu(zeros([1]))).not.toThrow();
    expect(() => relu(null as never)).toThrow(SphereNetError);
  });
});

// As jest 29 and vitest's vm pools run tests: Node's globals are there, and the symbols that Node adds to JavaScript's are not.
test('trains in a context without Symbol.dispose', async () => {
  const script = `
    const { readFileSync } = require('node:fs');
    const { createRequire } = require('node:module');
    const path = require('node:path');
    const vm = require('node:vm');
    const context = vm.createContext({});
    for (const name of Object.getOwnPropertyNames(globalThis)) {
      if (vm.runInContext('typeof ' + name, context) === 'undefined') context[name] = globalThis[name];
    }
    const modules = new Map();
    const load = (file) => {
      if (modules.has(file)) return modules.get(file).exports;
      const module = { exports: {} };
      modules.set(file, module);
      const outside = createRequire(file);
      const inside = (name) => (name.startsWith('.') ? load(outside.resolve(name)) : outside(name));
      inside.resolve = outside.resolve;
      const parameters = ['module', 'exports', 'require', '__dirname', '__filename'];
      const run = vm.compileFunction(readFileSync(file, 'utf8'), parameters, { parsingContext: context, filename: file });
      run(module, module.exports, inside, path.dirname(file), file);
      return module.exports;
    };
    const before = vm.runInContext('typeof Symbol.dispose', context);
    const { statefulModel, tinyTrainer } = load(path.resolve('test/train/tiny.js'));
    tinyTrainer({ iterations: 2, model: statefulModel() }).fit().then(() => {
      console.log(before, 'trained', vm.runInContext('Symbol.dispose', context) === Symbol.dispose);
    });
  `;
  const folder = compileLibrary();
  try {
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', script], { cwd: folder });
    expect(stdout).toBe('undefined trained true\n');
  } finally {
    await rm(folder, { recursive: true });
  }
});
