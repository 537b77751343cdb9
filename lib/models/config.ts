import { z } from 'zod';
import { describe, OptionError } from '../errors';
import { headSchema } from '../losses/registry';
import { angularOperators, normGuardKinds, positivities } from '../ops';
import { largestInteger } from '../ops/checks';

// Ranges that the layers check themselves are left to them: here stand the names, types and defaults.

export const count = z.int().positive().max(largestInteger);

/** For what one k is learned. `network` is one k for all of its layers. */
export const learnables = ['filter', 'layer', 'network'] as const;

/** How the convolutions of a network are made: `plain`, or the options of SphereConv2d. */
const convolutionSchema = z.union(
  [
    z.literal('plain'),
    z.strictObject({
      operator: z.enum(angularOperators).optional(),
      k: z.number().optional(),
      learnable: z.literal([false, ...learnables]).optional(),
      positivity: z.enum(positivities).optional(),
      normGuard: z.strictObject({ kind: z.enum(normGuardKinds), eps: z.number() }).optional(),
    }),
  ],
  { error: 'expected "plain" or options of SphereConv2d' },
);

export const batchNormSchema = z.strictObject({ momentum: z.number().optional(), eps: z.number().optional() });

/** The options that every network has, beside its `network`, `widths` and `imageSize`. */
export const networkOptions = {
  classes: count.min(2),
  convolution: convolutionSchema.default('plain'),
  batchNorm: batchNormSchema.default({}),
  inputChannels: count.default(3),
  head: headSchema.default({ loss: 'softmax' }),
  /** Of the initial values; plain and sphere networks with the same one start from the same filters. */
  seed: z.int().nonnegative().default(0),
};

export type ConvolutionConfig = z.output<typeof convolutionSchema>;

/**
 * The options with their defaults filled in.
 * @throws {OptionError} naming the first key that does not fit.
 */
export function parseConfig<S extends z.ZodType>(owner: string, schema: S, options: unknown): z.output<S> {
  const parsed = schema.safeParse(options);
  if (parsed.success) return parsed.data;
  throw optionError(owner, parsed.error.issues[0], options);
}

type Issue = z.core.$ZodIssue;

function optionError(owner: string, raised: Issue, options: unknown): OptionError {
  const issue = innermost(raised);
  const name = issue.path.join('.') || owner;
  if (issue.code === 'unrecognized_keys') {
    return new OptionError([...issue.path, issue.keys[0]].join('.'), `${name} has no option ${describe(issue.keys[0])}`);
  }
  const value = issue.path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown>)[key], options);
  // Such as "Invalid input: expected number, received string".
  const expected = issue.message.replace(/^[^:.]*[:.] /, '').replace(/, received .*$/, '').replace(/^E/, 'e');
  return new OptionError(name, `${name}: ${expected}, but got ${describe(value)}`);
}

/** Of a union, the issue of the member that was meant: the one which got past the type of the value itself. */
function innermost(issue: Issue): Issue {
  if (issue.code !== 'invalid_union') return issue;
  const meant = issue.errors.flat().find((each) => each.path.length > 0);
  return meant ? innermost({ ...meant, path: [...issue.path, ...meant.path] }) : issue;
}
