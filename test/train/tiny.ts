// A network and a data set so small that a training step takes a millisecond or two.
import { DataLoader, type DataLoaderOptions, type ImageDataset, imageDataset } from '../../lib/data';
import { GASoftmaxLoss, SoftmaxLoss } from '../../lib/losses';
import { Classifier, cnn } from '../../lib/models';
import { BatchNorm2d, Conv2d, Dropout, Flatten, MaxPool2d, Sequential, SphereConv2d } from '../../lib/nn';
import { Adam, type Schedule, StepSchedule } from '../../lib/optim';
import { Generator } from '../../lib/random';
import type { LogEntry } from '../../lib/report/log';
import type { Tensor } from '../../lib/tensor';
import { Trainer, type TrainerOptions } from '../../lib/train';
// Also for the processes and workers that start without jest.
import '../support/device';

/** Noisy 8x8 images; the class is told by which quarter is bright. */
export function tinyDataset(count = 48): ImageDataset {
  const generator = new Generator(5);
  const labels = Int32Array.from({ length: count }, (_, i) => i % 4);
  const images = Uint8Array.from({ length: count * 64 * 3 }, (_, at) => {
    const [pixel, image] = [Math.floor(at / 3) % 64, Math.floor(at / 192)];
    const quarter = (pixel >= 32 ? 2 : 0) + (pixel % 8 >= 4 ? 1 : 0);
    return generator.integer(120) + (quarter === labels[image] ? 120 : 0);
  });
  return imageDataset({ name: 'tiny', images, labels, height: 8, width: 8, channels: 3, classes: ['a', 'b', 'c', 'd'] });
}

export const augment = { padding: 1, flipHorizontal: true };

export function tinyLoader(options: Partial<DataLoaderOptions> = {}): DataLoader {
  return new DataLoader(tinyDataset(), { batchSize: 12, seed: 7, ...options });
}

/** Everything that has a state: BatchNorm, dropout, a learned k for each filter, and a loss that is annealed. */
export function statefulModel(seed = 1): Classifier {
  const generator = new Generator(seed);
  const features = new Sequential({
    conv: new SphereConv2d({ inChannels: 3, outChannels: 6, kernelSize: 3, padding: 1, learnable: 'filter', generator }),
    norm: new BatchNorm2d({ channels: 6, relu: true }),
    pool: new MaxPool2d({ kernelSize: 4 }),
    drop: new Dropout({ probability: 0.3, generator }),
    flatten: new Flatten(),
  });
  return new Classifier(features, new GASoftmaxLoss({ inFeatures: 24, classes: 4, margin: 2, annealing: 'sphereface', generator }));
}

/** One convolution and a softmax: the fastest that there is. */
export function plainModel(seed = 1): Classifier {
  const generator = new Generator(seed);
  const features = new Sequential([
    new Conv2d({ inChannels: 3, outChannels: 4, kernelSize: 4, stride: 4, generator }),
    new Flatten(),
  ]);
  return new Classifier(features, new SoftmaxLoss({ inFeatures: 16, classes: 4, generator }));
}

/** With a config, as users have it. */
export function configuredModel(seed = 0): Classifier {
  return cnn({
    depth: 3,
    widths: [4, 4, 4],
    classes: 4,
    features: 8,
    imageSize: 8,
    convolution: { operator: 'sigmoid', learnable: 'network' },
    head: { loss: 'a-softmax' },
    seed,
  });
}

export const steps: Schedule = new StepSchedule({ learningRate: 0.01, milestones: [7] });

/** A trainer with what is not given filled in; the optimizer is Adam. */
export function tinyTrainer(options: Partial<TrainerOptions> & { iterations: number }): Trainer {
  const model = options.model ?? plainModel();
  const optimizer = options.optimizer ?? new Adam(model.parameters());
  return new Trainer({ model, optimizer, schedule: steps, loader: tinyLoader(), ...options });
}

/** Those of one kind. */
export function entriesOf(log: readonly LogEntry[], event: string): LogEntry[] {
  return log.filter((entry) => entry.event === event);
}

/** The bytes of every tensor, by name. */
export function bytesOf(tensors: Readonly<Record<string, Tensor>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, tensor]) => [name, Buffer.from(tensor.data().buffer).toString('base64')]),
  );
}
