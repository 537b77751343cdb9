import { arch, platform, versions } from 'node:process';
import path from 'node:path';
import nodeGypBuild from 'node-gyp-build';
import type { Addon, Native, NativeNames, NativeStructs, Packed } from '../typings/native';
import { DataError, DeviceError, DisposedError, DTypeError, OptionError, ShapeError } from './errors';

/** The package's folder, from `lib/` and from `dist/` alike. */
export const packageRoot = path.resolve(__dirname, '..');

function load(): Native {
  let addon: Addon;
  try {
    addon = nodeGypBuild(packageRoot) as Addon;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    throw new DeviceError(
      'spherenet',
      [
        `The native addon could not be loaded on ${platform}-${arch} with Node ${versions.node}: ${reason}`,
        `Looked in ${path.join(packageRoot, 'build', 'Release')} and ${path.join(packageRoot, 'prebuilds')}.`,
        'Possible solutions:',
        '- oneDNN must be there at run time: on Debian or Ubuntu, apt-get install libdnnl-dev',
        '- build the addon: npm rebuild spherenet, or npm run build:native in a checkout (needs cmake and a C++17 compiler)',
        '- npm 11 asks before it runs install scripts: allow the one of spherenet where no prebuilt binary fits',
      ].join('\n'),
      { cause },
    );
  }
  return addon.open({
    shape: ShapeError,
    dtype: DTypeError,
    device: DeviceError,
    option: OptionError,
    data: DataError,
    disposed: DisposedError,
  });
}

/** The addon. Nothing else in lib/ loads it. */
export const native: Native = load();

/**
 * The native code of a name: its place in the addon's list.
 * @throws {DeviceError} when the addon is older than this JavaScript and does not know it.
 */
export function codeOf(list: keyof NativeNames, name: string): number {
  const code = native.names[list].indexOf(name);
  if (code >= 0) return code;
  throw new DeviceError('spherenet', `the native addon does not know ${name} among its ${list}: it is of another version; build it again`);
}

/**
 * How a struct of options goes to the addon: its numbers in one array, in the addon's own order. N-API takes a quarter of
 * a microsecond to read a property of an object, and as long for a whole array.
 */
export function packer<K extends keyof NativeStructs>(struct: K): (values: NativeStructs[K]) => Packed<NativeStructs[K]> {
  const fields = native.structs[struct] as (keyof NativeStructs[K])[];
  return (values) => {
    const packed = new Float64Array(fields.length);
    for (let i = 0; i < fields.length; i++) packed[i] = Number(values[fields[i]]);
    return packed;
  };
}
