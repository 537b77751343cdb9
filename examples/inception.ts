// A small Inception network with SphereConvs: branches side by side, joined along the channels. It is one word that
// makes it a plain one: Conv2d instead of SphereConv2d.
//
//   npx ts-node examples/inception.ts             on small images that are made here
//   npx ts-node examples/inception.ts cifar10     on CIFAR-10
import { data, Generator, losses, models, nn } from '../lib';
import { type ExampleOptions, splitsFromArguments, trainByEpochs } from './support';

const Convolution = nn.SphereConv2d;

function convolution(inChannels: number, outChannels: number, kernelSize: number, generator: Generator): nn.Sequential {
  return new nn.Sequential({
    conv: new Convolution({ inChannels, outChannels, kernelSize, padding: (kernelSize - 1) / 2, bias: false, generator }),
    norm: new nn.BatchNorm2d({ channels: outChannels, relu: true }),
  });
}

/** Four branches of `width` channels each: 1×1, 3×3 and 5×5 convolutions, and average pooling. */
function inception(inChannels: number, width: number, generator: Generator): nn.Concat {
  const make = (channels: number, kernelSize: number) => convolution(channels, width, kernelSize, generator);
  return new nn.Concat({
    one: make(inChannels, 1),
    three: new nn.Sequential([make(inChannels, 1), make(width, 3)]),
    five: new nn.Sequential([make(inChannels, 1), make(width, 5)]),
    pool: new nn.Sequential([new nn.AvgPool2d({ kernelSize: 3, stride: 1, padding: 1, countPadding: false }), make(inChannels, 1)]),
  });
}

function smallInception({ channels, classes }: data.Dataset): models.Classifier {
  const generator = new Generator(0);
  const features = new nn.Sequential({
    root: convolution(channels, 16, 3, generator),
    pool1: new nn.MaxPool2d({ kernelSize: 2 }),
    inception1: inception(16, 8, generator),
    pool2: new nn.MaxPool2d({ kernelSize: 2 }),
    inception2: inception(32, 16, generator),
    pool: new nn.GlobalAvgPool2d(),
    dropout: new nn.Dropout({ probability: 0.3, generator }),
  });
  const head = new losses.WSoftmaxLoss({ inFeatures: 64, classes: classes.length, operator: 'cosine', generator });
  return new models.Classifier(features, head);
}

export async function run(options: ExampleOptions = {}): Promise<number> {
  const splits = options.splits ?? (await splitsFromArguments());
  using model = smallInception(splits.train);
  return await trainByEpochs('Inception', model, splits, options);
}

if (require.main === module) void run();
