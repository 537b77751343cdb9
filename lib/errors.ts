/**
 * Errors a user can act on. Each one names the argument, says what was expected and what came, and is
 * thrown before anything has been changed.
 */
export class SphereNetError extends Error {
  /** The argument, option or file at fault, as the user wrote it. */
  readonly argument: string;

  constructor(argument: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.argument = argument;
  }
}

/** A tensor or array has the wrong rank or extents. */
export class ShapeError extends SphereNetError {}
/** A tensor has the wrong element type. */
export class DTypeError extends SphereNetError {}
/** A device is unknown, not usable here, out of memory, or two tensors live on different ones. */
export class DeviceError extends SphereNetError {}
/** An option has the wrong type, is out of range or does not exist. */
export class OptionError extends SphereNetError {}
/** Data is damaged or senseless: a truncated file, a label out of range, a loss that is not a number. */
export class DataError extends SphereNetError {}
/** A checkpoint cannot be written, read, or does not fit the model. */
export class CheckpointError extends SphereNetError {}
/** A tensor is used after it was released. */
export class DisposedError extends SphereNetError {}

/** Marks the classes of a copy of this library; a process has two where two versions are installed, or a test resets its modules. */
const copyOf = Symbol.for('spherenet.copy');
const thisCopy = {};

/** To be called for a class whose instances users pass on: one of another copy is then called so in error messages. */
export function markAsOurs({ prototype }: { readonly prototype: object }): void {
  Object.defineProperty(prototype, copyOf, { value: thisCopy });
}

/** How a value reads in an error message: short, quoted where it is a string. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? value.slice(0, 57) + '...' : value);
  if (Array.isArray(value)) return `[${value.map(describe).join(', ')}]`;
  if (typeof value === 'function') return `function ${value.name || '(anonymous)'}`;
  if (typeof value === 'object' && value !== null) {
    const { constructor } = value as { constructor?: unknown };
    const name = typeof constructor === 'function' ? constructor.name : 'object';
    const foreign = copyOf in value && value[copyOf] !== thisCopy;
    return foreign ? `a ${name} of another copy of spherenet, which is loaded twice here` : name;
  }
  return String(value);
}

/** Which numbers are allowed. */
export interface NumberRange {
  /** Smallest value allowed. */
  min?: number;
  /** Largest value allowed. */
  max?: number;
  /** The value must be greater than this. */
  above?: number;
  /** The value must be less than this. */
  below?: number;
  integer?: boolean;
}

/**
 * Returns `value` when it is a finite number in range.
 * @throws {OptionError} otherwise, naming the option.
 */
export function requireNumber(name: string, value: unknown, range: NumberRange = {}): number {
  const { min, max, above, below, integer } = range;
  const valid =
    typeof value === 'number' &&
    Number.isFinite(value) &&
    (!integer || Number.isInteger(value)) &&
    (min === undefined || value >= min) &&
    (max === undefined || value <= max) &&
    (above === undefined || value > above) &&
    (below === undefined || value < below);
  if (valid) return value;
  const bounds = [
    min !== undefined ? `at least ${min}` : above !== undefined ? `greater than ${above}` : '',
    max !== undefined ? `at most ${max}` : below !== undefined ? `less than ${below}` : '',
  ].filter(Boolean);
  const kind = integer ? 'an integer' : 'a finite number';
  throw new OptionError(name, `${name} must be ${[kind, bounds.join(' and ')].filter(Boolean).join(' ')}, but got ${describe(value)}`);
}

/**
 * Returns `value` when it is one of `allowed`.
 * @throws {OptionError} otherwise, listing the choices.
 */
export function requireOneOf<T extends string | number>(name: string, value: unknown, allowed: readonly T[]): T {
  if (allowed.includes(value as T)) return value as T;
  throw new OptionError(name, `${name} must be one of ${allowed.map(describe).join(', ')}, but got ${describe(value)}`);
}

/** @throws {OptionError} naming the owner, unless `options` is an object with options. */
export function requireOptions(owner: string, options: unknown): asserts options is object {
  if (typeof options === 'object' && options !== null && !Array.isArray(options) && !(copyOf in options)) return;
  throw new OptionError(owner, `${owner} needs an object with its options, but got ${describe(options)}`);
}

/**
 * Checks that `options` is an object, and has no key outside `known`: a misspelt option must not be ignored in silence.
 * @throws {OptionError} naming the unknown key, or the owner when it got no object.
 */
export function requireKnownKeys(owner: string, options: unknown, known: readonly string[]): asserts options is object {
  requireOptions(owner, options);
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw new OptionError(key, `${owner} has no option ${describe(key)}; it knows ${known.join(', ')}`);
    }
  }
}

/**
 * Checks that a function got no argument beyond those it has, such as `{ strict: false }`: it must not be ignored in silence.
 * @throws {OptionError} naming the option in it, or the argument.
 */
export function requireNoMore(owner: string, extra: readonly unknown[]): void {
  if (extra.length === 0) return;
  const [first] = extra;
  const key = typeof first === 'object' && first !== null ? Object.keys(first)[0] : undefined;
  const what = key === undefined ? `further argument ${describe(first)}` : `option ${describe(key)}`;
  throw new OptionError(key ?? 'argument', `${owner} has no ${what}`);
}
