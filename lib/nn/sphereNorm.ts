import { requireKnownKeys, requireNumber } from '../errors';
import { affine } from '../ops';
import { requireCount } from '../ops/checks';
import { full, type Tensor } from '../tensor';
import { Module, ModuleBuffer, Parameter } from './module';

export interface SphereNormOptions {
  channels: number;
  /** Factor of each channel: learned, from 1 on, or a fixed number. Default learned. */
  beta?: 'learned' | number;
  /** Added to each channel: learned, from 0 on, or a fixed number. Default learned. */
  gamma?: 'learned' | number;
}

/** SphereNorm, `y = beta x + gamma` per channel, after a SphereConv: `[N, H, W, C]` or `[N, C]`. */
export class SphereNorm extends Module {
  readonly beta: Parameter | ModuleBuffer;
  readonly gamma: Parameter | ModuleBuffer;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: SphereNormOptions) {
    super();
    requireKnownKeys('SphereNorm', options, ['channels', 'beta', 'gamma']);
    const channels = requireCount('channels', options.channels);
    const coefficient = (name: 'beta' | 'gamma', first: number) => {
      const { [name]: value = 'learned' } = options;
      if (value === 'learned') return new Parameter(full([channels], first));
      return new ModuleBuffer(full([channels], requireNumber(name, value)));
    };
    this.beta = coefficient('beta', 1);
    this.gamma = coefficient('gamma', 0);
  }

  forward(x: Tensor): Tensor {
    return affine(x, { scale: this.beta, shift: this.gamma });
  }
}
