import { type Device, requireMemory } from '../device';
import { OptionError, requireKnownKeys } from '../errors';
import { native } from '../native';
import { largestInteger, type Pair, requireCount, requirePair } from '../ops/checks';
import { Generator } from '../random';
import { Tensor, tensor } from '../tensor';
import { BatchLoader, batchLoaderKeys, type BatchLoaderOptions, type BatchRequest, type IndexedBatch } from './batchLoader';
import { anywhere, central, drawFlips, type Flips, requireFlips } from './cut';
import { fingerprint, type ImageDataset, requireWholeArrays } from './dataset';

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

export interface DataLoaderOptions extends BatchLoaderOptions {
  augment?: Augmentation;
}

/** Where each image of a batch is cut out, as `native.imageBatch` takes it. */
type Placement = Int32Array;

const augmentationKeys = ['padding', 'crop', 'flipHorizontal', 'flipVertical'] as const;

/** Batches of a dataset in memory; see {@link BatchLoader}. In an evaluation a crop is the central one. */
export class DataLoader extends BatchLoader<ImageDataset> {
  /** Of the images in a batch. */
  readonly height: number;
  readonly width: number;

  readonly #padding: number;
  readonly #flips: Flips;

  /** @throws {OptionError | DeviceError} naming the option at fault. */
  constructor(dataset: ImageDataset, options: DataLoaderOptions) {
    requireKnownKeys('DataLoader', options, [...batchLoaderKeys, 'augment']);
    const { augment = {} } = options;
    requireKnownKeys('augment', augment, augmentationKeys);
    super(dataset, options);
    const { height, width } = dataset;
    this.#padding = requireCount('augment.padding', augment.padding ?? 0, 0);
    [this.height, this.width] = requirePair('augment.crop', augment.crop ?? [height, width], 1);
    if (this.height > height + 2 * this.#padding || this.width > width + 2 * this.#padding) {
      throw new OptionError(
        'augment.crop',
        `augment.crop must fit into the ${height}x${width} image with its padding of ${this.#padding}, but got ${this.height}x${this.width}`,
      );
    }
    const [rows, columns] = this.#freedom();
    if (this.height + rows > largestInteger || this.width + columns > largestInteger) {
      throw new OptionError('augment.padding', `augment.padding must leave images smaller than 2^31 pixels a side, but got ${this.#padding}`);
    }
    requireMemory(this.device, 4, [this.batchSize, this.height, this.width, dataset.channels]);
    this.#flips = requireFlips(augment);
  }

  override settings(): Record<string, unknown> {
    const augment = { padding: this.#padding, crop: [this.height, this.width], ...this.#flips };
    return { ...super.settings(), augment, contents: fingerprint(this.dataset) };
  }

  protected override load({ indices, iteration, device }: BatchRequest): Promise<IndexedBatch> {
    const { length } = indices;
    return this.#cutOut(indices, iteration === null ? this.#centralPlacement(length) : this.#randomPlacement(iteration, length), device);
  }

  #randomPlacement(iteration: number, images: number): Placement {
    const generator = new Generator(Generator.seedFor(this.seed, 'augmentation', iteration));
    const place = anywhere(generator);
    const [rows, columns] = this.#freedom();
    const placement = new Int32Array(3 * images);
    for (let i = 0; i < placement.length; i += 3) {
      placement[i] = place(rows);
      placement[i + 1] = place(columns);
      placement[i + 2] = drawFlips(generator, this.#flips);
    }
    return placement;
  }

  #centralPlacement(images: number): Placement {
    const [top, left] = this.#freedom().map(central) as [number, number];
    return Int32Array.from({ length: 3 * images }, (_, i) => [top, left, 0][i % 3]);
  }

  /** By how many pixels the crop can move down and right. */
  #freedom(): [rows: number, columns: number] {
    const { height, width } = this.dataset;
    return [height + 2 * this.#padding - this.height, width + 2 * this.#padding - this.width];
  }

  async #cutOut(indices: Int32Array, placement: Placement, device: Device): Promise<IndexedBatch> {
    requireWholeArrays(this.dataset);
    const { images, height, width, channels } = this.dataset;
    // Before the wait, after which they may be another thread's.
    const labels = indices.map((index) => this.dataset.labels[index]);
    const handle = await native.imageBatch(
      device,
      images, height, width, channels,
      indices, placement, this.#padding, this.height, this.width, this.mean, this.std,
    );
    return {
      images: new Tensor(handle, [indices.length, this.height, this.width, channels], 'f32', device),
      labels: tensor(labels, [indices.length], { device }),
      indices,
    };
  }
}
