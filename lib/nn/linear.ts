import { requireKnownKeys } from '../errors';
import { linear } from '../ops';
import { requireBoolean, requireCount } from '../ops/checks';
import type { Generator } from '../random';
import { type Shape, sizeOf, type Tensor, zeros } from '../tensor';
import { heNormal } from './init';
import { Module, Parameter } from './module';

export interface LinearOptions {
  inFeatures: number;
  outFeatures: number;
  /** Whether a bias is learned; it starts at 0. Default true. */
  bias?: boolean;
  /** Where the initial weights come from. Default: the one that `manualSeed` resets. */
  generator?: Generator;
}

export const linearOptionKeys = ['inFeatures', 'outFeatures', 'bias', 'generator'] as const;

/** What plain and sphere layers have in common: weights `[O, D]` from N(0, 2 / D) and possibly a bias. */
export abstract class FullyConnected extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;

  protected constructor(options: LinearOptions, defaultBias: boolean) {
    super();
    const inFeatures = requireCount('inFeatures', options.inFeatures);
    const outFeatures = requireCount('outFeatures', options.outFeatures);
    const hasBias = requireBoolean('bias', options.bias ?? defaultBias);
    this.weight = new Parameter(heNormal(zeros([outFeatures, inFeatures]), { generator: options.generator }));
    this.bias = hasBias ? new Parameter(zeros([outFeatures])) : null;
  }

  override multiplyAdds(output: Shape): number {
    return sizeOf(output.slice(0, -1)) * this.weight.size;
  }
}

/** Fully connected layer, `y = x weightᵀ + bias`: `[N, D]` to `[N, O]`. */
export class Linear extends FullyConnected {
  /** @throws {OptionError} naming the option at fault. */
  constructor(options: LinearOptions) {
    requireKnownKeys('Linear', options, linearOptionKeys);
    super(options, true);
  }

  forward(x: Tensor): Tensor {
    return linear(x, this.weight, { bias: this.bias });
  }
}
