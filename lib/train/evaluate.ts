import { setImmediate as nextTurn } from 'node:timers/promises';
import type { DatasetInfo, Loader } from '../data';
import { DataError, OptionError } from '../errors';
import type { Classifier } from '../models';
import { deviceOf, modesOf } from '../nn/module';
import { countCorrect, softmaxCrossEntropy } from '../ops';
import { noGrad } from '../tensor';

/** The result of an evaluation. */
export interface Evaluation {
  /** Cross entropy of the logits without margin, the mean over the images. */
  loss: number;
  /** 0 to 1. */
  accuracy: number;
  /** How often the true class is among the five likeliest, 0 to 1; for more than ten classes. */
  top5?: number;
}

/**
 * Evaluates a model on all images of a loader, in order, on the device where the model is. Its mode is restored.
 * @throws {DeviceError} when the parts of the model are on several devices.
 * @throws {OptionError} when the model has another number of classes.
 * @throws {DataError} when the loader gives no image.
 */
export async function evaluate(model: Classifier, loader: Loader): Promise<Evaluation> {
  requireSameClasses('loader', model, loader.dataset);
  const restoreModes = modesOf(model);
  const withTop5 = loader.dataset.classes.length > 10;
  const sums = { images: 0, loss: 0, correct: 0, correct5: 0 };
  try {
    for await (const { images, labels } of loader.to(deviceOf(model))) {
      model.eval();
      noGrad(() => {
        const logits = model.predict(images);
        sums.images += labels.size;
        sums.loss += softmaxCrossEntropy(logits, labels).item() * labels.size;
        sums.correct += countCorrect(logits, labels);
        if (withTop5) sums.correct5 += countCorrect(logits, labels, { top: 5 });
      });
      await nextTurn();
    }
  } finally {
    restoreModes();
  }
  // Not dataset.count: a loader may leave out images that are damaged.
  const { images } = sums;
  if (images === 0) throw new DataError('loader', `${loader.dataset.name} gave no image to evaluate`);
  return { loss: sums.loss / images, accuracy: sums.correct / images, ...(withTop5 ? { top5: sums.correct5 / images } : {}) };
}

/** @throws {OptionError} naming `argument`, whose images have the classes, when the model has another number of them. */
export function requireSameClasses(argument: string, { head }: Classifier, { name, classes }: DatasetInfo): void {
  const [known] = head.classWeights.shape;
  if (known === classes.length) return;
  throw new OptionError(argument, `${argument} must have images of ${known} classes, as the model's head has, but ${name} has ${classes.length}`);
}
