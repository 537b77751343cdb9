// In which modes fit() trains.
import { BatchNorm2d, Dropout, type Module } from '../../lib/nn';
import { statefulModel, tinyTrainer } from './tiny';

function partsOf(model: Module) {
  const modules = model.modules();
  return {
    norm: modules.find((each) => each instanceof BatchNorm2d)!,
    dropout: modules.find((each) => each instanceof Dropout)!,
  };
}

test('a BatchNorm in evaluation keeps its statistics, and stays so', async () => {
  const model = statefulModel();
  const { norm, dropout } = partsOf(model);
  norm.eval();
  const before = [norm.runningMean.toArray(), norm.gamma.toArray()];
  await tinyTrainer({ model, iterations: 3 }).fit();
  expect(norm.runningMean.toArray()).toEqual(before[0]);
  expect(norm.gamma.toArray()).not.toEqual(before[1]);
  expect([model.training, norm.training, dropout.training]).toEqual([true, false, true]);
});

test('a layer may be switched on the way', async () => {
  const model = statefulModel();
  const { norm } = partsOf(model);
  let at: unknown;
  const onStep = (iteration: number) => {
    if (iteration === 2) {
      norm.eval();
      at = norm.runningMean.toArray();
    }
  };
  await tinyTrainer({ model, iterations: 4, callbacks: { onStep } }).fit();
  expect(norm.runningMean.toArray()).toEqual(at);
});

test('a callback that leaves the model in evaluation changes nothing', async () => {
  const trained = async (onStep: (model: Module) => void) => {
    const model = statefulModel();
    partsOf(model).dropout.eval();
    await tinyTrainer({ model, iterations: 4, callbacks: { onStep: () => { onStep(model); } } }).fit();
    return [model.parameters().map((each) => each.toArray()), model.modules().map(({ training }) => training)];
  };
  const [expected] = await trained(() => undefined);
  expect((await trained((model) => { model.eval(); }))[0]).toEqual(expected);
});

test('a model in evaluation as a whole is switched to training', async () => {
  const model = statefulModel().eval();
  const { norm } = partsOf(model);
  const before = norm.runningMean.toArray();
  await tinyTrainer({ model, iterations: 1 }).fit();
  expect([model.training, norm.training]).toEqual([true, true]);
  expect(norm.runningMean.toArray()).not.toEqual(before);
});
