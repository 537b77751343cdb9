import { OptionError, requireKnownKeys, requireNumber } from '../errors';
import { Module, SphereConv2d, SphereLinear } from '../nn';
import { add, orthogonality, scale } from '../ops';
import { requireBoolean } from '../ops/checks';
import { Tensor } from '../tensor';

/** Filters to be regularised: modules with everything below them, or weights. */
export type Filters = Module | Tensor | readonly (Module | Tensor)[];

/**
 * `coefficient sum ||W Wᵀ - I||_F²` over the filters of every SphereConv2d and SphereLinear given or below a module
 * given, and over the weights given. Class weights of a head are no such filters.
 */
export class OrthogonalityRegularizer extends Module {
  readonly coefficient: number;
  readonly normalized: boolean;

  /**
   * @param options.coefficient At least 0. Default 1e-4.
   * @param options.normalized Whether filters are brought to unit length before, so that only angles count. Default
   *   true; false is the authors' code.
   * @throws {OptionError} naming the option at fault.
   */
  constructor(options: { coefficient?: number; normalized?: boolean } = {}) {
    super();
    requireKnownKeys('OrthogonalityRegularizer', options, ['coefficient', 'normalized']);
    this.coefficient = requireNumber('coefficient', options.coefficient ?? 1e-4, { min: 0 });
    this.normalized = requireBoolean('normalized', options.normalized ?? true);
  }

  /**
   * @returns A scalar, to be added to the loss.
   * @throws {OptionError} when there is no such filter.
   */
  forward(filters: Filters): Tensor {
    const weights = weightsOf(filters);
    if (weights.length === 0) throw new OptionError('filters', 'filters hold no SphereConv2d, SphereLinear or weight');
    const costs = weights.map((weight) => orthogonality(weight, { normalized: this.normalized }));
    return scale(costs.reduce(add), this.coefficient);
  }
}

function weightsOf(filters: Filters): Tensor[] {
  const given = filters instanceof Module || filters instanceof Tensor ? [filters] : filters;
  const weights = new Set<Tensor>();
  for (const each of given) {
    if (each instanceof Tensor) weights.add(each);
    else for (const part of each.modules()) if (isSphere(part)) weights.add(part.weight);
  }
  return [...weights];
}

function isSphere(module: Module): module is SphereConv2d | SphereLinear {
  return module instanceof SphereConv2d || module instanceof SphereLinear;
}
