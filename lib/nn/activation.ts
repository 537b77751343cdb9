import { requireKnownKeys, requireNumber } from '../errors';
import { dropout, flatten, relu } from '../ops';
import { defaultGenerator, Generator } from '../random';
import type { Tensor } from '../tensor';
import { Module } from './module';

/** `y = max(0, x)`, any shape. */
export class ReLU extends Module {
  forward(x: Tensor): Tensor {
    return relu(x);
  }
}

/** `[N, ...]` to `[N, rest]`. */
export class Flatten extends Module {
  forward(x: Tensor): Tensor {
    return flatten(x);
  }
}

export interface DropoutOptions {
  /** Of an element to become zero, at least 0 and less than 1. Default 0.5. */
  probability?: number;
  /** Gives this layer the seed of its own stream. Default: the one that `manualSeed` resets. */
  generator?: Generator;
}

/**
 * In training, sets elements to zero at random and divides the others by 1 - probability; in evaluation, nothing.
 * The layer draws from a stream of its own, whose state is part of `randomState()`.
 */
export class Dropout extends Module {
  readonly probability: number;
  readonly generator: Generator;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: DropoutOptions = {}) {
    super();
    requireKnownKeys('Dropout', options, ['probability', 'generator']);
    this.probability = requireNumber('probability', options.probability ?? 0.5, { min: 0, below: 1 });
    this.generator = new Generator((options.generator ?? defaultGenerator()).seed());
  }

  forward(x: Tensor): Tensor {
    return this.training ? dropout(x, { probability: this.probability, seed: () => this.generator.seed() }) : x;
  }
}
