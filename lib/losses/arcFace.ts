import { z } from 'zod';
import { requireKnownKeys, requireNumber } from '../errors';
import { marginRange, radiusRange } from '../ops/losses';
import { AngularHead, type AngularMargin } from './angular';
import { defineLoss, optionFlags } from './definition';
import { type ClassWeightOptions, classWeightKeys } from './head';

export interface ArcFaceLossOptions extends ClassWeightOptions {
  /** m, in radians, 0 to pi. Default 0.5. */
  margin?: number;
  /** s, greater than 0, at most 1e6. Default 64. */
  scale?: number;
}

const defaults = { margin: 0.5, scale: 64 } as const;

/**
 * ArcFace (Deng et al., CVPR 2019): cross entropy of the logits `s cos(theta_j)`, that of the true class being
 * `s cos(theta + m)`. Where theta + m is beyond pi it goes on as `s (-1 + cos(theta) + cos(m))`, without a jump.
 */
export class ArcFaceLoss extends AngularHead {
  readonly margin: number;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: ArcFaceLossOptions) {
    requireKnownKeys('ArcFaceLoss', options, [...classWeightKeys, 'margin', 'scale']);
    const { margin = defaults.margin, scale = defaults.scale, ...size } = options;
    super({ ...size, operator: 'cosine' }, requireNumber('scale', scale, radiusRange));
    this.margin = requireNumber('margin', margin, marginRange('additive-angle'));
  }

  protected override marginOptions(): AngularMargin {
    return { marginFunction: 'additive-angle', margin: this.margin };
  }

  protected override highestValue(): number {
    return Math.cos(this.margin);
  }
}

/** Of a config, for a margin that is added. */
export function additiveMarginOptions(margin: string) {
  return {
    margin: z.number().optional().register(optionFlags, { flags: '--margin <number>', description: margin }),
    scale: z.number().optional().register(optionFlags, {
      flags: '--scale <number>', description: 's of ArcFace and CosFace (default: 64)',
    }),
  };
}

export const arcFace = defineLoss('arcface', ArcFaceLoss, additiveMarginOptions('m of ArcFace in radians (default: 0.5)'), defaults);
