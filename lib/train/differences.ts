import { describe } from '../errors';
import { isJsonObject } from '../json';

/** Where two JSON values differ, by the keys that lead there. */
export interface Difference {
  path: string;
  theirs: unknown;
  ours: unknown;
}

/** All keys where two JSON values differ. Arrays are values as a whole. */
export function differences(path: string, theirs: unknown, ours: unknown): Difference[] {
  if (isJsonObject(theirs) && isJsonObject(ours)) {
    const names = new Set([...Object.keys(theirs), ...Object.keys(ours)]);
    return [...names].flatMap((name) => differences(`${path}.${name}`, theirs[name], ours[name]));
  }
  return JSON.stringify(theirs) === JSON.stringify(ours) ? [] : [{ path, theirs, ours }];
}

/** Such as `seed is 7 in the checkpoint, but 8 in this run`. */
export function differenceText(found: readonly Difference[], owner: string): string {
  return found.map(({ path, theirs, ours }) => `${path} is ${short(theirs)} in the checkpoint, but ${short(ours)} in ${owner}`).join('; ');
}

function short(value: unknown): string {
  const text = isJsonObject(value) ? JSON.stringify(value) : describe(value);
  return text.length > 100 ? `${text.slice(0, 97)}...` : text;
}
