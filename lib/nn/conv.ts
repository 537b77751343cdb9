import { OptionError, requireKnownKeys } from '../errors';
import { type Pair, requireBoolean, requireCount, requirePair } from '../ops/checks';
import {
  type CheckedGeometry, convGeometry, type ConvOptions, convOptionKeys, prepareConv2d, type PreparedConvolution,
} from '../ops/conv2d';
import type { Generator } from '../random';
import { type Shape, sizeOf, type Tensor, zeros } from '../tensor';
import { heNormal } from './init';
import { type EpilogueHost, isOverridden, Module, Parameter } from './module';

export interface Conv2dOptions extends ConvOptions {
  inChannels: number;
  outChannels: number;
  /** Extents of the filters, at least 1. */
  kernelSize: Pair;
  /** Whether a bias is learned; it starts at 0. Default true. */
  bias?: boolean;
  /** Where the filters' initial values come from. Default: the one that `manualSeed` resets. */
  generator?: Generator;
}

export const conv2dOptionKeys = ['inChannels', 'outChannels', 'kernelSize', ...convOptionKeys, 'bias', 'generator'] as const;

/**
 * What plain and sphere convolutions have in common: geometry, filters `[O, kH, kW, C / groups]` from
 * N(0, 2 / (kH kW C / groups)) and possibly a bias.
 */
export abstract class Convolution extends Module implements EpilogueHost {
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  protected readonly geometry: CheckedGeometry;

  protected constructor(options: Conv2dOptions, defaultBias: boolean) {
    super();
    const inChannels = requireCount('inChannels', options.inChannels);
    const outChannels = requireCount('outChannels', options.outChannels);
    const kernel = requirePair('kernelSize', options.kernelSize, 1);
    const hasBias = requireBoolean('bias', options.bias ?? defaultBias);
    this.geometry = convGeometry(options, kernel);
    const { groups } = this.geometry;
    if (inChannels % groups !== 0 || outChannels % groups !== 0) {
      throw new OptionError('groups', `groups must divide inChannels (${inChannels}) and outChannels (${outChannels}), but is ${groups}`);
    }
    const filters = zeros([outChannels, ...kernel, inChannels / groups]);
    this.weight = new Parameter(heNormal(filters, { generator: options.generator }));
    this.bias = hasBias ? new Parameter(zeros([outChannels])) : null;
  }

  /** The forward pass, checked and not run yet, for the layer that follows to join. */
  abstract prepare(x: Tensor): PreparedConvolution;

  forward(x: Tensor): Tensor {
    return this.prepare(x).run(null);
  }

  override asEpilogueHost(): EpilogueHost | null {
    return isOverridden(this, convolutionForward) ? null : this;
  }

  override multiplyAdds(output: Shape): number {
    return sizeOf(output.slice(0, -1)) * this.weight.size;
  }
}

const convolutionForward: unknown = Reflect.get(Convolution.prototype, 'forward');

/**
 * Plain convolution, `y = conv(x, weight) + bias`: `[N, H, W, C]` to `[N, OH, OW, O]` with
 * `OH = floor((H + 2 padding - dilation (kH - 1) - 1) / stride) + 1`.
 */
export class Conv2d extends Convolution {
  /** @throws {OptionError} naming the option at fault. */
  constructor(options: Conv2dOptions) {
    requireKnownKeys('Conv2d', options, conv2dOptionKeys);
    super(options, true);
  }

  /** The forward pass, checked and not run yet, for the layer that follows to join. */
  prepare(x: Tensor): PreparedConvolution {
    return prepareConv2d(x, this.weight, this.bias, this.geometry);
  }
}
