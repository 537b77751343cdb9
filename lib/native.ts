import { arch, env, platform, versions } from 'node:process';
import path from 'node:path';
import nodeGypBuild from 'node-gyp-build';
import type { Addon, Native, NativeNames, NativeStructs, Packed } from '../typings/native';
import { DataError, DeviceError, DisposedError, DTypeError, OptionError, ShapeError } from './errors';
import { operatorThreads } from './processors';

/** The package's folder, from `lib/` and from `dist/` alike. */
export const packageRoot = path.resolve(__dirname, '..');

/**
 * How often libgomp's threads look for work before they sleep. Its own 300,000 times take milliseconds, in which they hold
 * processors that other processes, or the thread they wait for, want: a step took ten times as long on a loaded machine.
 * 300 times are no slower than that on an idle one; docs/performance.md has the measurement.
 */
const spinCount = 300;

/** Runs `load` with libgomp told to sleep soon, unless the user has said how to wait. It reads its environment once, when it is loaded. */
function withShortSpin<T>(load: () => T): T {
  if (env['GOMP_SPINCOUNT'] !== undefined || env['OMP_WAIT_POLICY'] !== undefined) return load();
  env['GOMP_SPINCOUNT'] = String(spinCount);
  try {
    return load();
  } finally {
    delete env['GOMP_SPINCOUNT'];
  }
}

/** What the operators of this thread use, and why not more. */
export const threads = operatorThreads();

function load(): Native {
  let addon: Addon;
  try {
    addon = withShortSpin(() => nodeGypBuild(packageRoot) as Addon);
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
  const opened = addon.open({
    shape: ShapeError,
    dtype: DTypeError,
    device: DeviceError,
    option: OptionError,
    data: DataError,
    disposed: DisposedError,
  });
  opened.setThreads(threads.count);
  return opened;
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
