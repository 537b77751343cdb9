import { z } from 'zod';
import { CheckpointError, describe, SphereNetError } from '../errors';
import { type Classifier, createModel, type ModelConfig, type ModelOptions } from '../models';
import type { Head } from '../losses';
import { currentConfig, explicitConfig, modelConfig } from '../models/registry';
import { requireSameLayout } from '../nn/module';
import type { Optimizer } from '../optim';
import { Generator, type GeneratorState } from '../random';
import { Tensor, tensor, tidy } from '../tensor';
import { type Difference, differences, differenceText } from './differences';
import { readSafetensors, type SafetensorsFile, type StoredTensor, writeSafetensors } from './safetensors';

/** What a checkpoint is made of, and restored into. */
export interface CheckpointParts {
  model: Classifier;
  optimizer: Optimizer;
}

/** Where a run stands, beside its {@link CheckpointParts}. */
export interface Standing {
  /** Steps taken. */
  iteration: number;
  /** Whatever JSON holds of the run: its options and results. */
  training: Record<string, unknown>;
}

const FORMAT = 'spherenet checkpoint 1';

const json = z.string().transform((text, context): unknown => {
  try {
    return JSON.parse(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message });
    return z.NEVER;
  }
});
const word = z.int().min(0).max(2 ** 32 - 1);

const metadataSchema = z.object({
  format: z.literal(FORMAT),
  /** Of the model; null for one assembled by hand. */
  config: json.pipe(z.record(z.string(), z.unknown()).nullable()).transform((config) => config && currentConfig(config)),
  optimizer: json,
  random: json.pipe(z.record(z.string(), z.tuple([word, word, word, word]))),
  iteration: json.pipe(z.int().nonnegative()),
  training: json.pipe(z.record(z.string(), z.unknown())),
});

/** A checkpoint as read, its metadata checked. */
interface CheckpointFile extends z.output<typeof metadataSchema> {
  tensors: SafetensorsFile['tensors'];
}

/**
 * Writes model, optimizer, random streams and standing as one safetensors file, whole or not at all. What is written
 * is the state at the time of the call, also when training goes on meanwhile.
 * @throws {CheckpointError} when the file cannot be written; a former one of that name is untouched.
 */
export async function saveCheckpoint(path: string, { model, optimizer, iteration, training }: CheckpointParts & Standing): Promise<void> {
  const { tensors, values } = optimizer.stateDict();
  const contents = new Map([...stored('model.', model.stateDict()), ...stored('optimizer.', tensors)]);
  await writeSafetensors(path, contents, {
    format: FORMAT,
    config: JSON.stringify(model.config),
    optimizer: JSON.stringify(values),
    random: JSON.stringify(model.randomState()),
    iteration: JSON.stringify(iteration),
    training: JSON.stringify(training),
  });
}

/**
 * Restores what {@link saveCheckpoint} has written, and returns the standing.
 * @param check Looks at the standing before anything is changed; may throw.
 * @throws {CheckpointError} when the file is damaged, or belongs to another model or optimizer, naming the key that
 *   differs; nothing has been changed.
 */
export async function loadCheckpoint(
  path: string,
  parts: CheckpointParts,
  check: (standing: Standing) => void = () => undefined,
): Promise<Standing> {
  return restoreCheckpoint(path, parts, (standing, ofModel) => {
    requireNone(ofModel);
    check(standing);
  });
}

/**
 * {@link loadCheckpoint} for a caller who judges himself where the configs of the models differ, before anything is changed.
 * @internal
 */
export async function restoreCheckpoint(
  path: string,
  { model, optimizer }: CheckpointParts,
  check: (standing: Standing, ofModel: Difference[]) => void,
): Promise<Standing> {
  const file = await readCheckpoint(path);
  return naming(path, () =>
    tidy(() => {
      const { iteration, training } = file;
      check({ iteration, training }, configDifferences(file.config, model.config));
      const state = withPrefix('model.', file.tensors);
      requireSameLayout('model', state, model.stateDict());
      requireSameStreams(file.random, model.randomState());
      // Checks everything itself before it changes anything; after it nothing can fail.
      optimizer.loadStateDict({ tensors: withPrefix('optimizer.', file.tensors), values: file.optimizer });
      model.loadStateDict(state);
      model.loadRandomState(file.random);
      return { iteration, training };
    }),
  );
}

/** What a checkpoint says of its run. @throws {CheckpointError} when the file is damaged. @internal */
export async function readStanding(path: string): Promise<Standing> {
  const { iteration, training } = await readCheckpoint(path);
  return { iteration, training };
}

/**
 * Builds the model of a checkpoint, in evaluation mode, on the default device; `to()` moves it.
 * @throws {CheckpointError} when the file is damaged, or its model was assembled by hand.
 */
export async function loadModel(path: string): Promise<Classifier> {
  const { config, tensors } = await readCheckpoint(path);
  return naming(path, () =>
    tidy(() => {
      if (config === null) throw new CheckpointError(path, 'its model was assembled by hand; build it again and use loadCheckpoint');
      const model = createModel(config as unknown as ModelConfig);
      try {
        model.loadStateDict(withPrefix('model.', tensors));
      } catch (error) {
        model.dispose();
        throw error;
      }
      return model.eval();
    }),
  );
}

/**
 * Copies the weights of a checkpoint into a model for fine-tuning, perhaps with another loss: the features with all their
 * state, and of the head the class weights and whatever has the same name and shape, such as a bias or a learned scale. The
 * run itself starts anew.
 * @param model Of the same network and classes, made with the loss to go on with.
 * @throws {CheckpointError} when the file is damaged, or belongs to another network, naming the key or tensors that
 *   differ; nothing has been changed.
 */
export async function loadWeights(path: string, model: Classifier): Promise<void> {
  const { config, tensors } = await readCheckpoint(path);
  naming(path, () => {
    tidy(() => {
      if (config && model.config) requireNone(configDifferences(config, model.config).filter(({ path }) => !ofTheRun.test(path)));
      const features = withPrefix('model.features.', tensors);
      requireSameLayout('features', features, model.features.stateDict());
      const ofHead = headWeights(withPrefix('model.head.', tensors), model.head);
      model.features.loadStateDict(features);
      for (const [own, saved] of ofHead) own.assign(saved);
    });
  });
}

/** Of a config, what may be another where another loss goes on with the weights; shapes are compared beside it. */
const ofTheRun = /^config\.(head|seed|imageSize)\b/;

/** What a head takes from one of a checkpoint: pairs of its own tensor and the saved one. */
function headWeights(saved: Record<string, Tensor>, head: Head): [own: Tensor, saved: Tensor][] {
  const { classWeights } = head;
  const matrices = Object.entries(saved).filter(([, { shape }]) => shape.length === 2);
  if (matrices.length !== 1) {
    throw new CheckpointError('head', `its head must have one matrix of class weights, but has ${describe(matrices.map(([name]) => name))}`);
  }
  const [[, rows]] = matrices;
  requireSameLayout('head', { classWeights: rows }, { classWeights });
  const others = Object.entries(head.stateDict()).filter(([, own]) => own !== classWeights);
  const kept = others.filter(([name, own]) => Object.hasOwn(saved, name) && saved[name].shape.join() === own.shape.join());
  return [[classWeights, rows], ...kept.map(([name, own]): [Tensor, Tensor] => [own, saved[name]])];
}

async function readCheckpoint(path: string): Promise<CheckpointFile> {
  const { tensors, metadata } = await readSafetensors(path);
  const parsed = metadataSchema.safeParse(metadata);
  if (parsed.success) return { ...parsed.data, tensors };
  const { path: keys, message } = parsed.error.issues[0];
  throw new CheckpointError(path, `${path} is no checkpoint of this version of spherenet: ${keys.join('.')}: ${message}`);
}

/** Copies of the elements. */
function stored(prefix: string, tensors: Readonly<Record<string, Tensor>>): [string, StoredTensor][] {
  return Object.entries(tensors).map(([name, each]) => {
    const { dtype, shape } = each;
    if (dtype === 'bf16') throw new CheckpointError(name, `${name} is bf16, which checkpoints do not hold; cast() it to f32`);
    return [prefix + name, { dtype, shape, data: each.data() }];
  });
}

/** The tensors whose names begin with `prefix`, named by the rest; on the host, from where they go to any device. */
function withPrefix(prefix: string, tensors: SafetensorsFile['tensors']): Record<string, Tensor> {
  const chosen = [...tensors].filter(([name]) => name.startsWith(prefix));
  return Object.fromEntries(chosen.map(([name, { data, shape }]) => [name.slice(prefix.length), tensor(data, shape, { device: 'cpu' })]));
}

/** Runs `restore`; its errors become ones that name the file. */
function naming<R>(path: string, restore: () => R): R {
  try {
    return restore();
  } catch (cause) {
    if (!(cause instanceof SphereNetError)) throw cause;
    throw new CheckpointError(path, `${path} does not fit: ${cause.message}`, { cause });
  }
}

/** An earlier version may have had fewer options: they are filled in. */
function filledConfig(config: Record<string, unknown>): ModelConfig {
  return modelConfig(config as unknown as ModelOptions);
}

/** A default that is written out is no difference. */
function configDifferences(saved: Record<string, unknown> | null, own: ModelConfig | null): Difference[] {
  const [theirs, ours] = [saved && filledConfig(saved), own].map((config) => config && explicitConfig(withoutUndefined(config)));
  return differences('config', theirs, ours);
}

/** As JSON would give it back. */
function withoutUndefined(config: ModelConfig): ModelConfig {
  return JSON.parse(JSON.stringify(config)) as ModelConfig;
}

function requireNone(found: Difference[]): void {
  if (found.length > 0) throw new CheckpointError(found[0].path, differenceText(found, 'this model'));
}

function requireSameStreams(saved: Record<string, GeneratorState>, own: Record<string, GeneratorState>): void {
  const difference = [...Object.keys(own)].sort().join() !== Object.keys(saved).sort().join();
  if (difference) {
    throw new CheckpointError('random', `random streams are ${describe(Object.keys(saved))} in the checkpoint, but ${describe(Object.keys(own))} in this model`);
  }
  for (const state of Object.values(saved)) new Generator(0).setState(state);
}
