import path from 'node:path';
import ts from 'typescript';
import { DisposedError, OptionError } from '../../lib/errors';
import { native, packageRoot } from '../../lib/native';

type Call = (...args: unknown[]) => unknown;
const addon = native as unknown as Record<string, Call>;

/** Method names of `interface Native`, read from the typings' source. */
function declaredNames(): string[] {
  const file = path.join(packageRoot, 'typings', 'native.d.ts');
  const source = ts.createSourceFile(file, ts.sys.readFile(file)!, ts.ScriptTarget.Latest);
  const contract = source.statements.find((node) => ts.isInterfaceDeclaration(node) && node.name.text === 'Native');
  return (contract as ts.InterfaceDeclaration).members.filter(ts.isMethodSignature).map((member) => (member.name as ts.Identifier).text);
}

describe('the addon', () => {
  test('has exactly the functions that typings/native.d.ts declares', () => {
    expect(Object.keys(addon).sort()).toEqual(declaredNames().sort());
  });

  // lib/ checks what users pass; a mistake in lib/ must still not become a crash.
  const taking = declaredNames().filter((name) => !['info', 'setErrorClasses'].includes(name));
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
      expect(() => addon[name](...Array<unknown>(20).fill(value))).toThrow();
    }
    expect(() => addon[name]()).toThrow();
  });

  test('a released tensor is refused by every reader', () => {
    const handle = native.empty('cpu', 'f32', [4]);
    native.release(handle);
    native.release(handle);
    expect(() => { native.read(handle, new Float32Array(4)); }).toThrow(DisposedError);
    expect(() => { native.add(handle, handle, handle); }).toThrow(DisposedError);
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
