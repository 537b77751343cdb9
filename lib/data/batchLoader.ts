import { defaultDevice, type Device, type DeviceChoice, resolveDevice } from '../device';
import { describe, OptionError, requireNumber } from '../errors';
import { requireBoolean, requireCount } from '../ops/checks';
import { Generator, requireSeed } from '../random';
import type { Tensor } from '../tensor';
import { Prefetcher } from './prefetcher';

/** Images with their labels. */
export interface Batch {
  /** f32, `[N, H, W, C]`, normalised. */
  images: Tensor;
  /** i32, `[N]`. */
  labels: Tensor;
}

/** A batch of a data set whose images have numbers. */
export interface IndexedBatch extends Batch {
  /** Of the images in their dataset, `[N]`. */
  indices: Int32Array;
}

/** What logs, checkpoints and checks need to know of a data set. */
export interface DatasetInfo {
  /** Such as `CIFAR-10 train`; a run is resumed with a data set of the same name. */
  readonly name: string;
  /** Number of images. */
  readonly count: number;
  /** Name of each class. */
  readonly classes: readonly string[];
}

/**
 * Where a Trainer and `evaluate()` get their batches from. {@link DataLoader} and {@link ImageFolderLoader} are loaders;
 * any object with these members is one.
 *
 * The tensors of a batch belong to the loader. It may dispose of them when it is asked for the next batch, or closed.
 */
export interface Loader extends AsyncIterable<Batch> {
  readonly dataset: DatasetInfo;
  /** Images a training batch. */
  readonly batchSize: number;
  /** Training batches until each image was there once. */
  readonly batchesPerEpoch: number;
  /** What decides order and random changes; a run is resumed with the same one. */
  readonly seed: number;
  /**
   * The batch of a training iteration, counted from 0. For a resumed run to give the same weights it must depend on
   * nothing but the iteration and the members above.
   */
  batch(iteration: number): Promise<Batch>;
  /**
   * What else decides the batches, as JSON: normalisation, order, random changes, which images. A checkpoint keeps it, and
   * a resumed run is compared with it. Default: nothing is.
   */
  settings?(): Record<string, unknown>;
  /** Makes the batches on `device` from now on. Returns itself. */
  to(device: Device): Loader;
  /** Releases what was made in advance. A closed loader can be used again. */
  close(): void;
  /** One pass over all images, for an evaluation: in order, and without random changes. */
  [Symbol.asyncIterator](): AsyncIterator<Batch>;
}

/** Options of every loader of this library. */
export interface BatchLoaderOptions {
  /** Images a batch. */
  batchSize: number;
  /** Decides the order and the augmentation; an integer, at least 0. Default 0. */
  seed?: number;
  /** A new random order every epoch, or that of the dataset. Default true. */
  shuffle?: boolean;
  /** Pixels become `(pixel - mean) / std`; a number, or one for each channel. Default 127.5. */
  mean?: number | readonly number[];
  /** Greater than 0. Default 128. */
  std?: number | readonly number[];
  /** Batches made in advance, at most 1024. Default 2. */
  prefetch?: number;
  /** Leaves out the images that fill no whole batch at the end of an epoch. Default true. */
  dropLast?: boolean;
  /** Where the batches are made. Default: the default device; a Trainer and evaluate() ask for their model's. */
  device?: DeviceChoice;
}

export const batchLoaderKeys = [
  'batchSize', 'seed', 'shuffle', 'mean', 'std', 'prefetch', 'dropLast', 'device',
] as const satisfies readonly (keyof BatchLoaderOptions)[];

// Beyond it plus the batches made in advance, numbers no longer hold every integer.
const lastIteration = 2 ** 52;

/** Which images to put into a batch. */
export interface BatchRequest {
  /** By their places in the epoch. */
  indices: Int32Array;
  /** Of training, which augments; null in an evaluation. */
  iteration: number | null;
  device: Device;
  /** Aborted when nobody waits for the batch any longer. */
  signal: AbortSignal;
}

/**
 * Batches of a dataset, made ahead of their use on other threads.
 *
 * Training takes them by number: `batch(iteration)` depends on the seed and the iteration alone, so that a resumed run
 * needs no history. Evaluation walks over one epoch: `for await (const { images, labels } of loader)`, in the order of
 * the dataset, without augmentation, the last batch as small as it comes.
 *
 * The tensors belong to the loader, which disposes of a batch when the next one is asked for; `keep()` excepts one.
 */
export abstract class BatchLoader<Data extends DatasetInfo & { readonly channels: number }> implements Loader {
  readonly dataset: Data;
  readonly batchSize: number;
  readonly seed: number;
  readonly batchesPerEpoch: number;

  /** Of each channel. */
  protected readonly mean: Float32Array;
  protected readonly std: Float32Array;
  readonly #shuffle: boolean;
  readonly #dropLast: boolean;
  readonly #prefetch: number;
  #device: Device;
  readonly #training: Prefetcher<IndexedBatch>;
  /** The orders in use: of this epoch and, prefetching, of the next one. */
  readonly #orders = new Map<number, Int32Array>();

  /** @throws {OptionError | DeviceError} naming the option at fault. */
  protected constructor(dataset: Data, options: BatchLoaderOptions) {
    const { count, channels } = dataset;
    this.#dropLast = requireBoolean('dropLast', options.dropLast ?? true);
    this.dataset = dataset;
    this.batchSize = requireCount('batchSize', options.batchSize);
    this.seed = requireSeed('seed', options.seed ?? 0);
    this.batchesPerEpoch = this.#dropLast ? Math.floor(count / this.batchSize) : Math.ceil(count / this.batchSize);
    if (this.batchesPerEpoch === 0) {
      throw new OptionError('batchSize', `batchSize must be at most the ${count} images of ${dataset.name}, but got ${this.batchSize}`);
    }
    this.#shuffle = requireBoolean('shuffle', options.shuffle ?? true);
    this.mean = perChannel('mean', options.mean ?? 127.5, channels);
    this.std = perChannel('std', options.std ?? 128, channels, { above: 0 });
    this.#prefetch = requireNumber('prefetch', options.prefetch ?? 2, { min: 0, max: 1024, integer: true });
    this.#device = resolveDevice(options.device ?? defaultDevice());
    this.#training = new Prefetcher((iteration, signal) => this.#trainingBatch(iteration, signal), this.#prefetch, Infinity);
  }

  /** Subclasses add what is theirs. */
  settings(): Record<string, unknown> {
    // As the user wrote them: without the digits that f32 adds.
    const [mean, std] = [this.mean, this.std].map((values) => Array.from(values, (value) => Number(value.toPrecision(7))));
    return { shuffle: this.#shuffle, dropLast: this.#dropLast, mean, std };
  }

  /** Makes a batch; null where none of its images can be had. */
  protected abstract load(request: BatchRequest): Promise<IndexedBatch | null>;

  /** Where the batches are made. */
  get device(): Device {
    return this.#device;
  }

  /**
   * Makes the batches on `device` from now on; those given out, and evaluations under way, stay where they are. Returns
   * itself.
   * @throws {DeviceError | OptionError} when the device cannot be used.
   */
  to(device: DeviceChoice): this {
    const target = resolveDevice(device);
    if (target !== this.#device) this.#training.discard();
    this.#device = target;
    return this;
  }

  /**
   * The batch of a training iteration, counted from 0. It is valid until the next call.
   * @throws {OptionError} when the iteration is no integer from 0 to 2^52.
   * @throws {DataError} when an image cannot be had.
   */
  async batch(iteration: number): Promise<IndexedBatch> {
    requireNumber('iteration', iteration, { min: 0, max: lastIteration, integer: true });
    // A training batch is whole, or an error.
    return (await this.#training.take(iteration))!;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<IndexedBatch, void, undefined> {
    const count = Math.ceil(this.dataset.count / this.batchSize);
    const device = this.#device;
    const batches = new Prefetcher((position, signal) => this.#evaluationBatch(position, device, signal), this.#prefetch, count);
    try {
      for (let position = 0; position < count; position++) {
        const batch = await batches.take(position);
        if (batch) yield batch;
      }
    } finally {
      batches.close();
    }
  }

  /** Disposes of the batches made in advance and of the last one given out, unless it was kept. */
  close(): void {
    this.#training.close();
    this.#orders.clear();
  }

  #trainingBatch(iteration: number, signal: AbortSignal): Promise<IndexedBatch | null> {
    const start = (iteration % this.batchesPerEpoch) * this.batchSize;
    const indices = this.orderAt(iteration).slice(start, start + this.batchSize);
    return this.load({ indices, iteration, device: this.#device, signal });
  }

  #evaluationBatch(position: number, device: Device, signal: AbortSignal): Promise<IndexedBatch | null> {
    const start = position * this.batchSize;
    const length = Math.min(this.batchSize, this.dataset.count - start);
    const indices = Int32Array.from({ length }, (_, i) => start + i);
    return this.load({ indices, iteration: null, device, signal });
  }

  /** All images in the order of the epoch that an iteration belongs to. */
  protected orderAt(iteration: number): Int32Array {
    const epoch = Math.floor(iteration / this.batchesPerEpoch);
    const known = this.#orders.get(epoch);
    if (known) return known;
    const order = this.#newOrder(epoch);
    for (const old of this.#orders.keys()) if (Math.abs(old - epoch) > 1) this.#orders.delete(old);
    this.#orders.set(epoch, order);
    return order;
  }

  #newOrder(epoch: number): Int32Array {
    const { count } = this.dataset;
    if (!this.#shuffle) return Int32Array.from({ length: count }, (_, i) => i);
    return new Generator(Generator.seedFor(this.seed, 'order', epoch)).permutation(count);
  }
}

function perChannel(name: string, value: unknown, channels: number, range: { above?: number } = {}): Float32Array {
  const values: unknown[] = Array.isArray(value) ? value : new Array(channels).fill(value);
  if (values.length !== channels) {
    throw new OptionError(name, `${name} must be a number or ${channels} of them, one for each channel, but got ${describe(value)}`);
  }
  return Float32Array.from(values, (each) => requireNumber(name, each, range));
}
