// Weights of one training as the start of another, with another loss or another annealing.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CheckpointError } from '../../lib/errors';
import { type AnnealingSchedule, GASoftmaxLoss, type HeadConfig, NormFaceLoss, SSoftmaxLoss } from '../../lib/losses';
import { Classifier, cnn, type CnnOptions } from '../../lib/models';
import { Adam, StepSchedule } from '../../lib/optim';
import { evaluate, loadWeights } from '../../lib/train';
import { bytesOf, plainModel, statefulModel, tinyLoader, tinyTrainer } from './tiny';

let output: string;
let path: string;
beforeEach(async () => {
  output = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
  path = join(output, 'last.safetensors');
});
afterEach(async () => {
  await rm(output, { recursive: true });
});

function network(head: HeadConfig, options: Partial<CnnOptions> = {}): Classifier {
  return cnn({ depth: 3, widths: [4, 4, 4], classes: 4, features: 8, imageSize: 8, convolution: { learnable: 'network' }, head, ...options });
}

async function train(model: Classifier, iterations: number, more: Partial<Parameters<typeof tinyTrainer>[0]> = {}) {
  return tinyTrainer({ model, iterations, logEvery: 1, ...more }).fit();
}

test('S-Softmax goes on with the network and the class weights that softmax has learned', async () => {
  const first = network({ loss: 'softmax' });
  await train(first, 3, { output });
  const second = network({ loss: 's-softmax', operator: 'cosine', radius: 8 }, { seed: 1 });
  await loadWeights(path, second);
  expect(bytesOf(second.features.stateDict())).toEqual(bytesOf(first.features.stateDict()));
  expect(second.head.classWeights.data()).toEqual(first.head.classWeights.data());
  const { history, iterations } = await train(second, 3);
  expect(iterations).toBe(3);
  expect(history.train[0].iteration).toBe(1);
  expect(second.head.classWeights.data()).not.toEqual(first.head.classWeights.data());
});

test('and the other way round, with what else the heads share', async () => {
  const assembled = (learnScale: boolean, scale: number) =>
    new Classifier(plainModel().features, new NormFaceLoss({ inFeatures: 16, classes: 4, scale, learnScale }));
  const first = assembled(true, 8);
  await train(first, 2, { output });
  const same = assembled(true, 30);
  await loadWeights(path, same);
  expect(bytesOf(same.stateDict())).toEqual(bytesOf(first.stateDict()));
  for (const other of [assembled(false, 30), plainModel(7)]) {
    const before = bytesOf(other.stateDict());
    await loadWeights(path, other);
    expect(other.head.classWeights.data()).toEqual(first.head.classWeights.data());
    if ('head.linear.bias' in before) expect(bytesOf(other.stateDict())['head.linear.bias']).toBe(before['head.linear.bias']);
  }
});

test('the annealing is that of the new run, from the start that it names', async () => {
  await train(statefulModel(), 2, { output });
  const lambdas = async (annealing: AnnealingSchedule | 'none', annealingStart?: number) => {
    const head = new GASoftmaxLoss({ inFeatures: 24, classes: 4, margin: 2, annealing, annealingStart });
    const model = new Classifier(statefulModel(3).features, head);
    await loadWeights(path, model);
    return (await train(model, 2)).history.train.map(({ lambda }) => lambda);
  };
  const halving = { base: 100, gamma: 1, power: 1, minimum: 4 };
  expect(await lambdas(halving)).toEqual([100, 50]);
  expect(await lambdas(halving, 9)).toEqual([10, 100 / 11]);
  expect(await lambdas(halving, 1000)).toEqual([4, 4]);
  expect(await lambdas('none')).toEqual([undefined, undefined]);
});

const fiveClasses = { inFeatures: 8, classes: 5, radius: 8 };

test.each<[string, () => Classifier, RegExp]>([
  ['another operator', () => network({ loss: 'softmax' }, { convolution: { operator: 'cosine' } }), /does not fit: .*config.convolution.learnable is "network"/],
  ['other widths', () => network({ loss: 'softmax' }, { widths: [4, 4, 8] }), /config.widths is \[4, 4, 4\] in the checkpoint, but \[4, 4, 8\]/],
  ['other classes', () => network({ loss: 's-softmax', radius: 8 }, { classes: 3 }), /config.classes is 4 in the checkpoint, but 3/],
  ['other features by hand', () => plainModel(), /features does not fit; missing: 0.weight, 0.bias; unexpected: conv1_1/],
  ['other classes by hand', () => new Classifier(network({ loss: 'softmax' }).features, new SSoftmaxLoss(fiveClasses)), /classWeights is f32 \[4, 8\] where f32 \[5, 8\]/],
])('refuses %s, and changes nothing', async (_, make, message) => {
  await train(network({ loss: 'softmax' }), 1, { output });
  const model = make();
  const before = bytesOf(model.stateDict());
  const error = await loadWeights(path, model).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(CheckpointError);
  expect((error as Error).message).toMatch(message);
  expect(bytesOf(model.stateDict())).toEqual(before);
});

test.each(['linear', 'cosine', 'sigmoid'] as const)('GA-Softmax of the %s with m = 4 trains from scratch with its annealing', async (operator) => {
  const model = new Classifier(plainModel().features, new GASoftmaxLoss({ inFeatures: 16, classes: 4, operator, margin: 4 }));
  const schedule = new StepSchedule({ learningRate: 0.01, milestones: [] });
  const { history } = await train(model, 120, { optimizer: new Adam(model.parameters()), schedule, logEvery: 10 });
  expect(history.train[0].lambda).toBe(1000);
  expect(history.train.at(-1)!.lambda).toBe(5);
  expect((await evaluate(model, tinyLoader({ dropLast: false, shuffle: false }))).accuracy).toBeGreaterThan(0.95);
});
