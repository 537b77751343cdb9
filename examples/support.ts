// What the examples share: small images that are made here, and a training loop that prints a line for each epoch.
import { data, Generator, models, optim, train } from '../lib';

type Splits = data.DatasetSplits<data.ImageDataset>;

export interface ExampleOptions {
  /** Training set and test set. Default: those that the command line names. */
  splits?: Splits;
  epochs?: number;
  /** Takes a line for each epoch. Default: prints it. */
  print?: (line: string) => void;
}

const side = 16;

/** Noisy images of stripes; the class is the direction of the stripes, not how bright they are. */
export function syntheticImages(count: number, seed: number): data.ImageDataset {
  const generator = new Generator(seed);
  const classes = ['horizontal', 'vertical', 'falling', 'rising'];
  const labels = Int32Array.from({ length: count }, () => generator.integer(classes.length));
  const images = new Uint8Array(count * side * side * 3);
  labels.forEach((label, image) => {
    const [start, contrast] = [generator.integer(8), 20 + generator.integer(60)];
    for (let i = 0; i < side * side; i++) {
      const [row, column] = [Math.floor(i / side), i % side];
      const along = [row, column, row - column + side, row + column][label];
      const isBright = (along + start) % 8 < 4;
      for (let c = 0; c < 3; c++) images[(image * side * side + i) * 3 + c] = 100 + (isBright ? contrast : 0) + generator.integer(60);
    }
  });
  return data.imageDataset({ name: 'stripes', images, labels, height: side, width: side, channels: 3, classes });
}

const sources: Partial<Record<string, () => Splits | Promise<Splits>>> = {
  stripes: () => ({ train: syntheticImages(1024, 1), test: syntheticImages(256, 2) }),
  cifar10: () => data.loadCifar10(),
  mnist: () => data.loadMnist(),
};

/** The data set that the command line names; by default `stripes`, small images that are made here. */
export async function splitsFromArguments(): Promise<Splits> {
  const name = process.argv[2] ?? 'stripes';
  const source = sources[name];
  if (!source) throw new Error(`there is no data set ${name}, but ${Object.keys(sources).join(', ')}`);
  return source();
}

/** Trains by Adam and prints the loss and the test accuracy after each epoch. Returns the last accuracy, 0 to 1. */
export async function trainByEpochs(name: string, model: models.Classifier, splits: Splits, options: ExampleOptions): Promise<number> {
  const { epochs = 5, print = console.log } = options;
  const loader = data.trainingLoader(splits.train, { batchSize: 32, seed: 0, augment: 'none' });
  const testLoader = data.evaluationLoader(splits.test, 128);
  using optimizer = new optim.Adam(model.parameters(), { learningRate: 2e-3 });
  let accuracy = 0;
  for (let epoch = 0; epoch < epochs; epoch++) {
    let total = 0;
    for (let i = 0; i < loader.batchesPerEpoch; i++) {
      const { images, labels } = await loader.batch(epoch * loader.batchesPerEpoch + i);
      const { loss } = model.forward(images, labels);
      total += loss.item();
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
    }
    ({ accuracy } = await train.evaluate(model, testLoader));
    print(`${name}, epoch ${epoch + 1}: loss ${(total / loader.batchesPerEpoch).toFixed(3)}, test accuracy ${(100 * accuracy).toFixed(1)} %`);
  }
  loader.close();
  testLoader.close();
  return accuracy;
}
