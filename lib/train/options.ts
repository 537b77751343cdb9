import type { Loader } from '../data';
import { type Device, type DeviceChoice, resolveDevice } from '../device';
import { describe, OptionError, requireKnownKeys, requireNumber, requireOneOf } from '../errors';
import type { Classifier } from '../models';
import type { Module, Parameter } from '../nn';
import { deviceOf } from '../nn/module';
import { requireBoolean } from '../ops/checks';
import type { Optimizer, Schedule } from '../optim';
import type { Tensor } from '../tensor';
import { checkBeforeTraining } from './checks';
import { requireSameClasses } from './evaluate';
import type { CheckpointRecord, EvalRecord, TrainRecord } from './records';

/** Called, and awaited, between two steps. */
export interface TrainerCallbacks {
  onStep?: (iteration: number) => void | Promise<void>;
  onLog?: (record: TrainRecord) => void | Promise<void>;
  onEval?: (record: EvalRecord) => void | Promise<void>;
  onCheckpoint?: (record: CheckpointRecord) => void | Promise<void>;
}

/** Adds a penalty on the model's parameters to the loss, as OrthogonalityRegularizer does. */
export interface Regularizer {
  forward(model: Module): Tensor;
  /** With defaults filled in, as JSON: a checkpoint keeps it, and a resumed run is compared with it. Default: nothing is. */
  settings?(): Record<string, unknown>;
}

/**
 * Changes the gradients between backward and update. In data-parallel training over MPI or NCCL it replaces the
 * gradients of each process by their mean over all processes, so that every process makes the same update.
 */
export interface GradientReducer {
  /**
   * Called once in each step, after backward (or the replay of a captured graph) and before the gradients are clipped,
   * measured and used. It gets the model's parameters, in the same order in each step and process; where one has no
   * gradient, its `grad` is null. What this method throws ends fit(), before the update.
   *
   * It is synchronous: when it returns, the gradients have been written, as by a blocking all-reduce of MPI, or the work
   * that writes them is queued on the device, as by an all-reduce of NCCL. Tensors made here are released after the step.
   *
   * Write with `grad.assign()`: with cudaGraph the gradients are the same tensors in each step, and a step that finds
   * other ones captures anew. Read all gradients before you write the first: those of two parameters that were added to
   * each other may share their memory.
   */
  reduce(parameters: readonly Parameter[]): void;
}

export interface TrainerOptions {
  model: Classifier;
  optimizer: Optimizer;
  schedule: Schedule;
  regularizer?: Regularizer;
  /** Default: the gradients are used as backward leaves them. */
  gradientReducer?: GradientReducer;
  /** A DataLoader, an ImageFolderLoader, or one of your own. */
  loader: Loader;
  evalLoader?: Loader;
  /** Steps of the whole run. */
  iterations: number;
  /** Steps from one evaluation to the next. Default: one evaluation at the end. */
  evalEvery?: number;
  /** Steps from one record to the next. Default 50. */
  logEvery?: number;
  /** Steps from one checkpoint to the next. Default: one checkpoint at the end. */
  checkpointEvery?: number;
  /**
   * Folder for `log.jsonl` and `last.safetensors`; while fit() runs, no other run writes there. One that holds a run is
   * refused, unless `resume` names its checkpoint or `overwrite` is true. Default: neither file is written.
   */
  output?: string;
  /**
   * Whether the new run may replace the one in `output`, whose files are called `former.safetensors` and `former.jsonl`
   * until the new one has its first checkpoint, and are then removed. Default false.
   */
  overwrite?: boolean;
  /**
   * Whether this process writes log, checkpoints and progress. In data-parallel training only rank 0 does; the others
   * train, evaluate and keep their history as it does. Default true.
   */
  writer?: boolean;
  /**
   * Checkpoint to go on from, to the same result as without an interruption. What decides the result (model, optimizer,
   * schedule, regularizer, batches, images) is compared with the checkpoint's, as far as both tell it by `settings()`. More
   * iterations are no difference, unless the loss anneals its margin by the length of the run.
   */
  resume?: string;
  /**
   * What may differ from the checkpoint to resume, by names such as `learningRate`, `schedule.milestones` or `regularizer`;
   * the log gets an event `change`. Default: nothing.
   */
  change?: readonly string[];
  /** JSON of your own for the log and the checkpoints. */
  note?: Record<string, unknown>;
  /** Where to train: the model is moved there at once, and the loaders make their batches there. Default: where it is. */
  device?: DeviceChoice;
  /**
   * Gradients are scaled so that their norm is at most this, greater than 0. Default: they are not. On cuda every step
   * then waits for the norm.
   */
  maxGradNorm?: number;
  /**
   * Captures forward and backward into a CUDA graph and replays it with each batch, which spares the host its work of
   * submitting them: for cuda, without maxGradNorm, and for batches of one size. Each fit() captures after two ordinary
   * steps, and releases the graph together with the gradients. docs/cuda.md tells the limits. Default false.
   */
  cudaGraph?: boolean;
  callbacks?: TrainerCallbacks;
  /** Ends the run after the current step, with a checkpoint. */
  signal?: AbortSignal;
  /** A bar on stderr where that is a terminal. Elsewhere true writes lines, 'auto' nothing. Default 'auto'. */
  progress?: boolean | 'auto';
}

const optionKeys = [
  'model', 'optimizer', 'schedule', 'regularizer', 'gradientReducer', 'loader', 'evalLoader', 'iterations', 'evalEvery',
  'logEvery', 'checkpointEvery', 'output', 'overwrite', 'writer', 'resume', 'change', 'note', 'device', 'maxGradNorm', 'cudaGraph', 'callbacks', 'signal',
  'progress',
] as const satisfies readonly (keyof TrainerOptions)[];

const loaderMembers = [
  'dataset', 'batchSize', 'batchesPerEpoch', 'seed', 'batch', 'to', 'close', Symbol.asyncIterator,
] as const satisfies readonly (keyof Loader)[];

const DEFAULT_LOG_EVERY = 50;

type WithDefault = 'logEvery' | 'overwrite' | 'writer' | 'change' | 'cudaGraph' | 'callbacks' | 'progress';
/** As {@link checkOptions} returns them. */
export type CheckedOptions = TrainerOptions & Required<Pick<TrainerOptions, WithDefault>>;

/** Fills in the defaults. @throws {OptionError | DeviceError} naming the option at fault. */
export function checkOptions(options: TrainerOptions): CheckedOptions {
  requireKnownKeys('Trainer', options, optionKeys);
  const { evalLoader, evalEvery, checkpointEvery, output, maxGradNorm, progress = 'auto', callbacks = {} } = options;
  const logEvery = options.logEvery ?? DEFAULT_LOG_EVERY;
  const cudaGraph = requireBoolean('cudaGraph', options.cudaGraph ?? false);
  const writer = requireBoolean('writer', options.writer ?? true);
  const overwrite = requireBoolean('overwrite', options.overwrite ?? false);
  const change = requireChange(options);
  for (const name of ['model', 'optimizer', 'schedule', 'loader'] as const) {
    const value = options[name];
    if (typeof value !== 'object') throw new OptionError(name, `Trainer needs a ${name}, but got ${describe(value)}`);
  }
  requireReducer(options.gradientReducer);
  requireLoader('loader', options.loader, options.model);
  if (evalLoader !== undefined) requireLoader('evalLoader', evalLoader, options.model);
  checkBeforeTraining(options);
  requireNumber('iterations', options.iterations, { min: 1, integer: true });
  for (const [name, value] of Object.entries({ evalEvery, logEvery, checkpointEvery })) {
    if (value !== undefined) requireNumber(name, value, { min: 1, integer: true });
  }
  if (maxGradNorm !== undefined) requireNumber('maxGradNorm', maxGradNorm, { above: 0 });
  if (evalEvery !== undefined && !evalLoader) throw new OptionError('evalEvery', 'evalEvery needs an evalLoader');
  if (checkpointEvery !== undefined && output === undefined) {
    throw new OptionError('checkpointEvery', 'checkpointEvery needs an output folder');
  }
  if (overwrite && output === undefined) throw new OptionError('overwrite', 'overwrite needs an output folder');
  if (typeof progress !== 'boolean') requireOneOf('progress', progress, ['auto']);
  requireKnownKeys('callbacks', callbacks, ['onStep', 'onLog', 'onEval', 'onCheckpoint']);
  if (cudaGraph) requireCapturable(options);
  return { ...options, logEvery, overwrite, writer, change, cudaGraph, progress, callbacks };
}

/** @throws {OptionError} when a loader, maybe of the user's own, lacks a member, or has other classes than the model. */
function requireLoader(argument: string, loader: Loader, model: Classifier): void {
  const missing = loaderMembers.find((name) => (loader as Partial<Loader>)[name] === undefined);
  if (missing !== undefined) throw new OptionError(argument, `${argument} must have the member ${String(missing)}, as a Loader has`);
  requireSameClasses(argument, model, loader.dataset);
}

function requireChange({ change = [], resume }: TrainerOptions): readonly string[] {
  if (!Array.isArray(change) || !change.every((name) => typeof name === 'string' && name !== '')) {
    throw new OptionError('change', `change must be a list of names, such as ["learningRate"], but got ${describe(change)}`);
  }
  if (change.length > 0 && resume === undefined) throw new OptionError('change', 'change belongs to resume, which is not given');
  return change as string[];
}

function requireReducer(reducer: Partial<GradientReducer> | null | undefined): void {
  if (reducer === undefined || typeof reducer?.reduce === 'function') return;
  throw new OptionError('gradientReducer', `gradientReducer must have a method reduce(parameters), but got ${describe(reducer)}`);
}

/** @throws {OptionError} when forward and backward cannot be a CUDA graph. */
function requireCapturable({ model, device, loader, maxGradNorm }: TrainerOptions): void {
  requireCuda(device === undefined ? deviceOf(model) : resolveDevice(device));
  if (maxGradNorm !== undefined) {
    const why = 'cudaGraph cannot be combined with maxGradNorm, for which the host reads a norm at every step';
    throw new OptionError('cudaGraph', why);
  }
  if (loader.batchesPerEpoch * loader.batchSize > loader.dataset.count) {
    const why = 'cudaGraph needs batches of one size; with dropLast false the last one of an epoch is smaller';
    throw new OptionError('cudaGraph', why);
  }
}

/** @throws {OptionError} unless the device can capture a step. */
export function requireCuda(device: Device): void {
  if (device === 'cuda') return;
  throw new OptionError('cudaGraph', `cudaGraph needs a model that trains on cuda, but it trains on ${device}`);
}
