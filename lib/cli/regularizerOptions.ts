import type { Command } from 'commander';
import { createRegularizer, type RegularizerConfig, type RegularizerName, regularizerNames } from '../losses';
import { regularizerDefinitions } from '../losses/regularizerRegistry';
import { DefinitionOptions } from './definitionOptions';
import { choiceOption } from './options';

/** The regularizer, and whatever flags of regularizers were given. */
export type RegularizerOptions = { regularizer?: RegularizerName | 'none' } & Partial<Record<string, unknown>>;

const flags = new DefinitionOptions('regularizer', regularizerDefinitions);

/** Options that belong to some regularizers alone. */
export const regularizerFlags: readonly string[] = flags.names;

/** Adds `--regularizer` and the flags of all regularizers. */
export function addRegularizerOptions(command: Command): Command {
  const choices = [...regularizerNames, 'none'] as const;
  command.addOption(choiceOption('--regularizer <name>', 'penalty on the filters of SphereConvs (default: orthogonality)', choices));
  flags.addTo(command);
  return command;
}

/**
 * The regularizer that the options ask for, by default orthogonality; null for none.
 * @throws {OptionError} naming the flag that would have no effect, or whose value the regularizer refuses.
 */
export function regularizerConfig(options: RegularizerOptions): RegularizerConfig | null {
  const { regularizer = 'orthogonality' } = options;
  const config = flags.configOf(regularizer, options);
  if (regularizer === 'none') return null;
  // Its class checks the values.
  createRegularizer(config as RegularizerConfig);
  return config as RegularizerConfig;
}
