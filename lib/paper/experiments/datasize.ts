import type { Panel, Point } from '../../report';
import type { Cell, TrainedExperiment } from '../experiment';
import { operators, softmax } from '../operators';
import { type CellResult, completed, mean } from '../results';

const sizes = [1000, 2500, 5000, 10_000, 25_000, 50_000];
const networks = { cnn: { title: 'CNN-9', operator: 'original' }, spherenet: { title: 'SphereNet-9', operator: 'sigmoid-0.3' } } as const;

const cells = sizes.flatMap((images) => (['cnn', 'spherenet'] as const).map((name): Cell => {
  const { title, operator } = networks[name];
  return {
    name: `${name}-${images}`,
    labels: { network: title, images: images.toLocaleString('en-US') },
    model: { network: 'cnn', depth: 9, convolution: operators[operator].convolution, head: softmax },
    images,
    baseline: `cnn-${images}`,
    panel: title,
  };
}));

/** Accuracy over the number of training images, of the runs that are finished. */
function charts(results: readonly CellResult[]): Promise<Panel[]> {
  const series = Object.values(networks).map(({ title }) => {
    const finals = results
      .filter(({ labels }) => labels['network'] === title)
      .map((cell) => ({ images: cell.images!, values: completed(cell).flatMap(({ last }) => (last === null ? [] : [100 * last])) }))
      .filter(({ values }) => values.length > 0);
    return {
      name: title,
      points: finals.map(({ images, values }): Point => [images, mean(values)]),
      band: finals.map(({ images, values }) => [images, Math.min(...values), Math.max(...values)] as const),
    };
  });
  return Promise.resolve([
    { kind: 'line', title: 'Accuracy on test images at the end', xLabel: 'Training images', yLabel: 'Accuracy (%)', logX: true, series },
  ]);
}

export const datasize: TrainedExperiment = {
  kind: 'trained',
  name: 'datasize',
  title: 'Accuracy against the number of training images',
  shows: 'Not in the paper. SphereNet-9 (sigmoid 0.3) and plain CNN-9 on parts of CIFAR-10: do angles pay most where images are few?',
  presets: {
    paper: { cells, widths: [64, 96, 128], iterations: 64_000, seeds: [0] },
    mini: { cells, widths: [16, 32, 48], iterations: 800, batchSize: 64, seeds: [0], testImages: 2000, minutes: 8 },
  },
  charts,
};
