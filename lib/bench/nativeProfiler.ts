import { performance } from 'node:perf_hooks';
import '../disposeSymbols';
import { type Device, synchronize } from '../device';
import { native } from '../native';

type NativeFunction = (...args: unknown[]) => unknown;

/** What an operator took. */
export interface OperatorTime {
  /** As `typings/native.d.ts` calls it. */
  operator: string;
  calls: number;
  ms: number;
}

/** They compute nothing, or, as the images, on a thread of their own. */
const leftOut = new Set(['info', 'memoryStats', 'resetPeak', 'synchronize', 'imageBatch']);

/**
 * Times every native operator from its making to {@link stop}. Until then the functions of the addon are replaced; before
 * and after it they are the addon's own, so that a profiler costs nothing where there is none. On cuda each operator is
 * waited for, and the time of its submission counts as its own.
 */
export class NativeProfiler {
  readonly #device: Device;
  readonly #times = new Map<string, OperatorTime>();
  readonly #originals = new Map<string, NativeFunction>();

  constructor(device: Device) {
    this.#device = device;
    for (const [name, value] of Object.entries(native)) {
      if (typeof value !== 'function' || leftOut.has(name)) continue;
      const original = value as NativeFunction;
      this.#originals.set(name, original);
      Reflect.set(native, name, this.#timing(name, original));
    }
  }

  /** What was measured so far, the longest first. */
  get times(): OperatorTime[] {
    return [...this.#times.values()].map((each) => ({ ...each })).sort((a, b) => b.ms - a.ms);
  }

  /** Puts the addon's own functions back. */
  stop(): void {
    for (const [name, original] of this.#originals) Reflect.set(native, name, original);
    this.#originals.clear();
  }

  [Symbol.dispose](): void {
    this.stop();
  }

  #timing(operator: string, original: NativeFunction): NativeFunction {
    return (...args) => {
      const start = performance.now();
      try {
        return original(...args);
      } finally {
        synchronize(this.#device);
        const time = this.#times.get(operator) ?? { operator, calls: 0, ms: 0 };
        time.calls++;
        time.ms += performance.now() - start;
        this.#times.set(operator, time);
      }
    };
  }
}
