// What a Trainer looks at before hours are spent.
import { DataLoader } from '../../lib/data';
import { OptionError } from '../../lib/errors';
import { BatchNorm2d } from '../../lib/nn';
import { Adam } from '../../lib/optim';
import { plainModel, statefulModel, tinyDataset, tinyLoader, tinyTrainer } from './tiny';

let warnings: jest.SpyInstance;
beforeEach(() => {
  warnings = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
});
afterEach(() => {
  warnings.mockRestore();
});
const warned = () => warnings.mock.calls.map(([text, { code }]) => `${code as string}: ${text as string}`);

test('a training in order gives no warning', async () => {
  await tinyTrainer({ iterations: 1, model: statefulModel(), evalLoader: tinyLoader() }).fit();
  expect(warned()).toEqual([]);
});

test('parameters that the optimizer leaves out are named; none at all is an error', () => {
  const model = plainModel();
  const [first, ...others] = model.parameters();
  tinyTrainer({ iterations: 1, model, optimizer: new Adam(others) });
  expect(warned()).toEqual([expect.stringMatching(/^SPHERENET_UNTRAINED: the optimizer leaves out features\.0\.weight of the model/)]);
  first.requiresGrad = false;
  tinyTrainer({ iterations: 1, model, optimizer: new Adam(others) });
  expect(warned()).toHaveLength(1);
  expect(() => tinyTrainer({ iterations: 1, model, optimizer: new Adam(plainModel().parameters()) })).toThrow(OptionError);
});

test('an evaluation with other classes is refused, or told', () => {
  const evalLoader = (...classes: string[]) => new DataLoader({ ...tinyDataset(), classes }, { batchSize: 12 });
  const train = (...classes: string[]) => tinyTrainer({ iterations: 1, evalLoader: evalLoader(...classes) });
  expect(() => train('a', 'c', 'b', 'd')).toThrow(/^evalLoader must have the classes in the order of loader, but class 1 is "b" in tiny, but "c"/);
  expect(() => train('a', 'b', 'c', 'd', 'e', 'f')).toThrow(/^evalLoader must have images of 4 classes/);
  train('a', 'b', 'c', 'dog');
  expect(warned()).toEqual([expect.stringMatching(/^SPHERENET_OTHER_CLASSES: .* class 3 is "d" in tiny, but "dog" in tiny/)]);
});

test('a last batch of one image beside BatchNorm is told', () => {
  const loader = () => new DataLoader(tinyDataset(49), { batchSize: 12, dropLast: false });
  tinyTrainer({ iterations: 1, loader: loader() });
  expect(warned()).toEqual([]);
  tinyTrainer({ iterations: 1, model: statefulModel(), loader: loader() });
  expect(warned()).toEqual([expect.stringMatching(/^SPHERENET_SINGLE_IMAGE: .*dropLast leaves it out/)]);
  const frozen = statefulModel();
  for (const each of frozen.modules()) if (each instanceof BatchNorm2d) each.eval();
  tinyTrainer({ iterations: 1, model: frozen, loader: loader() });
  expect(warned()).toHaveLength(1);
  // As a whole: the trainer switches it to training.
  tinyTrainer({ iterations: 1, model: frozen.eval(), loader: loader() });
  expect(warned()).toHaveLength(2);
});

test('pixels that were never scaled are told at the first step', async () => {
  await tinyTrainer({ iterations: 2, loader: tinyLoader({ mean: 0, std: 1 }) }).fit();
  expect(warned()).toEqual([expect.stringMatching(/^SPHERENET_UNSCALED_PIXELS: the pixels of the first batch have a mean of \d+\.?\d* and a deviation/)]);
  await tinyTrainer({ iterations: 2, loader: tinyLoader({ mean: 0, std: 255 }) }).fit();
  expect(warned()).toHaveLength(1);
});
