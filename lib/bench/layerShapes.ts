import { OptionError } from '../errors';

/** A convolution over square images. */
export interface ConvolutionShape {
  channels: number;
  filters: number;
  /** Height and width of the images in pixels. */
  size: number;
  /** Height and width of the filters. */
  kernel: number;
  stride: number;
  /** Zeros on each side. */
  padding: number;
}

interface ListedNetwork {
  /** Filters by stage, where none are asked for. */
  widths: readonly number[];
  /** Its convolutions, each shape once. */
  layers: (widths: readonly number[]) => ConvolutionShape[];
}

/** Named as `--network` names them, where it has them. */
const networks = {
  cnn9: {
    widths: [64, 96, 128],
    layers: ([a, b, c]) => [
      layer(3, a, 32), layer(a, a, 32),
      layer(a, b, 16), layer(b, b, 16),
      layer(b, c, 8), layer(c, c, 8),
      layer(c, 256, 4, { kernel: 4, padding: 0 }),
    ],
  },
  resnet32: {
    widths: [16, 32, 64],
    layers: ([a, b, c]) => [layer(3, a, 32), layer(a, a, 32), ...nextStage(a, b, 32), ...nextStage(b, c, 16)],
  },
  resnet18: {
    widths: [64, 128, 256, 512],
    layers: ([a, b, c, d]) => [
      layer(3, a, 224, { kernel: 7, stride: 2 }), layer(a, a, 56),
      ...nextStage(a, b, 56), ...nextStage(b, c, 28), ...nextStage(c, d, 14),
    ],
  },
} satisfies Record<string, ListedNetwork>;

/** A network whose layers can be timed one by one. */
export type LayerList = keyof typeof networks;

export const layerLists = Object.keys(networks) as LayerList[];

/** The first convolution of a residual stage, its shortcut, and the others. */
function nextStage(channels: number, filters: number, size: number): ConvolutionShape[] {
  return [
    layer(channels, filters, size, { stride: 2 }),
    layer(channels, filters, size, { kernel: 1, stride: 2 }),
    layer(filters, filters, size / 2),
  ];
}

/** A layer; its padding keeps the size but for the stride, unless another one is given. */
export function layer(
  channels: number,
  filters: number,
  size: number,
  { kernel = 3, stride = 1, padding = Math.floor(kernel / 2) }: Partial<Pick<ConvolutionShape, 'kernel' | 'stride' | 'padding'>> = {},
): ConvolutionShape {
  return { channels, filters, size, kernel, stride, padding };
}

/**
 * The different convolutions of a network, in its order.
 * @param widths Filters of each stage. Default: those of the network as published.
 * @throws {OptionError} when there are not as many as the network has stages.
 */
export function layersOf(list: LayerList, widths?: readonly number[]): ConvolutionShape[] {
  const network: ListedNetwork = networks[list];
  const stages = network.widths.length;
  if (widths && widths.length !== stages) {
    throw new OptionError('widths', `widths of ${list} must be ${stages} numbers, but got ${widths.length}`);
  }
  return network.layers(widths ?? network.widths);
}

/** Height and width of a layer's output; below 1 where the filters do not fit. */
export function outputSize({ size, kernel, stride, padding }: ConvolutionShape): number {
  return Math.floor((size + 2 * padding - kernel) / stride) + 1;
}

/** Such as `conv3x3 64->128 56x56 s2 b128`: stride and padding where they are not the usual ones. */
export function layerCase({ channels, filters, size, kernel, stride, padding }: ConvolutionShape, batchSize: number): string {
  return [
    `conv${kernel}x${kernel}`,
    `${channels}->${filters}`,
    `${size}x${size}`,
    ...(stride === 1 ? [] : [`s${stride}`]),
    ...(padding === Math.floor(kernel / 2) ? [] : [`p${padding}`]),
    `b${batchSize}`,
  ].join(' ');
}
