import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tinyLoader, bytesOf, configuredModel, plainModel, statefulModel, tinyTrainer } from './tiny';
import { CheckpointError } from '../../lib/errors';
import { type Classifier, cnn, type CnnOptions } from '../../lib/models';
import { Adam, type Optimizer, SGD } from '../../lib/optim';
import { noGrad } from '../../lib/tensor';
import { loadCheckpoint, loadModel, readSafetensors, saveCheckpoint, type StoredTensor, writeSafetensors } from '../../lib/train';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
  path = join(folder, 'state.safetensors');
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const standing = { iteration: 3, training: { note: 'é', seed: 7 } };

/** A model after three steps, and its optimizer. */
async function trained(model: Classifier, optimizer: Optimizer = new Adam(model.parameters())) {
  await tinyTrainer({ model, optimizer, iterations: 3 }).fit();
  return { model, optimizer };
}

const stateOf = ({ model, optimizer }: { model: Classifier; optimizer: Optimizer }) => {
  const { tensors, values } = optimizer.stateDict();
  return structuredClone({ model: bytesOf(model.stateDict()), optimizer: bytesOf(tensors), values, random: model.randomState() });
};

const fresh = (model: Classifier) => ({ model, optimizer: new Adam(model.parameters()) });

describe('saveCheckpoint and loadCheckpoint', () => {
  test('restore model, optimizer, random streams and standing to the bit', async () => {
    const parts = await trained(statefulModel());
    await saveCheckpoint(path, { ...parts, ...standing });
    const other = fresh(statefulModel(2));
    expect(await loadCheckpoint(path, other)).toEqual(standing);
    expect(stateOf(other)).toEqual(stateOf(parts));
  });

  test('an optimizer that has taken no step yet', async () => {
    const parts = fresh(statefulModel());
    await saveCheckpoint(path, { ...parts, ...standing });
    const other = await trained(statefulModel(2));
    await loadCheckpoint(path, other);
    expect(stateOf(other)).toEqual(stateOf(parts));
  });

  test('the names are those of the modules, and the metadata tell the rest', async () => {
    const parts = await trained(configuredModel());
    await saveCheckpoint(path, { ...parts, ...standing });
    const { tensors, metadata } = await readSafetensors(path);
    const own = Object.keys(parts.model.stateDict()).map((name) => `model.${name}`);
    const moments = Object.keys(parts.optimizer.stateDict().tensors).map((name) => `optimizer.${name}`);
    expect([...tensors.keys()].sort()).toEqual([...own, ...moments].sort());
    expect(own).toContain('model.features.conv1_1.weight');
    expect(JSON.parse(metadata['config'])).toEqual(parts.model.config);
    expect(metadata).toMatchObject({ format: 'spherenet checkpoint 1', iteration: '3', training: '{"note":"é","seed":7}' });
  });

  test('what is written is the state at the time of the call', async () => {
    const parts = await trained(statefulModel());
    const before = stateOf(parts);
    const saved = saveCheckpoint(path, { ...parts, ...standing });
    for (const parameter of parts.model.parameters()) parameter.assign(new Float32Array(parameter.size));
    await saved;
    const other = fresh(statefulModel(2));
    await loadCheckpoint(path, other);
    expect(stateOf(other)).toEqual(before);
  });
});

/** Writes a checkpoint of a trained model with something changed. */
async function forge(model: Classifier, change: (tensors: Map<string, StoredTensor>, metadata: Record<string, string>) => void) {
  await saveCheckpoint(path, { ...(await trained(model)), ...standing });
  const { tensors, metadata } = await readSafetensors(path);
  change(tensors, metadata);
  await writeSafetensors(path, tensors, metadata);
}

describe('a checkpoint that does not fit is rejected, and nothing has changed', () => {
  async function expectRejected(parts: { model: Classifier; optimizer: Optimizer }, reason: RegExp) {
    const before = stateOf(parts);
    const error: unknown = await loadCheckpoint(path, parts).catch((each: unknown) => each);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(reason);
    expect((error as Error).message).toContain(path);
    expect(stateOf(parts)).toEqual(before);
  }

  test('another config, by its key', async () => {
    await saveCheckpoint(path, { ...(await trained(configuredModel())), ...standing });
    const base = configuredModel().config as CnnOptions;
    await expectRejected(fresh(cnn({ ...base, widths: [4, 8, 4] })), /config\.widths is \[4, 4, 4\] in the checkpoint, but \[4, 8, 4\] in this model/);
    await expectRejected(fresh(cnn({ ...base, convolution: {} })), /config\.convolution\.learnable is "network" in the checkpoint, but false/);
    await expectRejected(fresh(plainModel()), /config is \{.* in the checkpoint, but null in this model/);
  });

  test('other tensors, by their names', async () => {
    await saveCheckpoint(path, { ...(await trained(plainModel())), ...standing });
    await expectRejected(fresh(statefulModel()), /model does not fit; missing: features\.conv\.weight.*unexpected: features\.0\.weight/);
  });

  test('another optimizer', async () => {
    await saveCheckpoint(path, { ...(await trained(plainModel())), ...standing });
    const model = plainModel(2);
    await expectRejected({ model, optimizer: new SGD(model.parameters(), { learningRate: 1 }) }, /of Adam, but this optimizer is SGD/);
    await expectRejected({ model, optimizer: new Adam(model.parameters().slice(1)) }, /of 4 parameters, but this optimizer has 3/);
  });

  test.each<[string, (tensors: Map<string, StoredTensor>, metadata: Record<string, string>) => void, RegExp]>([
    ['a moment', (tensors) => tensors.delete('optimizer.0.velocity') || tensors.delete([...tensors.keys()].find((name) => name.startsWith('optimizer.'))!), /tensors does not fit; missing/],
    ['a random stream', (_, metadata) => { metadata['random'] = '{}'; }, /random streams are \[\] in the checkpoint, but \["features\.drop\.generator"\]/],
    ['a senseless random stream', (_, metadata) => { metadata['random'] = '{"features.drop.generator":[0,0,0,0]}'; }, /state must be four 32-bit words/],
    ['an iteration', (_, metadata) => { metadata['iteration'] = '-1'; }, /is no checkpoint of this version of spherenet: iteration:/],
    ['JSON', (_, metadata) => { metadata['training'] = '{'; }, /is no checkpoint of this version of spherenet: training:/],
    ['a format', (_, metadata) => { delete metadata['format']; }, /is no checkpoint of this version of spherenet: format:/],
  ])('without %s', async (_, change, reason) => {
    await forge(statefulModel(), change);
    await expectRejected(fresh(statefulModel(2)), reason);
  });
});

describe('loadModel', () => {
  test('builds the network again, for evaluation', async () => {
    const parts = await trained(configuredModel(3));
    await saveCheckpoint(path, { ...parts, ...standing });
    const model = await loadModel(path);
    expect(model.config).toEqual(parts.model.config);
    expect(bytesOf(model.stateDict())).toEqual(bytesOf(parts.model.stateDict()));
    expect(model.modules().some(({ training }) => training)).toBe(false);
    const { images } = await tinyLoader().batch(0);
    const logits = (each: Classifier) => noGrad(() => each.eval().predict(images)).toArray();
    expect(logits(model)).toEqual(logits(parts.model));
  });

  test('builds the network of a checkpoint that calls it by its former name', async () => {
    await forge(configuredModel(), (_, metadata) => { metadata['config'] = metadata['config'].replace('"network":"cnn"', '"network":"plain"'); });
    expect((await readSafetensors(path)).metadata['config']).toContain('"network":"plain"');
    expect((await loadModel(path)).config).toEqual(configuredModel().config);
    expect(await loadCheckpoint(path, fresh(configuredModel()))).toEqual(standing);
  });

  test('builds the network of a checkpoint from before some of its options', async () => {
    await forge(configuredModel(), (_, metadata) => {
      const { sphereNorm, ...config } = JSON.parse(metadata['config']) as Record<string, unknown>;
      expect(sphereNorm).toBe(false);
      metadata['config'] = JSON.stringify(config);
    });
    expect((await loadModel(path)).config).toEqual(configuredModel().config);
    expect(await loadCheckpoint(path, fresh(configuredModel()))).toEqual(standing);
  });

  test('cannot build what was assembled by hand, or does not fit its config', async () => {
    await saveCheckpoint(path, { ...(await trained(plainModel())), ...standing });
    await expect(loadModel(path)).rejects.toThrow(/its model was assembled by hand/);
    await forge(configuredModel(), (_, metadata) => { metadata['config'] = metadata['config'].replace('"widths":[4', '"widths":[5'); });
    await expect(loadModel(path)).rejects.toThrow(/stateDict does not fit; different: features\.conv1_1\.weight/);
    await forge(configuredModel(), (_, metadata) => { metadata['config'] = metadata['config'].replace('"depth":3', '"depth":4'); });
    await expect(loadModel(path)).rejects.toThrow(/does not fit: depth: /);
    await expect(loadModel(path)).rejects.toThrow(CheckpointError);
  });
});
