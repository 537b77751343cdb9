import { type Command, Option } from 'commander';
import type { z } from 'zod';
import { OptionError } from '../errors';
import { type OptionFlag, optionFlags } from '../losses/definition';
import { choiceOption, numberOption } from './options';

/** One of the things that `--loss` or `--regularizer` names, with the options of its config. */
interface Definition {
  name: string;
  options: Record<string, z.ZodType>;
}

/** An option of a definition that has a flag. */
interface FlaggedOption {
  owner: string;
  /** In a config. */
  key: string;
  isRequired: boolean;
  flag: OptionFlag;
}

/** Definitions may have the same flag. */
interface SharedFlag {
  option: Option;
  members: FlaggedOption[];
}

/** The flags of a registry of definitions, and the config that they make. */
export class DefinitionOptions {
  readonly #choice: string;
  readonly #flags: readonly SharedFlag[];

  /** @param choice The flag that names one of them, such as `loss`. */
  constructor(choice: string, definitions: readonly Definition[]) {
    this.#choice = choice;
    this.#flags = collectFlags(definitions);
  }

  /** As commander has them. */
  get names(): string[] {
    return this.#flags.map(({ option }) => option.attributeName());
  }

  addTo(command: Command): void {
    for (const { option } of this.#flags) command.addOption(option);
  }

  /**
   * What the flags say of the definition that was chosen.
   * @throws {OptionError} naming the flag that would have no effect, or that is missing.
   */
  configOf(chosen: string, options: Partial<Record<string, unknown>>): Record<string, unknown> {
    const config: Record<string, unknown> = { [this.#choice]: chosen };
    for (const { option, members } of this.#flags) {
      const name = option.attributeName();
      const value = options[name];
      const own = members.find(({ owner }) => owner === chosen);
      if (own) {
        if (own.isRequired && value === undefined) throw new OptionError(name, `--${this.#choice} ${chosen} needs ${option.long!}`);
        config[own.key] = value;
      } else if (value !== undefined) {
        const owners = members.map(({ owner }) => owner).join(' or ');
        throw new OptionError(name, `${option.long!} belongs to --${this.#choice} ${owners}, but the ${this.#choice} is ${chosen}`);
      }
    }
    return config;
  }
}

function collectFlags(definitions: readonly Definition[]): SharedFlag[] {
  const all = definitions.flatMap(({ name: owner, options }) =>
    Object.entries(options).flatMap(([key, schema]): FlaggedOption[] => {
      const flag = optionFlags.get(schema);
      return flag ? [{ owner, key, isRequired: !schema.safeParse(undefined).success, flag }] : [];
    }),
  );
  const distinct = new Set(all.map(({ flag }) => flag.flags));
  return [...distinct].map((flags) => {
    const members = all.filter(({ flag }) => flag.flags === flags);
    return { option: optionOf(members.map(({ flag }) => flag)), members };
  });
}

/** With the descriptions of all, each once. */
function optionOf(members: readonly OptionFlag[]): Option {
  const [{ flags, choices }] = members;
  const description = [...new Set(members.map((each) => each.description))].join('; ');
  if (choices) return choiceOption(flags, description, choices);
  return flags.includes('<') ? numberOption(flags, description, {}) : new Option(flags, description);
}
