import { defaultDevice, type Device, type DeviceChoice, requireSameDevice, resolveDevice } from '../device';
import { CheckpointError, describe, markAsOurs, OptionError, requireNoMore, SphereNetError } from '../errors';
import type { CheckedBatchNorm } from '../ops/batchNorm';
import { formatShape, requireFloat } from '../ops/checks';
import type { PreparedConvolution } from '../ops/conv2d';
import { Generator, type GeneratorState } from '../random';
import { noGrad, type Shape, Tensor } from '../tensor';

/** A tensor that an optimizer changes: it requires a gradient and outlives scopes. Takes over `from`, which is released. */
export class Parameter extends Tensor {
  constructor(from: Tensor) {
    requireFloat('from', from);
    super(from.alias().keep().handle, from.shape, from.dtype, from.device);
    from.dispose();
    this.requiresGrad = true;
    this.keep();
  }
}

/** State of a module without a gradient, such as a running mean; it outlives scopes. Takes over `from`, which is released. */
export class ModuleBuffer extends Tensor {
  constructor(from: Tensor) {
    super(from.alias().keep().handle, from.shape, from.dtype, from.device);
    from.dispose();
    this.keep();
  }
}

/** A module from one tensor to one tensor: what {@link Sequential} chains. */
export interface Layer extends Module {
  forward(x: Tensor): Tensor;
}

/** A layer that takes what follows it into its own pass over its output. */
export interface EpilogueHost {
  prepare(x: Tensor): PreparedConvolution;
}

/** What a layer does when it runs within the one before it. */
export interface Epilogue {
  /** What is to be done with the output y of the layer before, checked. */
  of(y: Tensor): CheckedBatchNorm;
}

/** What is added to the output of a layer, and whether a ReLU follows: the end of a residual block. */
export interface Addition {
  readonly residual: Tensor;
  readonly relu: boolean;
}

type Members<T> = [name: string, member: T][];

/**
 * Base of all layers, losses and models. A subclass keeps its {@link Parameter}s, {@link ModuleBuffer}s, modules and
 * generators, or arrays of them, in public properties; their names follow from the properties' names. What is
 * reachable in several ways counts once, under the first name.
 */
export abstract class Module {
  /** Whether layers such as Dropout and BatchNorm behave as in training; set by {@link train} and {@link eval}. */
  training = true;

  abstract forward(...inputs: never[]): unknown;

  /** This module, where it takes an epilogue; null where it takes none, or somebody has replaced `forward`. */
  asEpilogueHost(): EpilogueHost | null {
    return null;
  }

  /**
   * What this module does as an epilogue; null where it cannot be one, or somebody has replaced `forward`.
   * @param _addition To be done after it in the same pass.
   */
  asEpilogue(_addition: Addition | null): Epilogue | null {
    return null;
  }

  /** The modules held directly. Overridden where they are not in properties. */
  namedChildren(): Members<Module> {
    return this.#members(Module);
  }

  children(): Module[] {
    return this.namedChildren().map(([, child]) => child);
  }

  /** This module, under the name '', and all below it, outer ones first. */
  namedModules(): Members<Module> {
    const paths = new Map<Module, string>();
    const visit = (module: Module, path: string): void => {
      if (paths.has(module)) return;
      paths.set(module, path);
      for (const [name, child] of module.namedChildren()) visit(child, join(path, name));
    };
    visit(this, '');
    return [...paths].map(([module, path]) => [path, module]);
  }

  modules(): Module[] {
    return this.namedModules().map(([, module]) => module);
  }

  namedParameters(): Members<Parameter> {
    return this.#allMembers(Parameter);
  }

  parameters(): Parameter[] {
    return this.namedParameters().map(([, parameter]) => parameter);
  }

  namedBuffers(): Members<ModuleBuffer> {
    return this.#allMembers(ModuleBuffer);
  }

  /** Switches this module and all below it to training, or with `false` to evaluation. Returns itself. */
  train(mode = true): this {
    for (const module of this.modules()) module.training = mode;
    return this;
  }

  /** Switches this module and all below it to evaluation. Returns itself. */
  eval(): this {
    return this.train(false);
  }

  /**
   * Moves all parameters and buffers to `device`, with their gradients. The tensors stay the same, so that an optimizer
   * made before goes on with them; its state follows. Not between a forward pass and its `backward()`. Returns itself.
   * @throws {DeviceError} when the device cannot be used or has no memory for all of them; nothing has been changed.
   */
  to(device: DeviceChoice, ...extra: never[]): this {
    requireNoMore('to', extra);
    const target = resolveDevice(device);
    const tensors = Object.values(this.stateDict());
    const moving = [...tensors, ...tensors.flatMap(({ grad }) => grad ?? [])].filter((each) => each.device !== target);
    const copies = noGrad(() => moving.map((each) => each.to(target)));
    moving.forEach((each, i) => { each.adopt(copies[i]); });
    return this;
  }

  /** Every parameter and buffer by name: the live tensors, no copies. */
  stateDict(): Record<string, Tensor> {
    return Object.fromEntries([...this.namedParameters(), ...this.namedBuffers()]);
  }

  /**
   * Copies `dict` into the parameters and buffers. PyTorch's counters of batches, `num_batches_tracked`, are passed over.
   * @throws {CheckpointError} when a name is missing or unknown, or a shape or dtype differs; all such names are
   *   listed, and nothing has been changed.
   * @throws {OptionError} for an option: there is none, such as a `strict`.
   */
  loadStateDict(dict: Readonly<Record<string, Tensor>>, ...extra: never[]): void {
    requireNoMore('loadStateDict', extra);
    const own = this.stateDict();
    const known = Object.entries(dict).filter(([name]) => !name.endsWith('num_batches_tracked'));
    requireSameLayout('stateDict', Object.fromEntries(known), own);
    for (const [name, tensor] of Object.entries(own)) tensor.assign(dict[name]);
  }

  /** Where the random streams below this module stand, by name, for a checkpoint. */
  randomState(): Record<string, GeneratorState> {
    return Object.fromEntries(this.#allMembers(Generator).map(([name, generator]) => [name, generator.state()]));
  }

  /** Sets the random streams. @throws {CheckpointError} when the names are not those of {@link randomState}. */
  loadRandomState(states: Readonly<Record<string, GeneratorState>>, ...extra: never[]): void {
    requireNoMore('loadRandomState', extra);
    const generators = this.#allMembers(Generator);
    const names = generators.map(([name]) => name);
    if (Object.keys(states).sort().join() !== [...names].sort().join()) {
      throw new CheckpointError('states', `states must name ${describe(names)}, but names ${describe(Object.keys(states))}`);
    }
    for (const [name, generator] of generators) generator.setState(states[name]);
  }

  /** Releases all gradients. */
  zeroGrad(...extra: never[]): void {
    requireNoMore('zeroGrad', extra);
    zeroGradients(this.parameters());
  }

  /** Releases all parameters, buffers and gradients. */
  dispose(): void {
    this.zeroGrad();
    for (const tensor of Object.values(this.stateDict())) tensor.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  static {
    markAsOurs(this);
  }

  /** Multiply-adds of the products in a forward pass with an output of this shape, for `summary`. Default 0. */
  multiplyAdds?(output: Shape): number;

  #members<T>(type: abstract new (...args: never[]) => T): Members<T> {
    return Object.entries(this)
      .flatMap(([name, value]: [string, unknown]): Members<unknown> =>
        Array.isArray(value) ? value.map((entry, i) => [`${name}.${i}`, entry]) : [[name, value]],
      )
      .filter((entry): entry is [string, T] => entry[1] instanceof type);
  }

  #allMembers<T>(type: abstract new (...args: never[]) => T): Members<T> {
    const names = new Map<T, string>();
    for (const [path, module] of this.namedModules()) {
      for (const [name, member] of module.#members(type)) if (!names.has(member)) names.set(member, join(path, name));
    }
    return [...names].map(([member, name]) => [name, member]);
  }
}

function join(path: string, name: string): string {
  return path ? `${path}.${name}` : name;
}

/**
 * Where a module's parameters and buffers are; the default device where it has none.
 * @throws {DeviceError} naming one that is elsewhere than the first.
 */
export function deviceOf(module: Module): Device {
  const tensors = Object.entries(module.stateDict());
  if (tensors.length === 0) return defaultDevice();
  const [first, { device }] = tensors[0];
  for (const [name, tensor] of tensors) requireSameDevice(name, tensor.device, first, device);
  return device;
}

/** Remembers the modes of a module and of all below it. @returns What sets them again. */
export function modesOf(module: Module): () => void {
  const modes = module.modules().map((part) => [part, part.training] as const);
  return () => { for (const [part, training] of modes) part.training = training; };
}

/** Releases the gradients of these parameters. */
export function zeroGradients(parameters: Iterable<Tensor>): void {
  for (const parameter of parameters) {
    parameter.grad?.dispose();
    parameter.grad = null;
  }
}

/**
 * Checks that two sets of named tensors have the same names, shapes and dtypes.
 * @throws {CheckpointError} naming every tensor that is missing, unexpected or different.
 */
export function requireSameLayout(
  argument: string,
  got: Readonly<Record<string, Tensor>>,
  expected: Readonly<Record<string, { shape: Shape; dtype: string }>>,
): void {
  const missing = Object.keys(expected).filter((name) => !Object.hasOwn(got, name));
  const unexpected = Object.keys(got).filter((name) => !Object.hasOwn(expected, name));
  const layout = ({ shape, dtype }: { shape: Shape; dtype: string }) => `${dtype} ${formatShape(shape)}`;
  const different = Object.entries(expected)
    .filter(([name, tensor]) => Object.hasOwn(got, name) && layout(got[name]) !== layout(tensor))
    .map(([name, tensor]) => `${name} is ${layout(got[name])} where ${layout(tensor)} is needed`);
  const faults = [
    missing.length > 0 ? `missing: ${missing.join(', ')}` : '',
    unexpected.length > 0 ? `unexpected: ${unexpected.join(', ')}` : '',
    different.length > 0 ? `different: ${different.join(', ')}` : '',
  ].filter(Boolean);
  if (faults.length > 0) throw new CheckpointError(argument, `${argument} does not fit; ${faults.join('; ')}`);
}

/** Where errors were raised that already carry a path, so that outer modules can put theirs in front. */
const origins = new WeakMap<SphereNetError, { path: string; type: string; error: SphereNetError }>();

/**
 * Runs a part of a module's forward pass. An error in it comes out with the part's path and type in front, as in
 * `features.conv2_1 (SphereConv2d): x has 4 channels ...`, of the same class and for the same argument.
 */
export function locateErrors<R>(name: string, part: Module, run: () => R): R {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof SphereNetError)) throw error;
    const inner = origins.get(error);
    const origin = inner ? { ...inner, path: join(name, inner.path) } : { path: name, type: part.constructor.name, error };
    const { path, type, error: cause } = origin;
    const located = new (cause.constructor as typeof SphereNetError)(cause.argument, `${path} (${type}): ${cause.message}`, { cause });
    origins.set(located, origin);
    throw located;
  }
}

/**
 * Whether the forward pass of a module is another than its class came with: a subclass's, or one that somebody has put in
 * its place, in the module or in the prototype.
 */
export function isOverridden(module: Module, forward: unknown): boolean {
  return module.forward !== forward;
}

/** @throws {OptionError} when `value` is no module. */
export function requireModule(name: string, value: unknown): asserts value is Module {
  if (!(value instanceof Module)) throw new OptionError(name, `${name} must be a Module, but got ${describe(value)}`);
}
