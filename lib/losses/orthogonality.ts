import { z } from 'zod';
import { orthogonality as orthogonalityOf } from '../ops';
import { requireBoolean } from '../ops/checks';
import type { Tensor } from '../tensor';
import { defineRegularizer, optionFlags } from './definition';
import { FilterRegularizer, type FilterRegularizerOptions, filterRegularizerOptions, isNamed, type LayerNames } from './regularizer';

export interface OrthogonalityOptions extends FilterRegularizerOptions {
  /**
   * Whether filters are brought to unit length before, so that only angles count; or the layers of which they are. Default
   * false, the paper's constraint WᵀW = I and the authors' code: it also holds the lengths of filters near 1, without which
   * they grow and training ends worse (docs/results).
   */
  normalized?: boolean | LayerNames;
}

/** `coefficient sum ||W Wᵀ - I||_F²` over layers, filters as rows of W (paper: §2.4). Default coefficient 1e-4. */
export class OrthogonalityRegularizer extends FilterRegularizer {
  readonly normalized: boolean | LayerNames;

  /** @throws {OptionError} naming the option at fault. */
  constructor(options: OrthogonalityOptions = {}) {
    super('OrthogonalityRegularizer', options, 1e-4, ['normalized']);
    const { normalized = false } = options;
    if (typeof normalized === 'object') this.requireNamedLayers('normalized', normalized);
    else requireBoolean('normalized', normalized);
    this.normalized = normalized;
  }

  override settings(): Record<string, unknown> {
    return { ...super.settings(), normalized: this.normalized };
  }

  protected penaltyOf(weight: Tensor, name: string | null): Tensor {
    const { normalized } = this;
    return orthogonalityOf(weight, {
      normalized: typeof normalized === 'boolean' ? normalized : name !== null && isNamed(name, normalized),
    });
  }
}

export const orthogonality = defineRegularizer('orthogonality', OrthogonalityRegularizer, {
  ...filterRegularizerOptions('orthogonality', 1e-4),
  normalized: z.union([z.boolean(), z.array(z.string())], { error: 'expected true, false or names of layers' }).optional()
    .register(optionFlags, { flags: '--normalized-filters', description: 'orthogonality of filters brought to unit length' }),
});
