import type { Command } from 'commander';
import { createHead, type HeadConfig, type LossName, lossNames } from '../losses';
import { lossDefinitions } from '../losses/registry';
import { Generator } from '../random';
import { DefinitionOptions } from './definitionOptions';
import { choiceOption } from './options';

/** The loss, and whatever flags of losses were given. */
export type LossOptions = { loss: LossName } & Partial<Record<string, unknown>>;

const flags = new DefinitionOptions('loss', lossDefinitions);

/** Options that belong to some losses alone. */
export const lossFlags: readonly string[] = flags.names;

/** Adds `--loss` and the flags of all losses. */
export function addLossOptions(command: Command): Command {
  command.addOption(choiceOption('--loss <name>', 'loss', lossNames, 'softmax'));
  flags.addTo(command);
  return command;
}

/**
 * The loss that the options ask for.
 * @throws {OptionError} naming the flag that would have no effect, that is missing, or whose value the loss refuses.
 */
export function headConfig(options: LossOptions): HeadConfig {
  const head = flags.configOf(options.loss, options) as HeadConfig;
  // Its class checks the values; a first one finds out before any images are fetched.
  createHead(head, { inFeatures: 1, classes: 2, generator: new Generator(0) }).dispose();
  return head;
}
