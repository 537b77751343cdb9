import type { Cell, TrainedExperiment } from '../experiment';
import { softmax } from '../operators';

const cosine = { operator: 'cosine' } as const;

interface Method {
  title: string;
  model: Pick<Extract<Cell['model'], { network?: 'cnn' }>, 'convolution' | 'batchNorm' | 'sphereNorm'>;
  training?: Cell['training'];
}

// As the legend has them; only one of them names the orthogonality.
const methods: Record<string, Method> = {
  batchnorm: { title: 'BatchNorm', model: { convolution: 'plain' } },
  spherenorm: { title: 'SphereNorm', model: { convolution: cosine, batchNorm: false }, training: { regularizer: null } },
  rescaled: { title: 'Rescaled SphereNorm', model: { convolution: cosine, batchNorm: false, sphereNorm: {} }, training: { regularizer: null } },
  orthogonal: { title: 'SphereNorm w/ orth.', model: { convolution: cosine, batchNorm: false } },
  both: { title: 'SphereNorm+BatchNorm', model: { convolution: cosine }, training: { regularizer: null } },
};

const cells = [4, 8, 16, 32].flatMap((batchSize) => Object.entries(methods).map(([name, { title, model, training }]): Cell => ({
  name: `${name}/${batchSize}`,
  labels: { method: title, batch: String(batchSize) },
  model: { network: 'cnn', depth: 9, head: softmax, ...model },
  training: { batchSize, ...training },
  baseline: `batchnorm/${batchSize}`,
  panel: `batch ${batchSize}`,
})));

export const fig5: TrainedExperiment = {
  kind: 'trained',
  name: 'fig5',
  title: 'Figure 5: SphereNorm and BatchNorm with small batches',
  shows: 'CNN-9 on CIFAR-10 with batches of 4 to 32. In the paper SphereNorm, which needs no statistics of the batch, learns faster and more steadily.',
  presets: {
    paper: { cells, widths: [64, 96, 128], iterations: 64_000, seeds: [0] },
    mini: { cells, widths: [16, 32, 48], iterations: 1500, seeds: [0], testImages: 2000, minutes: 9 },
  },
};
