import { requireKnownKeys } from '../errors';
import { requireBoolean } from '../ops/checks';
import { avgPool2dInWindow, type CheckedWindow, globalAvgPool2d, maxPool2dInWindow, poolWindow, type PoolOptions } from '../ops/pooling';
import type { Tensor } from '../tensor';
import { Module } from './module';

const poolOptionKeys = ['kernelSize', 'stride', 'padding'] as const;

/** The largest pixel of each window: `[N, H, W, C]` to `[N, OH, OW, C]`, `OH = floor((H + 2 padding - kernelSize) / stride) + 1`. */
export class MaxPool2d extends Module {
  readonly #window: CheckedWindow;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: PoolOptions) {
    super();
    requireKnownKeys('MaxPool2d', options, poolOptionKeys);
    this.#window = poolWindow(options);
  }

  forward(x: Tensor): Tensor {
    return maxPool2dInWindow(x, this.#window);
  }
}

/** The mean of each window, extents as in {@link MaxPool2d}. */
export class AvgPool2d extends Module {
  readonly #window: CheckedWindow;
  readonly #countPadding: boolean;

  /**
   * @param options.countPadding Whether the mean is over the whole window, zeros of the padding included. Default true.
   * @throws {OptionError} naming the option at fault.
   */
  constructor(options: PoolOptions & { countPadding?: boolean }) {
    super();
    requireKnownKeys('AvgPool2d', options, [...poolOptionKeys, 'countPadding']);
    this.#window = poolWindow(options);
    this.#countPadding = requireBoolean('countPadding', options.countPadding ?? true);
  }

  forward(x: Tensor): Tensor {
    return avgPool2dInWindow(x, this.#window, this.#countPadding);
  }
}

/** The mean of each channel: `[N, H, W, C]` to `[N, C]`. */
export class GlobalAvgPool2d extends Module {
  forward(x: Tensor): Tensor {
    return globalAvgPool2d(x);
  }
}
