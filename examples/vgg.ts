// A small VGG network with SphereConvs. It is one word that makes it a plain one: Conv2d instead of SphereConv2d.
//
//   npx ts-node examples/vgg.ts             on small images that are made here
//   npx ts-node examples/vgg.ts cifar10     on CIFAR-10
import { data, Generator, losses, models, nn } from '../lib';
import { type ExampleOptions, splitsFromArguments, trainByEpochs } from './support';

const Convolution = nn.SphereConv2d;

/** Filters of each 3×3 convolution, a stage a row; 2×2 max pooling ends a stage. */
const stages = [[16, 16], [32, 32], [64, 64]];

function vgg({ channels, classes }: data.Dataset): models.Classifier {
  const generator = new Generator(0);
  const layers: Record<string, nn.Layer> = {};
  let inChannels = channels;
  stages.forEach((stage, s) => {
    stage.forEach((outChannels, i) => {
      layers[`conv${s + 1}_${i + 1}`] = new Convolution({ inChannels, outChannels, kernelSize: 3, padding: 1, bias: false, generator });
      layers[`norm${s + 1}_${i + 1}`] = new nn.BatchNorm2d({ channels: outChannels, relu: true });
      inChannels = outChannels;
    });
    layers[`pool${s + 1}`] = new nn.MaxPool2d({ kernelSize: 2 });
  });
  layers['pool'] = new nn.GlobalAvgPool2d();
  layers['dropout'] = new nn.Dropout({ probability: 0.3, generator });
  const head = new losses.WSoftmaxLoss({ inFeatures: inChannels, classes: classes.length, operator: 'cosine', generator });
  return new models.Classifier(new nn.Sequential(layers), head);
}

export async function run(options: ExampleOptions = {}): Promise<number> {
  const splits = options.splits ?? (await splitsFromArguments());
  using model = vgg(splits.train);
  return await trainByEpochs('VGG', model, splits, options);
}

if (require.main === module) void run();
