import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Dataset, evaluationLoader } from '../data';
import { DataError } from '../errors';
import type { Classifier } from '../models';
import { deviceOf } from '../nn/module';
import { softmaxCrossEntropy } from '../ops';
import { noGrad } from '../tensor';
import { requireSameClasses } from './evaluate';

/** How well a network knows one class. */
export interface ClassResult {
  name: string;
  images: number;
  /** Share of the class's images that were classified right; null without any. */
  accuracy: number | null;
  /** The wrong class that its images were given most often, with their number; null when all are right. */
  confusedWith: { name: string; images: number } | null;
}

/** What an evaluation found. */
export interface ClassReport {
  dataset: string;
  images: number;
  /** Cross entropy of the logits without margin. */
  loss: number;
  accuracy: number;
  classes: ClassResult[];
}

/**
 * Evaluates a network in evaluation mode on all images, class by class, on the device where the network is.
 * @throws {OptionError} when the network has another number of classes.
 * @throws {DataError} when an image is damaged, unless the dataset skips such images.
 */
export async function classReport(model: Classifier, dataset: Dataset, batchSize: number): Promise<ClassReport> {
  requireSameClasses('dataset', model, dataset);
  const { classes, name } = dataset;
  /** Images by true class and by the class given. */
  const counts = classes.map(() => new Array<number>(classes.length).fill(0));
  let lossSum = 0;
  for await (const { images: pixels, labels } of evaluationLoader(dataset, batchSize).to(deviceOf(model))) {
    const [loss, given] = noGrad(() => {
      const logits = model.predict(pixels);
      return [softmaxCrossEntropy(logits, labels).item(), largestOfRows(logits.data(), classes.length)];
    });
    lossSum += loss * given.length;
    labels.data().forEach((label, i) => counts[label][given[i]]++);
    await nextTurn();
  }
  const images = counts.flat().reduce((sum, count) => sum + count, 0);
  // Not dataset.count: a loader may leave out images that are damaged.
  if (images === 0) throw new DataError('dataset', `${name} gave no image to evaluate`);
  const correct = counts.reduce((sum, row, label) => sum + row[label], 0);
  const results = classes.map((_, label) => classResult(classes, label, counts[label]));
  return { dataset: name, images, loss: lossSum / images, accuracy: correct / images, classes: results };
}

function classResult(classes: readonly string[], label: number, given: readonly number[]): ClassResult {
  const images = given.reduce((sum, count) => sum + count, 0);
  const wrong = given.map((count, other) => (other === label ? 0 : count));
  const worst = wrong.indexOf(Math.max(...wrong));
  return {
    name: classes[label],
    images,
    accuracy: images === 0 ? null : given[label] / images,
    confusedWith: wrong[worst] === 0 ? null : { name: classes[worst], images: wrong[worst] },
  };
}

/** The index of the largest value of each row. */
function largestOfRows(values: ArrayLike<number>, columns: number): number[] {
  return Array.from({ length: values.length / columns }, (_, row) => {
    let best = 0;
    for (let column = 1; column < columns; column++) {
      if (values[row * columns + column] > values[row * columns + best]) best = column;
    }
    return best;
  });
}
