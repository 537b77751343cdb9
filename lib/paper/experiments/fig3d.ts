import type { Cell, TrainedExperiment } from '../experiment';
import { headOf, operators } from '../operators';

function cellsOf(relu: boolean): Cell[] {
  const [suffix, ending] = relu ? ['', ''] : ['-without-relu', ', no ReLU'];
  return (['original', 'cosine'] as const).map((operator) => {
    const [network, name] = operator === 'original' ? ['CNN-69', 'cnn'] : ['SphereNet-69', 'spherenet'];
    return {
      name: `${name}${suffix}`,
      labels: { network: `${network}${ending}` },
      model: { network: 'cnn', depth: 69, relu, convolution: operators[operator].convolution, head: headOf(operator) },
      // The figure ends at 40,000 of 64,000 iterations.
      milestones: [34 / 40],
      baseline: `cnn${suffix}`,
    };
  });
}

const published = cellsOf(true);
const cells = [...published, ...cellsOf(false)];

export const fig3d: TrainedExperiment = {
  kind: 'trained',
  name: 'fig3d',
  title: 'Figure 3(d): 69 layers without shortcuts',
  shows: '69 plain convolutions, and 69 SphereConvs (cosine, with cosine W-Softmax) on CIFAR-10. In the paper only those train well.',
  presets: {
    paper: { cells, chosen: published.map(({ name }) => name), widths: [64, 96, 128], iterations: 40_000, seeds: [0] },
    mini: {
      cells, widths: [8, 16, 24], iterations: 600, batchSize: 32, seeds: [0], images: 10_000, testImages: 2000, minutes: 6,
    },
  },
  notes: [
    'The paper\'s SphereNet ends at "nearly 90%".',
    'BatchNorm in front of a ReLU multiplies the gradient by about 1.2 a layer on its way back (Yang and others, 2019), plain ' +
    'or not: at the start it is some 1e5 for 69 layers, where it is about 1 without ReLU. Adam hides the size, not that ' +
    'every step changes the output altogether. At filters 8/16/24 the norm of the SphereNet fell from 5e4 to 2e3 within 1,500 steps, ' +
    'in which it learned nothing. So the cells with ReLU need many more steps than preset mini has; those without ' +
    'show what angles alone give as nonlinearity.',
  ],
};
