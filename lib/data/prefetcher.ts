import type { Tensor } from '../tensor';

/** What is prefetched. */
interface Tensors {
  images: Tensor;
  labels: Tensor;
}

interface Pending<T> {
  promise: Promise<T | null>;
  abort: AbortController;
}

/** Batches by number, the ones after the last taken already under way. It disposes of those that nobody keeps. */
export class Prefetcher<T extends Tensors> {
  readonly #load: (index: number, signal: AbortSignal) => Promise<T | null>;
  readonly #ahead: number;
  readonly #end: number;
  readonly #pending = new Map<number, Pending<T>>();
  #current: T | null = null;

  /** @param load Makes a batch; its signal is aborted when the batch is no longer wanted. */
  constructor(load: (index: number, signal: AbortSignal) => Promise<T | null>, ahead: number, end: number) {
    this.#load = load;
    this.#ahead = ahead;
    this.#end = end;
  }

  async take(index: number): Promise<T | null> {
    this.#replaceCurrent(null);
    const last = Math.min(index + this.#ahead, this.#end - 1);
    this.#discard((pending) => pending < index || pending > last);
    for (let next = index; next <= last; next++) this.#start(next);
    const { promise } = this.#pending.get(index)!;
    this.#pending.delete(index);
    const batch = await promise;
    this.#replaceCurrent(batch);
    return batch;
  }

  /** Gives up the batches under way. */
  discard(): void {
    this.#discard(() => true);
  }

  close(): void {
    this.#replaceCurrent(null);
    this.discard();
  }

  #start(index: number): void {
    if (this.#pending.has(index)) return;
    const abort = new AbortController();
    const promise = this.#load(index, abort.signal);
    // A failure is reported when the batch is taken; until then it must not count as unhandled.
    promise.catch(() => undefined);
    this.#pending.set(index, { promise, abort });
  }

  #replaceCurrent(batch: T | null): void {
    if (this.#current) disposeUnkept(this.#current);
    this.#current = batch;
  }

  #discard(unwanted: (index: number) => boolean): void {
    for (const [index, { promise, abort }] of this.#pending) {
      if (!unwanted(index)) continue;
      this.#pending.delete(index);
      abort.abort();
      promise.then((batch) => { if (batch) disposeUnkept(batch); }, () => undefined);
    }
  }
}

function disposeUnkept({ images, labels }: Tensors): void {
  for (const each of [images, labels]) if (!each.kept) each.dispose();
}
