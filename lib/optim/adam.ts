import { requireKnownKeys, requireNumber } from '../errors';
import { native, packer } from '../native';
import { requireBoolean } from '../ops/checks';
import type { Tensor } from '../tensor';
import { handles, Optimizer, type ParameterGroup, type Update } from './optimizer';

export interface AdamOptions {
  /** Greater than 0. Default 1e-3. */
  learningRate?: number;
  /** Decay of the mean of the gradients, at least 0, less than 1. Default 0.9. */
  beta1?: number;
  /** Decay of the mean of their squares, at least 0, less than 1. Default 0.999. */
  beta2?: number;
  /** Added to the root of the second mean, > 0. Default 1e-8. */
  eps?: number;
  /** L2 penalty, at least 0. Default 0. */
  weightDecay?: number;
  /** Whether the penalty shrinks the parameters directly (AdamW) or is added to the gradients. Default false. */
  decoupled?: boolean;
}

const packOptions = packer('AdamOptions');

/** Adam, by Kingma and Ba, or AdamW, by Loshchilov and Hutter. */
export class Adam extends Optimizer {
  readonly #beta1: number;
  readonly #beta2: number;
  readonly #eps: number;
  readonly #decoupled: boolean;

  /** @throws {OptionError | DTypeError} naming the option at fault. */
  constructor(parameters: readonly Tensor[] | readonly ParameterGroup[], options: AdamOptions = {}) {
    requireKnownKeys('Adam', options, ['learningRate', 'beta1', 'beta2', 'eps', 'weightDecay', 'decoupled']);
    const { learningRate = 1e-3, weightDecay = 0 } = options;
    super(parameters, { learningRate, weightDecay }, ['firstMoment', 'secondMoment']);
    this.#beta1 = requireNumber('beta1', options.beta1 ?? 0.9, { min: 0, below: 1 });
    this.#beta2 = requireNumber('beta2', options.beta2 ?? 0.999, { min: 0, below: 1 });
    this.#eps = requireNumber('eps', options.eps ?? 1e-8, { above: 0 });
    this.#decoupled = requireBoolean('decoupled', options.decoupled ?? false);
  }

  protected override hyperparameters(): Record<string, unknown> {
    return { beta1: this.#beta1, beta2: this.#beta2, eps: this.#eps, decoupled: this.#decoupled };
  }

  protected override update({ parameters, gradients, moments, learningRate, weightDecay, step }: Update): void {
    native.adamStep(
      handles(parameters), handles(gradients), handles(moments[0]), handles(moments[1]),
      packOptions({
        learningRate, beta1: this.#beta1, beta2: this.#beta2, eps: this.#eps, weightDecay, step, decoupled: this.#decoupled,
      }),
    );
  }
}
