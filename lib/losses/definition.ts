import { z } from 'zod';
import type { Module } from '../nn';
import type { Head } from './head';

/** How the command line takes an option of a loss or regularizer. Several may share a flag. */
export interface OptionFlag {
  /** Such as `--margin <number>`; without a value, `--squared`, for what is true or false. */
  flags: string;
  /** With the default. */
  description: string;
  /** The words that it takes, where it takes words. */
  choices?: readonly string[];
}

/** The flags of those options that have one; configs take the others too. */
export const optionFlags = z.registry<OptionFlag>();

/**
 * A loss for configs and the command line.
 * @param name Its `loss` in a config.
 * @param options Beside those that every head has. The class checks ranges; here stand names and types.
 * @param defaults What the class takes for options that are not given.
 */
export function defineLoss<Name extends string, Options extends z.core.$ZodShape>(
  name: Name,
  loss: new (options: never) => Head,
  options: Options,
  defaults: Partial<z.output<z.ZodObject<Options>>>,
) {
  return { name, loss, options, defaults, schema: z.strictObject({ loss: z.literal(name), ...options }) };
}

/** The same for a regularizer, by its `regularizer` in a config. */
export function defineRegularizer<Name extends string, Options extends z.core.$ZodShape>(
  name: Name,
  regularizer: new (options: never) => Module,
  options: Options,
) {
  return { name, regularizer, options, schema: z.strictObject({ regularizer: z.literal(name), ...options }) };
}
