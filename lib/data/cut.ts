import { requireBoolean } from '../ops/checks';
import type { Generator } from '../random';

/** Pixels. */
export interface Size {
  height: number;
  width: number;
}

/** A part of an image, in its pixels. */
export interface Region extends Size {
  top: number;
  left: number;
}

/** How a square is made of an image: a region of it is resized to `size`, of which `crop` is kept; null is all of it. */
export interface Cut {
  region: Region | null;
  size: Size;
  crop: Region | null;
}

/** Says where, from 0 to `freedom`, something begins that can be moved by so many pixels. */
type Place = (freedom: number) => number;

/** In the middle. */
export const central: Place = (freedom) => Math.floor(freedom / 2);

/** Anywhere, all places equally likely. */
export function anywhere(generator: Generator): Place {
  return (freedom) => generator.integer(freedom + 1);
}

/** By which axes images may be mirrored, as `augment` names it. */
export interface Flips {
  flipHorizontal: boolean;
  flipVertical: boolean;
}

/** With defaults filled in. @throws {OptionError} naming the option at fault. */
export function requireFlips({ flipHorizontal = false, flipVertical = false }: Partial<Flips>): Flips {
  return {
    flipHorizontal: requireBoolean('augment.flipHorizontal', flipHorizontal),
    flipVertical: requireBoolean('augment.flipVertical', flipVertical),
  };
}

/**
 * Whether an image is mirrored left-right, 1, and up-down, 2, as `native.imageBatch` takes it. Drawn also where unused: an
 * image is cut out alike with flips and without.
 */
export function drawFlips(generator: Generator, { flipHorizontal, flipVertical }: Flips): number {
  const [horizontal, vertical] = [generator.integer(2), generator.integer(2)];
  return (flipHorizontal ? horizontal : 0) + (flipVertical ? 2 * vertical : 0);
}

/** Resizes so that the shorter side is `resize`, then takes a square of `side`, at most `resize`. */
export function resizeAndCrop({ height, width }: Size, resize: number, side: number, place: Place): Cut {
  // Exact for the shorter side; the longer one is rounded down, as in torchvision.
  const resized = (extent: number): number => Math.floor((resize * extent) / Math.min(height, width));
  const size = { height: resized(height), width: resized(width) };
  const crop = { top: place(size.height - side), left: place(size.width - side), height: side, width: side };
  return { region: null, size, crop };
}

/** Which regions {@link randomResizedCrop} takes. */
export interface RegionRange {
  /** Least and largest share of the image's area. */
  scale: readonly [number, number];
  /** Least and largest width / height. */
  ratio: readonly [number, number];
}

const attempts = 10;

/**
 * A region of random area and shape (uniform in area and in the logarithm of width / height) at a random place, resized
 * to a square of `side`: torchvision's RandomResizedCrop. Where no region of ten fits the image, it is the largest
 * central one whose shape is allowed.
 */
export function randomResizedCrop(image: Size, side: number, { scale, ratio }: RegionRange, generator: Generator): Cut {
  const { height, width } = image;
  const size = { height: side, width: side };
  const between = (low: number, high: number): number => low + (high - low) * generator.uniform();
  for (let attempt = 0; attempt < attempts; attempt++) {
    const area = height * width * between(scale[0], scale[1]);
    const shape = Math.exp(between(Math.log(ratio[0]), Math.log(ratio[1])));
    const cut = { height: Math.round(Math.sqrt(area / shape)), width: Math.round(Math.sqrt(area * shape)) };
    if (cut.height < 1 || cut.width < 1 || cut.height > height || cut.width > width) continue;
    const place = anywhere(generator);
    return { region: { top: place(height - cut.height), left: place(width - cut.width), ...cut }, size, crop: null };
  }
  return { region: largestCentral(image, ratio), size, crop: null };
}

function largestCentral({ height, width }: Size, [least, largest]: readonly [number, number]): Region {
  const shape = Math.min(Math.max(width / height, least), largest);
  const cut = { height: Math.min(height, Math.round(width / shape)), width: Math.min(width, Math.round(height * shape)) };
  return { top: central(height - cut.height), left: central(width - cut.width), ...cut };
}
