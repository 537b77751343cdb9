import { type Command, Option } from 'commander';
import type { z } from 'zod';
import { OptionError } from '../errors';
import { createHead, type HeadConfig, type LossName, lossNames } from '../losses';
import { type LossFlag, lossFlags } from '../losses/definition';
import { lossDefinitions } from '../losses/registry';
import { Generator } from '../random';
import { choiceOption, numberOption } from './options';

/** The loss, and whatever flags of losses were given. */
export type LossOptions = { loss: LossName } & Partial<Record<string, unknown>>;

/** An option of a loss that has a flag. */
interface LossOption {
  loss: LossName;
  /** In a config. */
  key: string;
  isRequired: boolean;
  flag: LossFlag;
}

/** Losses may have the same flag. */
interface SharedFlag {
  option: Option;
  members: LossOption[];
}

const sharedFlags = collectFlags();

function collectFlags(): SharedFlag[] {
  const all = lossDefinitions.flatMap(({ name: loss, options }) =>
    Object.entries<z.ZodType>(options).flatMap(([key, schema]): LossOption[] => {
      const flag = lossFlags.get(schema);
      return flag ? [{ loss, key, isRequired: !schema.safeParse(undefined).success, flag }] : [];
    }),
  );
  const distinct = new Set(all.map(({ flag }) => flag.flags));
  return [...distinct].map((flags) => {
    const members = all.filter(({ flag }) => flag.flags === flags);
    return { option: optionOf(members.map(({ flag }) => flag)), members };
  });
}

/** With the descriptions of all losses, each once. */
function optionOf(members: readonly LossFlag[]): Option {
  const [{ flags, choices }] = members;
  const description = [...new Set(members.map((each) => each.description))].join('; ');
  if (choices) return choiceOption(flags, description, choices);
  return flags.includes('<') ? numberOption(flags, description, {}) : new Option(flags, description);
}

/** Adds `--loss` and the flags of all losses. */
export function addLossOptions(command: Command): Command {
  command.addOption(choiceOption('--loss <name>', 'loss', lossNames, 'softmax'));
  for (const { option } of sharedFlags) command.addOption(option);
  return command;
}

/**
 * The loss that the options ask for.
 * @throws {OptionError} naming the flag that would have no effect, that is missing, or whose value the loss refuses.
 */
export function headConfig(options: LossOptions): HeadConfig {
  const { loss } = options;
  const config: Record<string, unknown> = { loss };
  for (const { option, members } of sharedFlags) {
    const name = option.attributeName();
    const value = options[name];
    const own = members.find((member) => member.loss === loss);
    if (own) {
      if (own.isRequired && value === undefined) throw new OptionError(name, `--loss ${loss} needs ${option.long!}`);
      config[own.key] = value;
    } else if (value !== undefined) {
      const owners = members.map((member) => member.loss).join(' or ');
      throw new OptionError(name, `${option.long!} belongs to --loss ${owners}, but the loss is ${loss}`);
    }
  }
  const head = config as HeadConfig;
  // Its class checks the values; a first one finds out before any images are fetched.
  createHead(head, { inFeatures: 1, classes: 2, generator: new Generator(0) }).dispose();
  return head;
}
