import { Option } from 'commander';
import { requireNumber, requireOneOf } from '../errors';

type NumberRange = NonNullable<Parameters<typeof requireNumber>[2]>;

/** A number of at least 1 without a fraction, such as a count of images. */
export const atLeastOne: NumberRange = { min: 1, integer: true };

/** An option that takes a number in a range. */
export function numberOption(flags: string, description: string, range: NumberRange, fallback?: number): Option {
  const option = new Option(flags, description).default(fallback);
  return option.argParser((text) => numberFrom(flagOf(option), text, range));
}

/** An option that takes one of several words. */
export function choiceOption<T extends string>(
  flags: string,
  description: string,
  choices: readonly T[],
  fallback?: T,
): Option {
  const option = new Option(flags, description).choices(choices).default(fallback);
  return option.argParser((text) => requireOneOf(flagOf(option), text, choices));
}

/** Reads one entry of a list; `flag` is what an error calls it. */
type EntryParser<T> = (flag: string, text: string) => T;

/** An option that takes a list separated by commas; `fallback` is written as a user would. */
export function listOption<T>(flags: string, description: string, parse: EntryParser<T>, fallback?: string): Option {
  const option = new Option(flags, description);
  const parseList = (text: string): T[] => text.split(',').map((entry) => parse(flagOf(option), entry.trim()));
  return option.argParser(parseList).default(fallback && parseList(fallback), fallback);
}

/** Reads a number, for {@link listOption}. */
export function numberIn(range: NumberRange): EntryParser<number> {
  return (flag, text) => numberFrom(flag, text, range);
}

/** Reads one of several words, for {@link listOption}. */
export function oneOf<T extends string>(choices: readonly T[]): EntryParser<T> {
  return (flag, text) => requireOneOf(flag, text, choices);
}

/** `--json`, alike for every command. */
export function jsonOption(): Option {
  return new Option('--json', 'print one JSON document on stdout and nothing else there');
}

function flagOf(option: Option): string {
  return option.long ?? option.flags;
}

function numberFrom(flag: string, text: string, range: NumberRange): number {
  const value = text.trim() === '' ? NaN : Number(text);
  return requireNumber(flag, Number.isNaN(value) ? text : value, range);
}
