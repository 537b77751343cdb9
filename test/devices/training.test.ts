// A network trained from the same seed on both devices. Needs cuda; the emulated build has it.
import { DataLoader } from '../../lib/data';
import type { Device } from '../../lib/device';
import { OrthogonalityRegularizer } from '../../lib/losses';
import { type CnnOptions, sphereNet9 } from '../../lib/models';
import { Adam, ConstantSchedule } from '../../lib/optim';
import { Trainer } from '../../lib/train';
import { hasCuda } from '../support/device';
import { augment, tinyDataset } from '../train/tiny';

const withCuda = hasCuda ? test : test.skip;

async function lossesOn(device: Device, options: Partial<CnnOptions>): Promise<number[]> {
  const model = sphereNet9({ widths: [4, 6, 8], features: 12, imageSize: 8, classes: 4, ...options });
  const trainer = new Trainer({
    model,
    optimizer: new Adam(model.parameters()),
    schedule: new ConstantSchedule({ learningRate: 1e-3 }),
    regularizer: new OrthogonalityRegularizer(),
    loader: new DataLoader(tinyDataset(), { batchSize: 12, seed: 3, augment }),
    iterations: 20,
    logEvery: 1,
    device,
  });
  const { history } = await trainer.fit();
  return history.train.map(({ loss }) => loss);
}

withCuda.each<[string, Partial<CnnOptions>]>([
  ['softmax', {}],
  ['GA-Softmax and a learned k', { convolution: { learnable: 'network' }, head: { loss: 'ga-softmax', operator: 'linear', margin: 2, annealing: 'none' } }],
])('SphereNet-9 has the same losses for 20 steps on both devices: %s', async (_, options) => {
  const [cpu, cuda] = [await lossesOn('cpu', options), await lossesOn('cuda', options)];
  expect(cpu).toHaveLength(20);
  cuda.forEach((loss, step) => { expect(Math.abs(loss / cpu[step] - 1)).toBeLessThan(1e-4); });
  expect(cuda[19]).not.toBe(cuda[0]);
});
