// Linear models of images, and the same on the sphere: logistic regression (softmax) and a linear support vector machine
// (hinge loss). A plain one multiplies, W x + b; one on the sphere looks at the angle between x and each row of W alone.
//
//   npx ts-node examples/linearModels.ts mnist     on MNIST
//   npx ts-node examples/linearModels.ts           on small images that are made here, which are hard for linear models
import { Generator, losses, models, nn } from '../lib';
import { type ExampleOptions, splitsFromArguments, trainByEpochs } from './support';

const heads: Record<string, losses.HeadConfig> = {
  'logistic regression': { loss: 'softmax' },
  'logistic regression on the sphere': { loss: 's-softmax', operator: 'cosine', radius: 16 },
  'SVM': { loss: 'hinge' },
  'SVM on the sphere': { loss: 'hinge', operator: 'cosine', radius: 16 },
};

/** The last test accuracy of each model, 0 to 1. */
export async function run(options: ExampleOptions = {}): Promise<number[]> {
  const splits = options.splits ?? (await splitsFromArguments());
  const { height, width, channels, classes } = splits.train;
  const accuracies: number[] = [];
  for (const [name, config] of Object.entries(heads)) {
    const size = { inFeatures: height * width * channels, classes: classes.length, generator: new Generator(0) };
    using model = new models.Classifier(new nn.Flatten(), losses.createHead(config, size));
    accuracies.push(await trainByEpochs(name, model, splits, options));
  }
  return accuracies;
}

if (require.main === module) void run();
