import { z } from 'zod';
import { describe, OptionError } from '../errors';
import { angularOperators } from '../ops';

// Ranges that the layers check themselves are left to them: here stand the names, types and defaults.

const operator = z.enum(angularOperators);
const count = z.int().positive();

/** How the convolutions of a network are made: `plain`, or the options of SphereConv2d. */
export const convolutionSchema = z.union(
  [
    z.literal('plain'),
    z.strictObject({
      operator: operator.optional(),
      k: z.number().optional(),
      /** `network` is one k for all of its layers. */
      learnable: z.literal([false, 'filter', 'layer', 'network']).optional(),
      positivity: z.enum(['softplus', 'absolute']).optional(),
      normGuard: z.strictObject({ kind: z.enum(['max', 'add']), eps: z.number() }).optional(),
    }),
  ],
  { error: 'expected "plain" or options of SphereConv2d' },
);

const annealing = z.union(
  [
    z.enum(['sphereface', 'lsoftmax', 'none']),
    z.strictObject({ base: z.number(), gamma: z.number(), power: z.number(), minimum: z.number() }),
  ],
  { error: 'expected "sphereface", "lsoftmax", "none" or a schedule' },
);
const angular = { operator: operator.optional(), k: z.number().optional() };
const margin = { margin: z.number().optional(), annealing: annealing.optional() };

/** Which loss a network is trained by, with the options of its class. */
export const headSchema = z.discriminatedUnion('loss', [
  z.strictObject({ loss: z.literal('softmax'), bias: z.boolean().optional(), labelSmoothing: z.number().optional() }),
  z.strictObject({ loss: z.literal('w-softmax'), ...angular }),
  z.strictObject({ loss: z.literal('a-softmax'), ...margin }),
  z.strictObject({ loss: z.literal('ga-softmax'), ...angular, ...margin }),
  z.strictObject({ loss: z.literal('s-softmax'), ...angular, radius: z.number() }),
]);

/** CNN-n and SphereNet-n. */
export const plainSchema = z.strictObject({
  network: z.literal('plain').default('plain'),
  /** Number of convolutions, a third of them in each stage. */
  depth: z.literal([3, 9, 18, 45, 60, 69]),
  /** Filters of each stage. */
  widths: z.tuple([count, count, count]).default([64, 96, 128]),
  classes: z.int().min(2),
  convolution: convolutionSchema.default('plain'),
  /** Outputs of the last, fully connected layer before the classifier. */
  features: count.default(256),
  batchNorm: z.strictObject({ momentum: z.number().optional(), eps: z.number().optional() }).default({}),
  /** Whether a ReLU follows each BatchNorm. */
  relu: z.boolean().default(true),
  inputChannels: count.default(3),
  /** Height and width of the images; halved thrice, rounding down. */
  imageSize: z.int().min(8).default(32),
  head: headSchema.default({ loss: 'softmax' }),
  /** Of the initial values; plain and sphere networks with the same one start from the same filters. */
  seed: z.int().nonnegative().default(0),
});

export type ConvolutionConfig = z.output<typeof convolutionSchema>;
export type HeadConfig = z.output<typeof headSchema>;
export type PlainNetworkOptions = z.input<typeof plainSchema>;
/** A network as JSON, defaults filled in. */
export type ModelConfig = z.output<typeof plainSchema>;

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
