import { OptionError, requireKnownKeys, requireNumber } from '../errors';
import { native, packer } from '../native';
import { requireBoolean } from '../ops/checks';
import type { Tensor } from '../tensor';
import { handles, Optimizer, type ParameterGroup, type Update } from './optimizer';

export interface SGDOptions {
  /** Greater than 0. */
  learningRate: number;
  /** Share of the velocity that is kept, at least 0, less than 1. Default 0: none. */
  momentum?: number;
  /** L2 penalty, at least 0. Default 0. */
  weightDecay?: number;
  /** Whether the velocity looks one step ahead; needs a momentum. Default false. */
  nesterov?: boolean;
}

const packOptions = packer('SgdOptions');

/** Stochastic gradient descent: `v = momentum v + gradient`, `parameter = parameter - learningRate v`. */
export class SGD extends Optimizer {
  readonly #momentum: number;
  readonly #nesterov: boolean;

  /** @throws {OptionError | DTypeError} naming the option at fault. */
  constructor(parameters: readonly Tensor[] | readonly ParameterGroup[], options: SGDOptions) {
    requireKnownKeys('SGD', options, ['learningRate', 'momentum', 'weightDecay', 'nesterov']);
    const { learningRate, weightDecay = 0 } = options;
    const momentum = requireNumber('momentum', options.momentum ?? 0, { min: 0, below: 1 });
    super(parameters, { learningRate, weightDecay }, momentum > 0 ? ['velocity'] : []);
    this.#momentum = momentum;
    this.#nesterov = requireBoolean('nesterov', options.nesterov ?? false);
    if (this.#nesterov && momentum === 0) throw new OptionError('nesterov', 'nesterov needs a momentum greater than 0, but got 0');
  }

  protected override hyperparameters(): Record<string, unknown> {
    return { momentum: this.#momentum, nesterov: this.#nesterov };
  }

  protected override update({ parameters, gradients, moments, learningRate, weightDecay, step }: Update): void {
    native.sgdStep(
      handles(parameters), handles(gradients), handles(moments[0] ?? []),
      packOptions({ learningRate, momentum: this.#momentum, weightDecay, nesterov: this.#nesterov, first: step === 1 }),
    );
  }
}
