// What is looked at before hours are spent: errors where training must fail, warnings where it may be meant so.
import type { Batch, Loader } from '../data';
import { OptionError } from '../errors';
import type { Classifier } from '../models';
import { BatchNorm2d } from '../nn';
import type { Optimizer } from '../optim';
import { warn } from '../warnings';

/** What training is made of. */
interface Training {
  model: Classifier;
  optimizer: Optimizer;
  loader: Loader;
  evalLoader?: Loader;
}

/** Beyond this, mean and deviation of pixels are not those of normalised ones: bytes have some 120 and 60. */
const highestPixelStatistic = 10;

/** @throws {OptionError} when nothing of the model would be trained, or the evaluation numbers its classes otherwise. */
export function checkBeforeTraining({ model, optimizer, loader, evalLoader }: Training): void {
  checkParameters(model, optimizer);
  if (evalLoader) checkClasses(loader, evalLoader);
  checkLastBatch(model, loader);
}

function checkParameters(model: Classifier, optimizer: Optimizer): void {
  const trained = new Set(optimizer.parameters);
  const all = model.namedParameters().filter(([, { requiresGrad }]) => requiresGrad);
  const missing = all.filter(([, parameter]) => !trained.has(parameter)).map(([name]) => name);
  if (missing.length === 0) return;
  if (missing.length === all.length) throw new OptionError('optimizer', 'optimizer must hold parameters of the model, but holds none of them');
  const names = missing.length > 5 ? `${missing.slice(0, 5).join(', ')} and ${missing.length - 5} others` : missing.join(', ');
  warn('SPHERENET_UNTRAINED', `the optimizer leaves out ${names} of the model, which will not be trained`);
}

function checkClasses(loader: Loader, evalLoader: Loader): void {
  const [trained, evaluated] = [loader, evalLoader].map(({ dataset }) => dataset.classes);
  const at = trained.findIndex((name, i) => name !== evaluated[i]);
  if (at < 0) return;
  const difference = `class ${at} is ${JSON.stringify(trained[at])} in ${loader.dataset.name}, but ${JSON.stringify(evaluated[at])} in ${evalLoader.dataset.name}`;
  if ([...trained].sort().join('\n') === [...evaluated].sort().join('\n')) {
    throw new OptionError('evalLoader', `evalLoader must have the classes in the order of loader, but ${difference}`);
  }
  warn('SPHERENET_OTHER_CLASSES', `the evaluation names its classes otherwise: ${difference}`);
}

function checkLastBatch(model: Classifier, { dataset, batchSize, batchesPerEpoch }: Loader): void {
  const isSingle = batchesPerEpoch * batchSize > dataset.count && dataset.count % batchSize === 1;
  // A model that is in evaluation as a whole is switched to training.
  const learns = model.modules().some((each) => each instanceof BatchNorm2d && (each.training || !model.training));
  if (!isSingle || !learns) return;
  warn(
    'SPHERENET_SINGLE_IMAGE',
    `the last batch of each epoch has one image, of which BatchNorm learns little, or fails where it has one value a channel; dropLast leaves it out`,
  );
}

/** Looks at the first batch. */
export function warnOfUnscaledPixels({ images }: Batch): void {
  const pixels = images.data();
  let [sum, squares] = [0, 0];
  for (const pixel of pixels) {
    sum += pixel;
    squares += pixel * pixel;
  }
  const mean = sum / pixels.length;
  const deviation = Math.sqrt(Math.max(0, squares / pixels.length - mean * mean));
  if (Math.abs(mean) <= highestPixelStatistic && deviation <= highestPixelStatistic) return;
  warn(
    'SPHERENET_UNSCALED_PIXELS',
    `the pixels of the first batch have a mean of ${mean.toPrecision(3)} and a deviation of ${deviation.toPrecision(3)}; were they never scaled to about 0 and 1?`,
  );
}
