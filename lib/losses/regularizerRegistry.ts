import { z } from 'zod';
import { requireOneOf, requireOptions } from '../errors';
import { mhe } from './mhe';
import { mma } from './mma';
import { orthogonality } from './orthogonality';
import type { FilterRegularizer } from './regularizer';

/** Every regularizer. What configs and the command line know of regularizers comes from here. */
export const regularizerDefinitions = [orthogonality, mhe, mma] as const;

export type RegularizerName = (typeof regularizerDefinitions)[number]['name'];

export const regularizerNames: readonly RegularizerName[] = regularizerDefinitions.map(({ name }) => name);

const [first, ...others] = regularizerDefinitions.map(({ schema }) => schema);

/** Which regularizer, with the options of its class. */
export const regularizerSchema = z.discriminatedUnion('regularizer', [first, ...others]);

export type RegularizerConfig = z.input<typeof regularizerSchema>;

/**
 * The regularizer that a config describes.
 * @throws {OptionError} naming the option at fault.
 */
export function createRegularizer(config: RegularizerConfig): FilterRegularizer {
  requireOptions('createRegularizer', config);
  const { regularizer: name, ...options } = config;
  requireOneOf('regularizer', name, regularizerNames);
  const Regularizer = regularizerDefinitions.find((each) => each.name === name)!.regularizer as new (options: object) => FilterRegularizer;
  return new Regularizer(options);
}
