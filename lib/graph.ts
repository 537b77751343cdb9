import type { GraphHandle } from '../typings/native';
import type { Device } from './device';
import { native } from './native';

/** A number, or where it comes from: asked each time the operator runs, also when a captured graph replays it. */
export type DynamicScalar = number | (() => number);

type Reader = () => number;

/** Of the capture under way, in the order in which the native side numbers them; null outside. */
let readers: Reader[] | null = null;

/** A reader of `value` whose numbers pass `check`; that of a constant does so at once. */
export function checkedReader(value: DynamicScalar, check: (number: number) => number): Reader {
  if (typeof value === 'function') return () => check(value());
  const constant = check(value);
  return () => constant;
}

/**
 * What a native operator takes for a dynamic scalar; to be called once for each call of such an operator. Operators
 * that are being captured do not run: their numbers are read at each replay, and none before.
 */
export function dynamicScalar(read: Reader): number {
  if (!readers) return read();
  readers.push(read);
  return 0;
}

/** Work of a device that was recorded once and is replayed as a whole. */
export class CapturedGraph<R> {
  /** What the captured body returned: its tensors are written by each replay. */
  readonly result: R;
  readonly #handle: GraphHandle;
  readonly #readers: readonly Reader[];

  /** @internal Use {@link captureGraph}. */
  constructor(handle: GraphHandle, captured: readonly Reader[], result: R) {
    this.#handle = handle;
    this.#readers = captured;
    this.result = result;
  }

  /** Runs the work on what its inputs hold now. Returns before it is done, as an operator does. */
  replay(): R {
    native.replayGraph(this.#handle, Float64Array.from(this.#readers, (read) => read()));
    return this.result;
  }

  /** Releases the graph, but none of the tensors. */
  dispose(): void {
    native.releaseGraph(this.#handle);
  }
}

/**
 * Records the operators of `body` instead of running them. Tensors from outside that they use must keep their memory as
 * long as the graph is replayed; those made inside have memory of the graph's own.
 * @throws {DeviceError} when the device has no graphs, or the body reads or writes memory of the host.
 */
export function captureGraph<R>(device: Device, body: () => R): CapturedGraph<R> {
  native.beginCapture(device);
  const captured: Reader[] = [];
  readers = captured;
  try {
    const result = body();
    return new CapturedGraph(native.endCapture(device), captured, result);
  } catch (error) {
    abandonCapture(device);
    throw error;
  } finally {
    readers = null;
  }
}

/** Ends a capture whose body has failed. */
function abandonCapture(device: Device): void {
  try {
    native.releaseGraph(native.endCapture(device));
  } catch {
    // What failed may have spoilt or ended the capture too; the first error is the one to tell.
  }
}
