import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import nodeGypBuild from 'node-gyp-build';
import ts from 'typescript';
import { devices, precisions } from '../../lib/device';
import { DataError, DeviceError, DisposedError, DTypeError, OptionError, ShapeError } from '../../lib/errors';
import { native, packageRoot, packer, threads } from '../../lib/native';
import { angularOperators, marginFunctions, positivities } from '../../lib/ops';
import { dtypes } from '../../lib/tensor';
import type { Addon } from '../../typings/native';

type Call = (...args: unknown[]) => unknown;
const addon = native as unknown as Record<string, Call>;

const typings = (() => {
  const file = path.join(packageRoot, 'typings', 'native.d.ts');
  return ts.createSourceFile(file, ts.sys.readFile(file)!, ts.ScriptTarget.Latest, true);
})();

function interfaceOf(name: string): ts.InterfaceDeclaration {
  return typings.statements.find((node) => ts.isInterfaceDeclaration(node) && node.name.text === name) as ts.InterfaceDeclaration;
}

const methods = interfaceOf('Native').members.filter(ts.isMethodSignature);
const declaredNames = methods.map((method) => method.name.getText());

/** An argument as typings/native.d.ts declares it. */
interface Argument {
  name: string;
  type: string;
}

/** The arguments of a method, with the tuples that it spreads in their places. */
function argumentsOf(method: ts.MethodSignature): Argument[] {
  return method.parameters.flatMap(({ name, type, dotDotDotToken }) =>
    dotDotDotToken ? membersOf(type!) : [{ name: name.getText(), type: type!.getText() }],
  );
}

function membersOf(type: ts.TypeNode): Argument[] {
  if (ts.isUnionTypeNode(type)) {
    // What may be left out, or be null as a whole.
    const [given, without] = type.types;
    const members = membersOf(given);
    return without.getText().startsWith('Absent') ? members.map(({ name }) => ({ name, type: 'Optional' })) : members;
  }
  if (ts.isTypeReferenceNode(type)) {
    const alias = typings.statements.find((node) => ts.isTypeAliasDeclaration(node) && node.name.text === type.getText());
    return membersOf((alias as ts.TypeAliasDeclaration).type);
  }
  return (type as ts.TupleTypeNode).elements.flatMap((element) => {
    const { name, type: inner, dotDotDotToken } = element as ts.NamedTupleMember;
    return dotDotDotToken ? membersOf(inner) : [{ name: name.text, type: inner.getText() }];
  });
}

const errorClasses = {
  shape: ShapeError, dtype: DTypeError, device: DeviceError, option: OptionError, data: DataError, disposed: DisposedError,
};

/** How a C++ type reads in the typings. */
const typeNames: Record<string, string> = {
  'Tensor': 'Handle', 'IndexTensor': 'Handle', 'AnyTensor': 'Handle', 'OptionalTensor': 'Optional', 'std::vector<Tensor>': 'Handle[]', 'OptionalTensors': 'Handle[]',
  'double': 'number', 'int': 'number', 'std::int64_t': 'number', 'std::uint64_t': 'number', 'bool': 'boolean', 'Positive': 'Code',
};

function fieldsOf(name: string): string[] {
  const declaration = interfaceOf(name);
  const inherited = (declaration.heritageClauses ?? []).flatMap(({ types }) => types.flatMap((type) => fieldsOf(type.getText())));
  return [...inherited, ...declaration.members.map((member) => member.name!.getText())];
}

describe('the addon', () => {
  test('has exactly the functions that typings/native.d.ts declares', () => {
    const functions = Object.keys(addon).filter((name) => typeof addon[name] === 'function');
    expect(functions.sort()).toEqual([...declaredNames].sort());
  });

  test.each(Object.entries(native.operators))('%s takes the arguments that the typings declare, in their order', (name, declared) => {
    const method = methods.find((each) => each.name.getText() === name)!;
    expect(method.type!.getText()).toBe({ void: 'void', Tensor: 'Handle | null' }[declared.result]);
    const expected = declared.arguments.map((text) => {
      const [type, argument] = text.split(' ');
      return { name: argument, type: typeNames[type] ?? type };
    });
    expect(argumentsOf(method)).toEqual(expected);
  });

  test.each(Object.entries(native.structs))('the numbers of %s are those of the typings, in their order', (name, fields) => {
    expect(fieldsOf(name)).toEqual(fields);
    expect(fieldsOf('NativeStructs')).toContain(name);
  });

  test('codes are places in the lists of lib/', () => {
    expect(native.names).toEqual({
      devices, dtypes, precisions, angular: angularOperators, margins: marginFunctions, positivities,
    });
  });

  // lib/ checks what users pass; a mistake in lib/ must still not become a crash.
  // To tryLock a small number is an open file; test/train/runFolder.test.ts has its errors.
  const taking = declaredNames.filter((name) => !['info', 'setThreads', 'tryLock'].includes(name));
  const nonsense: [string, unknown][] = [
    ['nothing', undefined],
    ['null', null],
    ['a number', 3],
    ['a string', 'f33'],
    ['an object', {}],
    ['an array', [1, {}]],
    ['a typed array', new Float32Array(2)],
  ];
  test.each(taking)('%s answers nonsense with an error', (name) => {
    for (const [, value] of nonsense) {
      expect(() => addon[name](...Array<unknown>(24).fill(value))).toThrow();
    }
    expect(() => addon[name]()).toThrow();
  });

  test.each([undefined, '2', NaN, 0, 0.5, -1, 1025, Infinity])('%p is no number of threads', (count) => {
    expect(() => { native.setThreads(count as number); }).toThrow(OptionError);
    expect(native.info().threads).toBe(threads.count);
  });

  test('a released tensor is refused by every reader', () => {
    const handle = native.empty('cpu', 'f32', [4]);
    native.release(handle);
    native.release(handle);
    expect(() => { native.read(handle, new Float32Array(4)); }).toThrow(DisposedError);
    expect(() => { native.add(handle, handle, handle); }).toThrow(DisposedError);
  });

  test("another addon's handle is refused, not read", () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'spherenet-contract-'));
    try {
      const copy = path.join(folder, 'copy.node');
      const { resolve } = nodeGypBuild as unknown as { resolve: (root: string) => string };
      copyFileSync(resolve(packageRoot), copy);
      const other = createRequire(__filename)(copy) as Addon;
      const foreign = other.open(errorClasses).empty('cpu', 'f32', [4]);
      const own = native.empty('cpu', 'f32', [4]);
      expect(() => { native.add(own, foreign, own); }).toThrow(/native argument b must be a tensor handle/);
      expect(() => { native.release(foreign); }).toThrow(OptionError);
      native.release(own);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('tensors of a call must agree in their dtype, unless the operator declares otherwise', () => {
    const [single, double, labels] = (['f32', 'f64', 'i32'] as const).map((dtype) => native.empty('cpu', dtype, [4]));
    expect(() => { native.add(single, double, single); }).toThrow('b is f64, but the tensors before it are f32');
    expect(() => { native.add(single, single, labels); }).toThrow('out must be f32 or f64, but is i32');
    const options = packer('AdamOptions')({
      learningRate: 1, beta1: 0, beta2: 0, eps: 1, weightDecay: 0, step: 1, decoupled: false,
    });
    expect(() => { native.adamStep([single, double], [single, double], [single, double], [single, double], options); }).toThrow(DTypeError);
    expect(() => { native.globalNorm([single, double], single); }).toThrow(DTypeError);
    for (const handle of [single, double, labels]) native.release(handle);
  });

  test('lists of tensors are of one length, codes and extents in range', () => {
    const p = native.empty('cpu', 'f32', [4]);
    const adam = packer('AdamOptions')({ learningRate: 1, beta1: 0, beta2: 0, eps: 1, weightDecay: 0, step: 1, decoupled: false });
    const sgd = packer('SgdOptions')({ learningRate: 1, momentum: 0.9, weightDecay: 0, nesterov: false, first: true });
    expect(() => { native.adamStep([p], [], [], [], adam); }).toThrow(/gradients must be as long as the first list/);
    expect(() => { native.adamStep([p], [p], [p, p], [p], adam); }).toThrow(OptionError);
    native.sgdStep([p], [p], [], sgd);
    expect(() => { native.positiveForward(p, p, 77); }).toThrow(OptionError);
    expect(() => { native.positiveForward(p, p, NaN); }).toThrow(OptionError);
    expect(() => native.empty('cpu', 'f32', [-1])).toThrow(/extents/);
    expect(() => native.empty('cpu', 'f32', [2 ** 40, 2 ** 40])).toThrow(/extents/);
    expect(() => native.alias(p, [1_000_000])).toThrow(ShapeError);
    native.release(p);
  });

  test('a released handle can be filled again, one in use cannot', () => {
    const handle = native.empty('cpu', 'f32', [4]);
    expect(() => native.empty('cpu', 'f32', [2], handle)).toThrow(OptionError);
    native.read(handle, new Float32Array(4));
    native.release(handle);
    expect(native.empty('cpu', 'f32', [2], handle)).toBe(handle);
    native.read(handle, new Float32Array(2));
    native.release(handle);
  });

  test('reports the versions that doctor shows', () => {
    const info = native.info();
    expect(info.onednn).toMatch(/^oneDNN \d+\.\d+\.\d+$/);
    expect(['baseline', 'avx2', 'avx512']).toContain(info.isa);
    expect(info.threads).toBeGreaterThanOrEqual(1);
    expect(info.cuda.reason).toMatch(/\w+/);
    expect(info.cuda).toMatchObject({ driver: expect.any(Boolean) as boolean, emulated: expect.any(Boolean) as boolean });
    const versions = expect.stringMatching(/^CUDA \d+\.\d+, driver for CUDA \d+\.\d+, cuBLAS \d+\.\d+\.\d+$/) as string;
    expect(info.cuda.library).toEqual(info.cuda.available ? versions : null);
    expect(info.cuda.compiled || !info.cuda.available).toBe(true);
  });
});
