import type { Cell, TrainedExperiment } from '../experiment';
import { operators, softmax } from '../operators';

const dataSets = { 'cifar10': { title: 'CIFAR-10', augment: 'flip', paper: 90.40 }, 'cifar10+': { title: 'CIFAR-10+', augment: 'full', paper: 93.26 } } as const;

const cells = (['cifar10', 'cifar10+'] as const).flatMap((data) => (['original', 'sigmoid-0.3'] as const).map((operator): Cell => {
  const { title, augment, paper } = dataSets[data];
  const [network, name] = operator === 'original' ? ['ResNet-32', 'resnet'] : ['SphereResNet-32', 'sphereresnet'];
  return {
    name: `${name}/${data}`,
    labels: { network, data: title },
    model: { network: 'resnet32', convolution: operators[operator].convolution, head: softmax },
    training: { augment },
    // Of Tables 2 and 4, which have no SphereResNet with softmax.
    ...(operator === 'original' && { paper }),
    baseline: `resnet/${data}`,
  };
}));

export const fig3a: TrainedExperiment = {
  kind: 'trained',
  name: 'fig3a',
  title: 'Figure 3(a): convergence of ResNet-32 and SphereResNet-32',
  shows: 'ResNet-32 and SphereResNet-32 (sigmoid 0.3) with softmax, on CIFAR-10 and CIFAR-10+. In the paper the SphereResNet learns faster.',
  presets: {
    paper: { cells, widths: [16, 32, 64], iterations: 64_000, seeds: [0] },
    mini: { cells, widths: [8, 16, 32], iterations: 500, batchSize: 64, seeds: [0, 1], images: 10_000, testImages: 2000, minutes: 6 },
  },
};
