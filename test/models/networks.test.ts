// What every network of the registry must do, with plain and with spherical convolutions.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Classifier, createModel, type ModelOptions, networkNames } from '../../lib/models';
import { modelConfig, networkPreset } from '../../lib/models/registry';
import { summary } from '../../lib/nn';
import { SGD } from '../../lib/optim';
import { noGrad } from '../../lib/tensor';
import { loadCheckpoint, loadModel, saveCheckpoint } from '../../lib/train';
import { valuesOf } from '../nn/expectations';
import { isFinite, random, randomLabels } from '../support/tensors';

const size = 8;
const [x, labels] = [random([3, size, size, 2], 1, 'f32'), randomLabels(3, 4, 2)];

/** Of this preset, with as few filters as make every layer different from a constant. */
function tiny(name: string, seed = 0, convolution: ModelOptions['convolution'] = {}): Classifier {
  const { options } = networkPreset(name);
  const { widths } = modelConfig({ classes: 4, ...options });
  const images = { classes: 4, imageSize: size, inputChannels: 2 };
  return createModel({ ...options, ...images, widths: widths.map(() => 3), convolution, seed } as ModelOptions);
}

const optimizerOf = (model: Classifier) => new SGD(model.parameters(), { learningRate: 0.01 });

describe.each(networkNames)('%s', (name) => {
  test.each(['plain', {}] as const)('takes a training step that changes every parameter: %j', (convolution) => {
    const model = tiny(name, 1, convolution);
    const before = valuesOf(model.stateDict());
    const { loss, logits } = model.forward(x, labels);
    expect(logits.shape).toEqual([3, 4]);
    loss.backward();
    optimizerOf(model).step();
    for (const [parameter, value] of model.namedParameters()) {
      expect({ parameter, finite: isFinite(value), changed: value.data().some((each, i) => each !== before[parameter][i]) })
        .toEqual({ parameter, finite: true, changed: true });
    }
  });

  test('goes through a checkpoint', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
    try {
      const [model, other] = [tiny(name, 1), tiny(name, 1)];
      for (const parameter of other.parameters()) parameter.assign(new Float32Array(parameter.size));
      const path = join(folder, 'model.safetensors');
      await saveCheckpoint(path, { model, optimizer: optimizerOf(model), iteration: 0, training: {} });
      const loaded = await loadModel(path);
      await loadCheckpoint(path, { model: other, optimizer: optimizerOf(other) });
      for (const each of [loaded, other]) expect(valuesOf(each.stateDict())).toEqual(valuesOf(model.stateDict()));
      expect(loaded.config).toEqual(model.config);
      const logits = (each: Classifier) => noGrad(() => each.eval().predict(x)).data();
      expect(logits(loaded)).toEqual(logits(model));
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('has a summary, and a plain twin that starts from the same filters', () => {
    const [sphere, plain] = [tiny(name, 5), tiny(name, 5, 'plain')];
    const { rows, totals } = summary(sphere, [size, size, 2]);
    expect(rows.at(-1)!.outputShape).toEqual([4]);
    expect(totals.parameters).toBe(rows.reduce((sum, { parameters }) => sum + parameters, 0));
    expect(valuesOf(sphere.stateDict())).toEqual(valuesOf(plain.stateDict()));
  });
});
