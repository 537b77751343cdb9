import { requireKnownKeys, requireNumber } from '../errors';
import { marginRange, radiusRange } from '../ops/losses';
import { AngularHead, type AngularMargin } from './angular';
import { additiveMarginOptions } from './arcFace';
import { defineLoss } from './definition';
import { type ClassWeightOptions, classWeightKeys } from './head';

export interface CosFaceLossOptions extends ClassWeightOptions {
  /** m, 0 to 2. Default 0.35. */
  margin?: number;
  /** s, greater than 0, at most 1e6. Default 64. */
  scale?: number;
}

const defaults = { margin: 0.35, scale: 64 } as const;

/**
 * CosFace (Wang et al., CVPR 2018): cross entropy of the logits `s cos(theta_j)`, that of the true class being
 * `s (cos(theta) - m)`.
 */
export class CosFaceLoss extends AngularHead {
  readonly margin: number;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: CosFaceLossOptions) {
    requireKnownKeys('CosFaceLoss', options, [...classWeightKeys, 'margin', 'scale']);
    const { margin = defaults.margin, scale = defaults.scale, ...size } = options;
    super({ ...size, operator: 'cosine' }, requireNumber('scale', scale, radiusRange));
    this.margin = requireNumber('margin', margin, marginRange('additive-value'));
  }

  protected override marginOptions(): AngularMargin {
    return { marginFunction: 'additive-value', margin: this.margin };
  }

  protected override highestValue(): number {
    return 1 - this.margin;
  }
}

export const cosFace = defineLoss('cosface', CosFaceLoss, additiveMarginOptions('m of CosFace (default: 0.35)'), defaults);
