import { z } from 'zod';
import { requireSameDevice } from '../device';
import { CheckpointError, describe, OptionError, requireKnownKeys, requireNoMore, requireNumber } from '../errors';
import { requireSameLayout, zeroGradients } from '../nn/module';
import { requireFloat } from '../ops/checks';
import { Tensor } from '../tensor';

/** Parameters with rates of their own. */
export interface ParameterGroup {
  parameters: readonly Tensor[];
  /** L2 penalty, at least 0. Default: the optimizer's. */
  weightDecay?: number;
  /** Greater than 0. Default: the optimizer's. Setting the optimizer's keeps the ratio of the two. */
  learningRate?: number;
}

/** What a checkpoint holds of an optimizer. */
export interface OptimizerState {
  /** The live tensors, no copies. */
  tensors: Record<string, Tensor>;
  /** JSON. */
  values: OptimizerValues;
}

export interface OptimizerValues {
  /** The optimizer's class. */
  optimizer: string;
  learningRate: number;
  /** How many steps each parameter has taken; those without a gradient take none. */
  steps: number[];
}

const valuesSchema: z.ZodType<OptimizerValues> = z.strictObject({
  optimizer: z.string(),
  learningRate: z.number().nonnegative(),
  steps: z.array(z.int().nonnegative()),
});

interface CheckedGroup {
  readonly parameters: readonly Tensor[];
  readonly weightDecay: number;
  /** The group's learning rate over the optimizer's. */
  readonly factor: number;
}

/** Steps taken by a parameter, and the moments that its optimizer keeps for it. */
interface ParameterState {
  steps: number;
  moments: Tensor[];
}

/** What a subclass updates in one native call: parameters of one group and dtype that have taken equally many steps. */
export interface Update {
  parameters: Tensor[];
  gradients: Tensor[];
  /** For each of the subclass's moments, the tensors of the parameters; zeros in the first step. */
  moments: Tensor[][];
  learningRate: number;
  weightDecay: number;
  /** Which step this is, counted from 1. */
  step: number;
}

/** Base of the optimizers. */
export abstract class Optimizer {
  readonly #groups: readonly CheckedGroup[];
  readonly #states = new Map<Tensor, ParameterState>();
  readonly #moments: readonly string[];
  #learningRate: number;

  /**
   * @param parameters Of one group, or several groups.
   * @param moments Names of the tensors that the subclass keeps for each parameter.
   */
  protected constructor(
    parameters: readonly Tensor[] | readonly ParameterGroup[],
    defaults: { learningRate: number; weightDecay: number },
    moments: readonly string[],
  ) {
    this.#learningRate = requireNumber('learningRate', defaults.learningRate, { above: 0 });
    requireNumber('weightDecay', defaults.weightDecay, { min: 0 });
    this.#groups = groupsOf(parameters).map((group) => checkGroup(group, defaults));
    this.#moments = moments;
    for (const parameter of this.#groups.flatMap((group) => group.parameters)) {
      if (this.#states.has(parameter)) throw new OptionError('parameters', 'parameters must name each tensor once');
      this.#states.set(parameter, { steps: 0, moments: [] });
    }
    if (this.#states.size === 0) throw new OptionError('parameters', 'parameters must hold at least one tensor');
  }

  /** All that it changes, in the order of the groups. */
  get parameters(): readonly Tensor[] {
    return [...this.#states.keys()];
  }

  /**
   * What decides its updates beside the learning rate, as JSON and with defaults filled in: a checkpoint keeps it, and a
   * resumed run is compared with it. Of each group its weight decay, its share of the learning rate and its size.
   */
  settings(): Record<string, unknown> {
    return {
      name: this.constructor.name,
      ...this.hyperparameters(),
      weightDecay: this.#groups.map(({ weightDecay }) => weightDecay),
      learningRateFactor: this.#groups.map(({ factor }) => factor),
      parameters: this.#groups.map(({ parameters }) => parameters.length),
    };
  }

  /** Those of the subclass, for {@link settings}. */
  protected hyperparameters(): Record<string, unknown> {
    return {};
  }

  /** Of the groups without one of their own; the others follow in proportion. */
  get learningRate(): number {
    return this.#learningRate;
  }

  /** @throws {OptionError} unless it is at least 0. */
  set learningRate(value: number) {
    this.#learningRate = requireNumber('learningRate', value, { min: 0 });
  }

  /**
   * Changes every parameter that has a gradient. What the optimizer keeps for a parameter follows it to its device.
   * @throws {DeviceError} when the parameters of a group are not all on one device.
   * @throws {DTypeError | ShapeError | DisposedError} when a gradient is not like its parameter, or something was released;
   *   nothing has been changed.
   */
  step(...extra: never[]): void {
    requireNoMore('step', extra);
    // What can fail does so before the first parameter is changed: checks of all groups, then memory for new moments.
    const alike = this.#groups.flatMap((group) => this.#alike(group).map((each) => ({ ...group, ...each })));
    const work = alike.map((each) => ({ ...each, states: each.members.map((parameter) => this.#stateOf(parameter)) }));
    for (const { weightDecay, factor, step, members, states } of work) {
      this.update({
        parameters: members,
        gradients: members.map((parameter) => parameter.grad!),
        moments: this.#moments.map((_, i) => states.map((state) => state.moments[i])),
        learningRate: factor * this.#learningRate,
        weightDecay,
        step,
      });
      for (const state of states) state.steps = step;
      for (const parameter of members) parameter.markChanged();
    }
  }

  protected abstract update(update: Update): void;

  /** Releases the gradients of all parameters. */
  zeroGrad(...extra: never[]): void {
    requireNoMore('zeroGrad', extra);
    zeroGradients(this.#states.keys());
  }

  stateDict(): OptimizerState {
    const states = [...this.#states.values()];
    const tensors = states.flatMap(({ moments }, i) => moments.map((moment, m) => [this.#nameOf(i, m), moment] as const));
    return {
      tensors: Object.fromEntries(tensors),
      values: { optimizer: this.constructor.name, learningRate: this.#learningRate, steps: states.map((state) => state.steps) },
    };
  }

  /**
   * Goes on from where {@link stateDict} was taken, with the same parameters in the same groups.
   * @throws {CheckpointError} when the state belongs to another optimizer or other parameters; nothing has been changed.
   */
  loadStateDict(state: { tensors: Readonly<Record<string, Tensor>>; values: unknown }, ...extra: never[]): void {
    requireNoMore('loadStateDict', extra);
    const { learningRate, steps } = this.#checkValues(state.values);
    const parameters = [...this.#states.keys()];
    const started = parameters.map((_, i) => i).filter((i) => steps[i] > 0);
    const expected = started.flatMap((i) => this.#moments.map((_, m) => [this.#nameOf(i, m), parameters[i]] as const));
    requireSameLayout('tensors', state.tensors, Object.fromEntries(expected));
    const loaded = parameters.map((parameter, i) =>
      steps[i] > 0 ? this.#moments.map((_, m) => copyBeside(parameter, state.tensors[this.#nameOf(i, m)])) : [],
    );
    this.dispose();
    this.#learningRate = learningRate;
    parameters.forEach((parameter, i) => this.#states.set(parameter, { steps: steps[i], moments: loaded[i] }));
  }

  /** Releases what the optimizer keeps. */
  dispose(): void {
    for (const { moments } of this.#states.values()) for (const moment of moments) moment.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /**
   * Parameters with a gradient, by dtype and by the step they take: in most cases all alike.
   * @throws {DeviceError | DTypeError | ShapeError | DisposedError} when a gradient does not fit its parameter.
   */
  #alike({ parameters }: CheckedGroup): { step: number; members: Tensor[] }[] {
    const groups = new Map<string, { step: number; members: Tensor[] }>();
    for (const [i, parameter] of parameters.entries()) {
      const grad = gradientOf(`parameters[${i}]`, parameter);
      if (!grad) continue;
      requireSameDevice(`parameters[${i}]`, parameter.device, 'parameters[0]', parameters[0].device);
      const { dtype } = parameter;
      const step = this.#states.get(parameter)!.steps + 1;
      const key = `${dtype} ${step}`;
      const group = groups.get(key);
      if (group) group.members.push(parameter);
      else groups.set(key, { step, members: [parameter] });
    }
    return [...groups.values()];
  }

  #nameOf(parameter: number, moment: number): string {
    return `${parameter}.${this.#moments[moment]}`;
  }

  /** With moments beside the parameter. @throws {DisposedError | DeviceError} */
  #stateOf(parameter: Tensor): ParameterState {
    const state = this.#states.get(parameter)!;
    // Those of a step that has failed are zeros still.
    if (state.moments.length === 0) state.moments = this.#moments.map(() => parameter.newFull(0).keep());
    for (const moment of state.moments) moment.requireAlive('moment');
    for (const moment of state.moments) if (moment.device !== parameter.device) moment.adopt(moment.to(parameter.device));
    return state;
  }

  #checkValues(values: unknown): OptimizerValues {
    const parsed = valuesSchema.safeParse(values);
    if (!parsed.success) throw new CheckpointError('values', `values are no state of an optimizer: ${describe(values)}`);
    const { optimizer, steps } = parsed.data;
    if (optimizer !== this.constructor.name) {
      throw new CheckpointError('values', `values are of ${optimizer}, but this optimizer is ${this.constructor.name}`);
    }
    if (steps.length !== this.#states.size) {
      throw new CheckpointError('values', `values are of ${steps.length} parameters, but this optimizer has ${this.#states.size}`);
    }
    return parsed.data;
  }
}

function groupsOf(parameters: readonly Tensor[] | readonly ParameterGroup[]): readonly ParameterGroup[] {
  if (!Array.isArray(parameters)) {
    throw new OptionError('parameters', `parameters must be an array of tensors or of groups, but got ${describe(parameters)}`);
  }
  const isGroup = (entry: Tensor | ParameterGroup): entry is ParameterGroup => !(entry instanceof Tensor);
  return parameters.every(isGroup) ? parameters : [{ parameters: parameters as Tensor[] }];
}

function checkGroup(group: ParameterGroup, defaults: { learningRate: number; weightDecay: number }): CheckedGroup {
  requireKnownKeys('a parameter group', group, ['parameters', 'weightDecay', 'learningRate']);
  const { parameters, weightDecay = defaults.weightDecay, learningRate = defaults.learningRate } = group;
  parameters.forEach((parameter, i) => {
    const name = `parameters[${i}]`;
    requireFloat(name, parameter);
    if (!parameter.requiresGrad || parameter.node) {
      throw new OptionError(name, `${name} must be a leaf that requires a gradient`);
    }
  });
  return {
    parameters,
    weightDecay: requireNumber('weightDecay', weightDecay, { min: 0 }),
    factor: requireNumber('learningRate', learningRate, { above: 0 }) / defaults.learningRate,
  };
}

/**
 * The gradient of a parameter, null where it has none.
 * @throws {DeviceError | DTypeError | ShapeError | DisposedError} when one of the two was released, or the gradient no
 *   longer is like the parameter: either may have been moved since it was set.
 */
export function gradientOf(name: string, parameter: Tensor): Tensor | null {
  parameter.requireAlive(name);
  const { grad } = parameter;
  if (grad) parameter.requireGradient(`${name}.grad`, grad);
  return grad;
}

function copyBeside(parameter: Tensor, from: Tensor): Tensor {
  return parameter.newEmpty().assign(from).keep();
}

/** The handles that the native side takes. */
export function handles(tensors: readonly Tensor[]) {
  return tensors.map((tensor) => tensor.handle);
}
