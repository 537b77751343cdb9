// Loaders of a user's own.
import { type Batch, type Loader } from '../../lib/data';
import type { Device } from '../../lib/device';
import { DataError, OptionError } from '../../lib/errors';
import { Adam } from '../../lib/optim';
import { Generator } from '../../lib/random';
import { tensor } from '../../lib/tensor';
import { evaluate, Trainer } from '../../lib/train';
import { testDevice } from '../support/device';
import { bytesOf, plainModel, steps } from './tiny';

/** Images made anew for each batch, with nothing in memory: the class is the colour. */
class Colours implements Loader {
  readonly dataset = { name: 'colours', count: 20, classes: ['red', 'green', 'blue', 'black'] };
  readonly batchSize = 8;
  readonly batchesPerEpoch = 2;
  readonly seed = 3;
  readonly asked: number[] = [];
  device: Device = 'cpu';
  closed = 0;

  batch(iteration: number): Promise<Batch> {
    this.asked.push(iteration);
    return Promise.resolve(this.#coloured(this.batchSize, new Generator(iteration)));
  }

  async *[Symbol.asyncIterator]() {
    for (const size of [8, 8, 4]) yield await Promise.resolve(this.#coloured(size, new Generator(this.seed)));
  }

  to(device: Device): this {
    this.device = device;
    return this;
  }

  close(): void {
    this.closed++;
  }

  #coloured(size: number, generator: Generator): Batch {
    const labels = Array.from({ length: size }, () => generator.integer(4));
    const pixels = labels.flatMap((label) => Array.from({ length: 192 }, (_, i) => Number(i % 3 === label) + generator.uniform() - 0.5));
    return {
      images: tensor(pixels, [size, 8, 8, 3], { device: this.device }),
      labels: tensor(Int32Array.from(labels), [size], { device: this.device }),
    };
  }
}

function trainOn(loader: Loader, iterations: number, resume?: string) {
  const model = plainModel().to(testDevice);
  const optimizer = new Adam(model.parameters());
  return { model, trainer: new Trainer({ model, optimizer, schedule: steps, loader, evalLoader: loader, iterations, resume }) };
}

test('trains and evaluates on a loader that is no class of ours', async () => {
  const loader = new Colours();
  const { model, trainer } = trainOn(loader, 60);
  const { history } = await trainer.fit();
  expect(history.eval[0].accuracy).toBeGreaterThan(0.9);
  expect(loader.asked).toEqual(Array.from({ length: 60 }, (_, i) => i));
  expect([loader.device, loader.closed]).toEqual([testDevice, 1]);
  const again = trainOn(new Colours(), 60);
  await again.trainer.fit();
  expect(bytesOf(again.model.stateDict())).toEqual(bytesOf(model.stateDict()));
});

test('an evaluation is the mean over the images that came', async () => {
  const loader = new Colours();
  const whole = await evaluate(plainModel().to(testDevice), loader);
  loader[Symbol.asyncIterator] = async function* () {
    for (let i = 0; i < 3; i++) yield* Colours.prototype[Symbol.asyncIterator].call(loader);
  };
  const thrice = await evaluate(plainModel().to(testDevice), loader);
  expect(thrice.accuracy).toBeCloseTo(whole.accuracy, 12);
  expect(thrice.loss).toBeCloseTo(whole.loss, 6);
  loader[Symbol.asyncIterator] = async function* () { /* nothing */ };
  await expect(evaluate(plainModel(), loader)).rejects.toThrow(new DataError('loader', 'colours gave no image to evaluate'));
});

test('refuses a loader whose classes are not those of the head', async () => {
  const loader = Object.assign(new Colours(), { dataset: { name: 'digits', count: 20, classes: '0123456789'.split('') } });
  const message = "must have images of 4 classes, as the model's head has, but digits has 10";
  expect(() => trainOn(loader, 1)).toThrow(new OptionError('loader', `loader ${message}`));
  await expect(evaluate(plainModel(), loader)).rejects.toThrow(new OptionError('loader', `loader ${message}`));
});
