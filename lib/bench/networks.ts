import { OptionError, requireOneOf } from '../errors';
import { type Classifier, type ConvolutionConfig, plainNetwork, type PlainNetworkOptions } from '../models';
import { plainSchema } from '../models/config';

/** A network whose training step is timed, with plain and with spherical convolutions. */
export interface BenchmarkNetwork {
  /** By which it is asked for, such as `plain-9`. */
  name: string;
  /** Its spherical twin in the name of a case, such as `spherenet9`. */
  label: string;
  /** Filters by stage, where none are asked for. */
  widths: readonly number[];
  /** Of its images: height and width, channels. */
  image: { size: number; channels: number };
  classes: number;
  build: (widths: readonly number[], convolution: ConvolutionConfig) => Classifier;
  /** The network for a peer that builds it itself, as bench/peers/pytorch.py reads it; null where none can. */
  description: (widths: readonly number[]) => Record<string, unknown> | null;
}

type Depth = PlainNetworkOptions['depth'];

const depths = [...plainSchema.shape.depth.values] as Depth[];
const networks = depths.map(plainEntry);

/** What {@link benchmarkNetwork} knows. */
export const benchmarkNetworkNames: readonly string[] = networks.map(({ name }) => name);

/** @throws {OptionError} for a name that it does not know. */
export function benchmarkNetwork(name: string): BenchmarkNetwork {
  requireOneOf('network', name, benchmarkNetworkNames);
  return networks.find((network) => network.name === name)!;
}

/**
 * The filters by stage that were asked for, else those of the network.
 * @throws {OptionError} when there are not as many as the network has stages.
 */
export function widthsOf({ name, widths: own }: BenchmarkNetwork, asked?: readonly number[]): readonly number[] {
  if (!asked || asked.length === own.length) return asked ?? own;
  throw new OptionError('widths', `widths of ${name} must be ${own.length} numbers, but got ${asked.length}`);
}

/** CNN-n and SphereNet-n. */
function plainEntry(depth: Depth): BenchmarkNetwork {
  const image = { size: 32, channels: 3 };
  const classes = 10;
  const features = 256;
  return {
    name: `plain-${depth}`,
    label: `spherenet${depth}`,
    widths: [64, 96, 128],
    image,
    classes,
    build: (widths, convolution) => plainNetwork({ depth, widths: widths as [number, number, number], classes, features, convolution }),
    description: (widths) => ({
      family: 'plain', depth, widths, classes, features, imageSize: image.size, inputChannels: image.channels,
    }),
  };
}
