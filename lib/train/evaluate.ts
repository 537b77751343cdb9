import { setImmediate as nextTurn } from 'node:timers/promises';
import type { DataLoader } from '../data/loader';
import type { Classifier } from '../models';
import { deviceOf } from '../nn/module';
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
 */
export async function evaluate(model: Classifier, loader: DataLoader): Promise<Evaluation> {
  const modes = model.modules().map((module) => [module, module.training] as const);
  const withTop5 = loader.dataset.classes.length > 10;
  const sums = { loss: 0, correct: 0, correct5: 0 };
  try {
    for await (const { images, labels } of loader.to(deviceOf(model))) {
      model.eval();
      noGrad(() => {
        const logits = model.predict(images);
        sums.loss += softmaxCrossEntropy(logits, labels).item() * images.shape[0];
        sums.correct += countCorrect(logits, labels);
        if (withTop5) sums.correct5 += countCorrect(logits, labels, { top: 5 });
      });
      await nextTurn();
    }
  } finally {
    for (const [module, training] of modes) module.training = training;
  }
  const { count } = loader.dataset;
  return { loss: sums.loss / count, accuracy: sums.correct / count, ...(withTop5 ? { top5: sums.correct5 / count } : {}) };
}
