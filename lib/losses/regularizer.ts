import { z } from 'zod';
import { describe, OptionError, requireKnownKeys, requireNumber } from '../errors';
import { Module, SphereConv2d, SphereLinear } from '../nn';
import { requireModule } from '../nn/module';
import { add, scale } from '../ops';
import { Tensor } from '../tensor';
import { optionFlags } from './definition';
import { Head } from './head';

/** Filters to be regularised: modules with everything below them, or weights. */
export type Filters = Module | Tensor | readonly (Module | Tensor)[];

/**
 * Layers by name: `conv1_1` and `features.conv1_1` are a layer, `shortcut` is every layer in or called a shortcut, `head`
 * the class weights.
 */
export type LayerNames = readonly string[];

export interface FilterRegularizerOptions {
  /** At least 0. */
  coefficient?: number;
  /** SphereConv2d and SphereLinear layers that are left out. Default `['shortcut']`. */
  exclude?: LayerNames;
  /** Layers that are regularised too: plain ones, shortcuts, class weights. It overrules `exclude`. Default none. */
  include?: LayerNames;
}

export const filterRegularizerKeys = ['coefficient', 'exclude', 'include'] as const;

/** Of a config; the flag of the coefficient tells the default of this regularizer. */
export function filterRegularizerOptions(regularizer: string, coefficient: number) {
  return {
    coefficient: z.number().optional().register(optionFlags, {
      flags: '--coefficient <number>', description: `of ${regularizer} (default: ${coefficient})`,
    }),
    exclude: z.array(z.string()).optional(),
    include: z.array(z.string()).optional(),
  };
}

/** The weights of a layer; without a name where they were given by themselves. */
interface LayerWeight {
  name: string | null;
  weight: Tensor;
  /** Whether the layer is a SphereConv2d or SphereLinear, and not in a head. */
  isSphere: boolean;
}

/**
 * Base of the penalties on filters: `coefficient` times a sum over the filters of every SphereConv2d and SphereLinear given
 * or below a module given, and over the weights given. Shortcuts, plain layers and the class weights of a head are left
 * out unless options name them.
 */
export abstract class FilterRegularizer extends Module {
  readonly coefficient: number;
  readonly exclude: LayerNames;
  readonly include: LayerNames;
  /** Those of `exclude` that must exist: none by default. */
  readonly #excluded: LayerNames;
  /** Names that must be of layers which are regularised, by the option that has them. */
  readonly #ofChosen: [option: string, names: LayerNames][] = [];

  /** @throws {OptionError} naming the option at fault. */
  protected constructor(name: string, options: FilterRegularizerOptions, coefficient: number, ownKeys: readonly string[] = []) {
    super();
    requireKnownKeys(name, options, [...filterRegularizerKeys, ...ownKeys]);
    this.coefficient = requireNumber('coefficient', options.coefficient ?? coefficient, { min: 0 });
    this.exclude = options.exclude === undefined ? ['shortcut'] : requireNames('exclude', options.exclude);
    this.include = options.include === undefined ? [] : requireNames('include', options.include);
    this.#excluded = options.exclude ?? [];
  }

  /**
   * @returns A scalar, to be added to the loss.
   * @throws {OptionError} when there is no such filter, or no layer of a name in the options.
   */
  forward(filters: Filters): Tensor {
    const all = weightsOf(filters);
    requireLayers('exclude', this.#excluded, all);
    requireLayers('include', this.include, all);
    const chosen = all.filter((each) => this.#isChosen(each));
    if (chosen.length === 0) throw new OptionError('filters', 'filters hold no SphereConv2d, SphereLinear or weight');
    for (const [option, names] of this.#ofChosen) requireLayers(option, names, chosen);
    return scale(chosen.map(({ weight, name }) => this.penaltyOf(weight, name)).reduce(add), this.coefficient);
  }

  /** With defaults filled in, as JSON: a checkpoint keeps it, and a resumed run is compared with it. */
  settings(): Record<string, unknown> {
    const { coefficient, exclude, include } = this;
    return { name: this.constructor.name, coefficient, exclude, include };
  }

  #isChosen({ name, isSphere }: LayerWeight): boolean {
    return name === null || isNamed(name, this.include) || (isSphere && !isNamed(name, this.exclude));
  }

  /** Makes forward() refuse names that no regularised layer has. */
  protected requireNamedLayers(option: string, names: LayerNames): void {
    this.#ofChosen.push([option, requireNames(option, names)]);
  }

  /** Of one layer, without the coefficient. */
  protected abstract penaltyOf(weight: Tensor, name: string | null): Tensor;
}

/** Whether the layer, or a module around it, has one of the names. */
export function isNamed(layer: string, names: LayerNames): boolean {
  return names.some((name) => `.${layer}.`.includes(`.${name}.`));
}

function requireNames(option: string, names: unknown): LayerNames {
  if (Array.isArray(names) && names.every((name) => typeof name === 'string' && name !== '')) return names as string[];
  throw new OptionError(option, `${option} must be a list of names of layers, but got ${describe(names)}`);
}

function requireLayers(option: string, names: LayerNames, weights: readonly LayerWeight[]): void {
  const layers = weights.flatMap(({ name }) => name ?? []);
  for (const name of names) {
    if (layers.some((layer) => isNamed(layer, [name]))) continue;
    throw new OptionError(option, `${option} names ${describe(name)}, but the layers are ${layers.join(', ') || 'none'}`);
  }
}

/** Each once. */
function weightsOf(filters: Filters): LayerWeight[] {
  const given: readonly (Module | Tensor)[] = Array.isArray(filters) ? filters : [filters];
  const found = new Map<Tensor, LayerWeight>();
  for (const each of given) {
    const weights = each instanceof Tensor ? [{ name: null, weight: each, isSphere: false }] : weightsBelow(each);
    for (const weight of weights) if (!found.has(weight.weight)) found.set(weight.weight, weight);
  }
  return [...found.values()];
}

/** What has several axes: filters and rows of weights, no biases, curvatures or coefficients of a norm. */
function weightsBelow(module: Module): LayerWeight[] {
  requireModule('filters', module);
  const modules = module.modules();
  const spheres = new Set<Tensor>(modules.filter(isSphere).map(({ weight }) => weight));
  const ofHeads = new Set<Tensor>(modules.filter((each) => each instanceof Head).flatMap((head) => head.parameters()));
  return module
    .namedParameters()
    .filter(([, weight]) => weight.shape.length > 1)
    .map(([path, weight]) => ({
      name: path.slice(0, Math.max(path.lastIndexOf('.'), 0)),
      weight,
      isSphere: spheres.has(weight) && !ofHeads.has(weight),
    }));
}

function isSphere(module: Module): module is SphereConv2d | SphereLinear {
  return module instanceof SphereConv2d || module instanceof SphereLinear;
}
