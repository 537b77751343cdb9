import { defaultDevice, type Device, type DeviceChoice, resolveDevice } from '../device';
import { describe, OptionError, requireKnownKeys, requireNumber } from '../errors';
import { native } from '../native';
import { type Pair, requireBoolean, requirePair } from '../ops/checks';
import { Generator, requireSeed } from '../random';
import { Tensor, tensor } from '../tensor';
import type { ImageDataset } from './dataset';

/** Random changes to the images of a training batch. */
export interface Augmentation {
  /** Pixels added on every side before the crop; they are 0 after normalisation. Default 0. */
  padding?: number;
  /** Height and width of the part cut out at random, at most the padded image's. Default: the image's own. */
  crop?: Pair;
  /** Mirrors every second image left-right. Default false. */
  flipHorizontal?: boolean;
  /** Mirrors every second image up-down. Default false. */
  flipVertical?: boolean;
}

export interface DataLoaderOptions {
  /** Images a batch. */
  batchSize: number;
  /** Decides the order and the augmentation; an integer, at least 0. Default 0. */
  seed?: number;
  /** A new random order every epoch, or that of the dataset. Default true. */
  shuffle?: boolean;
  augment?: Augmentation;
  /** Pixels become `(pixel - mean) / std`; a number, or one for each channel. Default 127.5. */
  mean?: number | readonly number[];
  /** Greater than 0. Default 128. */
  std?: number | readonly number[];
  /** Batches made in advance. Default 2. */
  prefetch?: number;
  /** Leaves out the images that fill no whole batch at the end of an epoch. Default true. */
  dropLast?: boolean;
  /** Where the batches are made. Default: the default device; a Trainer and evaluate() ask for their model's. */
  device?: DeviceChoice;
}

/** Images with their labels. */
export interface Batch {
  /** f32, `[N, H, W, C]`, normalised. */
  images: Tensor;
  /** i32, `[N]`. */
  labels: Tensor;
  /** Of the images in their dataset. */
  indices: Int32Array;
}

/** Where each image of a batch is cut out, as `native.imageBatch` takes it. */
type Placement = Int32Array;

const optionKeys = ['batchSize', 'seed', 'shuffle', 'augment', 'mean', 'std', 'prefetch', 'dropLast', 'device'] as const;
const augmentationKeys = ['padding', 'crop', 'flipHorizontal', 'flipVertical'] as const;

/**
 * Batches of a dataset, made ahead of their use on a thread of their own.
 *
 * Training takes them by number: `batch(iteration)` depends on the seed and the iteration alone, so that a resumed run
 * needs no history. Evaluation walks over one epoch: `for await (const { images, labels } of loader)`, in the order of
 * the dataset, without augmentation (a crop is the central one), the last batch as small as it comes.
 *
 * The tensors belong to the loader, which disposes of a batch when the next one is asked for; `keep()` excepts one.
 */
export class DataLoader implements AsyncIterable<Batch> {
  readonly dataset: ImageDataset;
  readonly batchSize: number;
  readonly seed: number;
  readonly batchesPerEpoch: number;
  /** Of the images in a batch. */
  readonly height: number;
  readonly width: number;

  readonly #shuffle: boolean;
  readonly #padding: number;
  readonly #flipHorizontal: boolean;
  readonly #flipVertical: boolean;
  readonly #mean: Float32Array;
  readonly #std: Float32Array;
  readonly #prefetch: number;
  #device: Device;
  readonly #training: Prefetcher;
  /** The orders in use: of this epoch and, prefetching, of the next one. */
  readonly #orders = new Map<number, Int32Array>();

  /** @throws {OptionError | DeviceError} naming the option at fault. */
  constructor(dataset: ImageDataset, options: DataLoaderOptions) {
    requireKnownKeys('DataLoader', options, optionKeys);
    const { augment = {} } = options;
    requireKnownKeys('augment', augment, augmentationKeys);
    const dropLast = requireBoolean('dropLast', options.dropLast ?? true);
    const { height, width, channels, count } = dataset;
    this.dataset = dataset;
    this.batchSize = requireNumber('batchSize', options.batchSize, { min: 1, integer: true });
    this.seed = requireSeed('seed', options.seed ?? 0);
    this.batchesPerEpoch = dropLast ? Math.floor(count / this.batchSize) : Math.ceil(count / this.batchSize);
    if (this.batchesPerEpoch === 0) {
      throw new OptionError('batchSize', `batchSize must be at most the ${count} images of ${dataset.name}, but got ${this.batchSize}`);
    }
    this.#shuffle = requireBoolean('shuffle', options.shuffle ?? true);
    this.#padding = requireNumber('augment.padding', augment.padding ?? 0, { min: 0, integer: true });
    [this.height, this.width] = requirePair('augment.crop', augment.crop ?? [height, width], 1);
    if (this.height > height + 2 * this.#padding || this.width > width + 2 * this.#padding) {
      throw new OptionError(
        'augment.crop',
        `augment.crop must fit into the ${height}x${width} image with its padding of ${this.#padding}, but got ${this.height}x${this.width}`,
      );
    }
    this.#flipHorizontal = requireBoolean('augment.flipHorizontal', augment.flipHorizontal ?? false);
    this.#flipVertical = requireBoolean('augment.flipVertical', augment.flipVertical ?? false);
    this.#mean = perChannel('mean', options.mean ?? 127.5, channels);
    this.#std = perChannel('std', options.std ?? 128, channels, { above: 0 });
    this.#prefetch = requireNumber('prefetch', options.prefetch ?? 2, { min: 0, integer: true });
    this.#device = resolveDevice(options.device ?? defaultDevice());
    this.#training = new Prefetcher((iteration) => this.#trainingBatch(iteration), this.#prefetch, Infinity);
  }

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
   * @throws {OptionError} when the iteration is no integer of at least 0.
   */
  async batch(iteration: number): Promise<Batch> {
    requireNumber('iteration', iteration, { min: 0, integer: true });
    return this.#training.take(iteration);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Batch, void, undefined> {
    const count = Math.ceil(this.dataset.count / this.batchSize);
    const device = this.#device;
    const batches = new Prefetcher((position) => this.#evaluationBatch(position, device), this.#prefetch, count);
    try {
      for (let position = 0; position < count; position++) yield await batches.take(position);
    } finally {
      batches.close();
    }
  }

  /** Disposes of the batches made in advance and of the last one given out, unless it was kept. */
  close(): void {
    this.#training.close();
    this.#orders.clear();
  }

  #trainingBatch(iteration: number): Promise<Batch> {
    const epoch = Math.floor(iteration / this.batchesPerEpoch);
    const start = (iteration % this.batchesPerEpoch) * this.batchSize;
    const indices = this.#orderOf(epoch).slice(start, start + this.batchSize);
    return this.#load(indices, this.#randomPlacement(iteration, indices.length), this.#device);
  }

  #evaluationBatch(position: number, device: Device): Promise<Batch> {
    const start = position * this.batchSize;
    const length = Math.min(this.batchSize, this.dataset.count - start);
    const indices = Int32Array.from({ length }, (_, i) => start + i);
    return this.#load(indices, this.#centralPlacement(length), device);
  }

  #orderOf(epoch: number): Int32Array {
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

  #randomPlacement(iteration: number, images: number): Placement {
    const generator = new Generator(Generator.seedFor(this.seed, 'augmentation', iteration));
    const [rows, columns] = this.#freedom();
    const placement = new Int32Array(3 * images);
    for (let i = 0; i < placement.length; i += 3) {
      placement[i] = generator.integer(rows + 1);
      placement[i + 1] = generator.integer(columns + 1);
      // Drawn also where unused: an image is cut out alike with flips and without.
      const [horizontal, vertical] = [generator.integer(2), generator.integer(2)];
      placement[i + 2] = (this.#flipHorizontal ? horizontal : 0) + (this.#flipVertical ? 2 * vertical : 0);
    }
    return placement;
  }

  #centralPlacement(images: number): Placement {
    const [top, left] = this.#freedom().map((pixels) => Math.floor(pixels / 2)) as [number, number];
    return Int32Array.from({ length: 3 * images }, (_, i) => [top, left, 0][i % 3]);
  }

  /** By how many pixels the crop can move down and right. */
  #freedom(): [rows: number, columns: number] {
    const { height, width } = this.dataset;
    return [height + 2 * this.#padding - this.height, width + 2 * this.#padding - this.width];
  }

  async #load(indices: Int32Array, placement: Placement, device: Device): Promise<Batch> {
    const { images, height, width, channels, labels } = this.dataset;
    const handle = await native.imageBatch(
      device,
      images, height, width, channels,
      indices, placement, this.#padding, this.height, this.width, this.#mean, this.#std,
    );
    return {
      images: new Tensor(handle, [indices.length, this.height, this.width, channels], 'f32', device),
      labels: tensor(indices.map((index) => labels[index]), [indices.length], { device }),
      indices,
    };
  }
}

/** Batches of all images of a test set, in order. */
export function evaluationLoader(dataset: ImageDataset, batchSize: number): DataLoader {
  return new DataLoader(dataset, { batchSize: Math.min(batchSize, dataset.count) });
}

/** Batches by number, the ones after the last taken already under way. */
class Prefetcher {
  readonly #load: (index: number) => Promise<Batch>;
  readonly #ahead: number;
  readonly #end: number;
  readonly #pending = new Map<number, Promise<Batch>>();
  #current: Batch | null = null;

  constructor(load: (index: number) => Promise<Batch>, ahead: number, end: number) {
    this.#load = load;
    this.#ahead = ahead;
    this.#end = end;
  }

  async take(index: number): Promise<Batch> {
    this.#replaceCurrent(null);
    const last = Math.min(index + this.#ahead, this.#end - 1);
    this.#discard((pending) => pending < index || pending > last);
    for (let next = index; next <= last; next++) this.#start(next);
    const promise = this.#pending.get(index)!;
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
    const promise = this.#load(index);
    // A failure is reported when the batch is taken; until then it must not count as unhandled.
    promise.catch(() => undefined);
    this.#pending.set(index, promise);
  }

  #replaceCurrent(batch: Batch | null): void {
    if (this.#current) disposeUnkept(this.#current);
    this.#current = batch;
  }

  #discard(unwanted: (index: number) => boolean): void {
    for (const [index, promise] of this.#pending) {
      if (!unwanted(index)) continue;
      this.#pending.delete(index);
      promise.then(disposeUnkept, () => undefined);
    }
  }
}

function disposeUnkept({ images, labels }: Batch): void {
  for (const each of [images, labels]) if (!each.kept) each.dispose();
}

function perChannel(name: string, value: unknown, channels: number, range: { above?: number } = {}): Float32Array {
  const values: unknown[] = Array.isArray(value) ? value : new Array(channels).fill(value);
  if (values.length !== channels) {
    throw new OptionError(name, `${name} must be a number or ${channels} of them, one for each channel, but got ${describe(value)}`);
  }
  return Float32Array.from(values, (each) => requireNumber(name, each, range));
}
