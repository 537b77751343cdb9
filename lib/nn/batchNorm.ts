import { requireKnownKeys, requireNumber } from '../errors';
import { batchNorm } from '../ops';
import { type BatchNormOptions, checkBatchNorm, defaultEps, defaultMomentum } from '../ops/batchNorm';
import { requireBoolean, requireCount } from '../ops/checks';
import { ones, type Tensor, zeros } from '../tensor';
import { type Addition, type Epilogue, isOverridden, Module, ModuleBuffer, Parameter } from './module';

export interface BatchNorm2dOptions {
  channels: number;
  /** Share of the new batch in the running statistics, 0 to 1. Default 0.1. */
  momentum?: number;
  /** Added to the variance, > 0. Default 1e-5. */
  eps?: number;
  /** Whether a ReLU follows, in one pass. Default false. */
  relu?: boolean;
}

/**
 * Batch normalisation, `y = gamma (x - mean) / sqrt(variance + eps) + beta` per channel, possibly with its ReLU:
 * `[N, H, W, C]` or `[N, C]`. Mean and variance are the batch's in training and the running ones in evaluation.
 */
export class BatchNorm2d extends Module {
  readonly gamma: Parameter;
  readonly beta: Parameter;
  readonly runningMean: ModuleBuffer;
  readonly runningVariance: ModuleBuffer;
  readonly momentum: number;
  readonly eps: number;
  readonly relu: boolean;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: BatchNorm2dOptions) {
    super();
    requireKnownKeys('BatchNorm2d', options, ['channels', 'momentum', 'eps', 'relu']);
    const channels = requireCount('channels', options.channels);
    this.momentum = requireNumber('momentum', options.momentum ?? defaultMomentum, { min: 0, max: 1 });
    this.eps = requireNumber('eps', options.eps ?? defaultEps, { above: 0 });
    this.relu = requireBoolean('relu', options.relu ?? false);
    this.gamma = new Parameter(ones([channels]));
    this.beta = new Parameter(zeros([channels]));
    this.runningMean = new ModuleBuffer(zeros([channels]));
    this.runningVariance = new ModuleBuffer(ones([channels]));
  }

  /** @param residual Added before the ReLU, of the shape of x: the shortcut of a residual network. Default: none. */
  forward(x: Tensor, residual: Tensor | null = null): Tensor {
    return batchNorm(x, { ...this.#options(), residual });
  }

  override asEpilogue(addition: Addition | null): Epilogue | null {
    // A ReLU of its own comes before the addition, which the pass does not have.
    if (isOverridden(this, batchNorm2dForward) || (addition && this.relu)) return null;
    return { of: (y) => checkBatchNorm(y, { ...this.#options(), ...addition }) };
  }

  #options(): BatchNormOptions {
    const { gamma, beta, runningMean, runningVariance, training, momentum, eps, relu } = this;
    return { gamma, beta, runningMean, runningVariance, training, momentum, eps, relu };
  }
}

const batchNorm2dForward: unknown = Reflect.get(BatchNorm2d.prototype, 'forward');
