import { join } from 'node:path';
import { DataError, describe, OptionError, requireKnownKeys, requireNumber, requireOneOf } from '../errors';
import { hostArray } from '../hostArrays';
import { native } from '../native';
import { usableProcessors } from '../processors';
import { Generator } from '../random';
import { Tensor, tensor } from '../tensor';
import { BatchLoader, batchLoaderKeys, type BatchLoaderOptions, type BatchRequest, type IndexedBatch } from './batchLoader';
import { anywhere, central, type Cut, drawFlips, type Flips, randomResizedCrop, requireFlips, resizeAndCrop, type Size } from './cut';
import { fingerprint } from './dataset';
import { type ImageDecoder, imageDecoder, readImage } from './decode';
import type { ImageFolder } from './imageFolder';
import { Limiter } from './limiter';

/** How the square of an image for training is cut out. */
export const crops = ['central', 'random', 'random-resized'] as const;

/** Random changes to the images of a training batch. */
export interface FolderAugmentation {
  /**
   * `central` and `random`: where the square lies once the shorter side is the folder's `resize`. `random-resized`: a
   * part of random size, shape and place, resized to the square, as torchvision's RandomResizedCrop. Default `central`.
   */
  crop?: (typeof crops)[number];
  /** For `random-resized`: least and largest share of the image's area, from above 0 to 1. Default [0.08, 1]. */
  scale?: readonly [number, number];
  /** For `random-resized`: least and largest width / height, greater than 0. Default [3/4, 4/3]. */
  ratio?: readonly [number, number];
  /** Mirrors every second image left-right. Default false. */
  flipHorizontal?: boolean;
  /** Mirrors every second image up-down. Default false. */
  flipVertical?: boolean;
}

export interface ImageFolderLoaderOptions extends BatchLoaderOptions {
  augment?: FolderAugmentation;
  /**
   * Images decoded at the same time. Batches do not depend on it. They are decoded on libuv's threads: of these there are 4,
   * or $UV_THREADPOOL_SIZE, and more workers than that do not help. Default: the number of processors that the process may use.
   */
  workers?: number;
}

const augmentationKeys = ['crop', 'scale', 'ratio', 'flipHorizontal', 'flipVertical'] as const;

/**
 * Batches of image files by class, decoded in the background; see {@link BatchLoader}. The data set need not fit into
 * memory: what is held are names, labels and the batches made in advance. In an evaluation the square is the central one.
 */
export class ImageFolderLoader extends BatchLoader<ImageFolder> {
  readonly #crop: (typeof crops)[number];
  readonly #scale: readonly [number, number];
  readonly #ratio: readonly [number, number];
  readonly #flips: Flips;
  readonly #decoding: Limiter;
  /** Images that turned out to be damaged, where these are skipped. */
  readonly #damaged = new Set<number>();
  /** Pixels of batches that have been made, to be written anew. */
  readonly #spare: Uint8Array[] = [];

  /** @throws {OptionError | DeviceError} naming the option at fault. */
  constructor(dataset: ImageFolder, options: ImageFolderLoaderOptions) {
    requireKnownKeys('ImageFolderLoader', options, [...batchLoaderKeys, 'augment', 'workers']);
    const { augment = {} } = options;
    requireKnownKeys('augment', augment, augmentationKeys);
    super(dataset, options);
    this.#crop = requireOneOf('augment.crop', augment.crop ?? 'central', crops);
    for (const name of ['scale', 'ratio'] as const) {
      if (augment[name] === undefined || this.#crop === 'random-resized') continue;
      throw new OptionError(`augment.${name}`, `augment.${name} belongs to the crop random-resized, but the crop is ${this.#crop}`);
    }
    this.#scale = requireInterval('augment.scale', augment.scale ?? [0.08, 1], 1);
    this.#ratio = requireInterval('augment.ratio', augment.ratio ?? [3 / 4, 4 / 3]);
    this.#flips = requireFlips(augment);
    this.#decoding = new Limiter(requireNumber('workers', options.workers ?? usableProcessors().count, { min: 1, integer: true }));
  }

  override settings(): Record<string, unknown> {
    const { height: imageSize, resize, onError } = this.dataset;
    const augment = { crop: this.#crop, scale: this.#scale, ratio: this.#ratio, ...this.#flips };
    return { ...super.settings(), imageSize, resize, onError, augment, contents: fingerprint(this.dataset) };
  }

  protected override async load(request: BatchRequest): Promise<IndexedBatch | null> {
    const { indices, device } = request;
    const { height, width, channels, labels } = this.dataset;
    const decode = await imageDecoder();
    const pixels = this.#spare.pop() ?? hostArray('u8', this.batchSize * height * width * channels);
    try {
      const squares = await settled(Array.from(indices, (_, position) => this.#square(request, position, decode, pixels)));
      const present = squares.filter((square) => square !== null);
      if (present.length === 0) return null;
      const handle = await native.imageBatch(
        device,
        pixels, height, width, channels,
        Int32Array.from(present, ({ position }) => position),
        Int32Array.from(present.flatMap(({ flips }) => [0, 0, flips])),
        0, height, width, this.mean, this.std,
      );
      const images = Int32Array.from(present, ({ index }) => index);
      return {
        images: new Tensor(handle, [images.length, height, width, channels], 'f32', device),
        labels: tensor(images.map((index) => labels[index]), [images.length], { device }),
        indices: images,
      };
    } finally {
      this.#spare.push(pixels);
    }
  }

  override close(): void {
    super.close();
    this.#spare.length = 0;
  }

  /** Writes the image of a position in the batch, or the one that takes its place, to `pixels`; null where there is none. */
  async #square(request: BatchRequest, position: number, decode: ImageDecoder, pixels: Uint8Array): Promise<Square | null> {
    const { iteration, signal } = request;
    for (const index of this.#candidates(request, position)) {
      if (this.#damaged.has(index)) continue;
      // Of the position, not of the batch: what one image draws, or that it is replaced, changes nothing for the others.
      const generator = iteration === null ? null : new Generator(Generator.seedFor(this.seed, 'augmentation', iteration, position));
      const flips = generator ? drawFlips(generator, this.#flips) : 0;
      const file = join(this.dataset.root, this.dataset.files[index]);
      const square = await this.#decoding.run(async () => {
        signal.throwIfAborted();
        // A disk that fails, or too many open files, must not look like damaged images.
        const bytes = await readImage(file);
        return decode(file, bytes, (size) => this.#cutOf(size, generator)).catch((error: unknown) => this.#skip(index, error));
      });
      if (!square) continue;
      pixels.set(square, position * square.length);
      return { position, index, flips };
    }
    if (iteration === null) return null;
    throw new DataError(this.dataset.root, `none of the ${this.dataset.count} images of ${this.dataset.name} can be decoded`);
  }

  /** The image of a position; in training also those that take its place when it is damaged, the next ones of the epoch. */
  *#candidates({ indices, iteration }: BatchRequest, position: number): Iterable<number> {
    yield indices[position];
    if (iteration === null) return;
    const order = this.orderAt(iteration);
    const start = (iteration % this.batchesPerEpoch) * this.batchSize + position;
    for (let next = 1; next < order.length; next++) yield order[(start + next) % order.length];
  }

  #cutOf(size: Size, generator: Generator | null): Cut {
    const { height: side, resize } = this.dataset;
    if (generator === null || this.#crop === 'central') return resizeAndCrop(size, resize, side, central);
    if (this.#crop === 'random') return resizeAndCrop(size, resize, side, anywhere(generator));
    return randomResizedCrop(size, side, { scale: this.#scale, ratio: this.#ratio }, generator);
  }

  /** Notes a damaged image. @throws What came, unless it is to be skipped. */
  #skip(index: number, error: unknown): null {
    const { onError, onSkip } = this.dataset;
    if (onError === 'throw' || !(error instanceof DataError)) throw error;
    // Two batches may have tried it at the same time.
    if (!this.#damaged.has(index)) onSkip?.(error);
    this.#damaged.add(index);
    return null;
  }
}

/** An image as it lies in the pixels of a batch. */
interface Square {
  position: number;
  /** In the data set. */
  index: number;
  /** As `native.imageBatch` takes them. */
  flips: number;
}

/** Waits for all, so that nobody writes later, and which error is reported does not depend on who is faster. */
async function settled<T>(promises: Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(promises);
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}

/** @throws {OptionError} unless `value` is two numbers above 0, at most `max`, in order. */
function requireInterval(name: string, value: unknown, max = Infinity): readonly [number, number] {
  const [low, high] = Array.isArray(value) && value.length === 2 ? (value as number[]) : [NaN, NaN];
  if (low > 0 && low <= high && high <= max && high < Infinity) return [low, high];
  const range = max === Infinity ? 'greater than 0' : `greater than 0 and at most ${max}`;
  throw new OptionError(name, `${name} must be two numbers ${range}, the smaller one first, but got ${describe(value)}`);
}
