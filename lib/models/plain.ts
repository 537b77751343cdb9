import { BatchNorm2d, Flatten, type Layer, MaxPool2d, Sequential } from '../nn';
import { Generator } from '../random';
import { Classifier } from './classifier';
import { parseConfig, type PlainNetworkOptions, plainSchema } from './config';
import { convolutionFactory, createHead } from './parts';

/**
 * CNN-n or SphereNet-n (paper, §4): three stages of depth / 3 convolutions of 3×3, each followed by BatchNorm and ReLU,
 * 2×2 max pooling after each stage; then `fc`, a convolution over all that is left, as in the authors' code with
 * neither BatchNorm nor ReLU; then the loss. In a SphereNet `fc` is a SphereConv too. No convolution has a bias.
 * Layers are called `conv1_1`, `norm1_1`, ..., `pool1`, ..., `fc`.
 * @throws {OptionError} naming the option at fault.
 */
export function plainNetwork(options: PlainNetworkOptions): Classifier {
  const config = parseConfig('plainNetwork', plainSchema, options);
  const { depth, widths, classes, features, inputChannels, imageSize, batchNorm, relu } = config;
  const generator = new Generator(config.seed);
  const convolution = convolutionFactory(config.convolution, generator);
  const layers: Record<string, Layer> = {};
  let channels = inputChannels;
  widths.forEach((width, index) => {
    const stage = index + 1;
    for (let i = 1; i <= depth / 3; i++) {
      layers[`conv${stage}_${i}`] = convolution({ inChannels: channels, outChannels: width, kernelSize: 3, padding: 1 });
      layers[`norm${stage}_${i}`] = new BatchNorm2d({ ...batchNorm, channels: width, relu });
      channels = width;
    }
    layers[`pool${stage}`] = new MaxPool2d({ kernelSize: 2 });
  });
  const kernelSize = Math.floor(imageSize / 2 ** widths.length);
  layers['fc'] = convolution({ inChannels: channels, outChannels: features, kernelSize });
  layers['flatten'] = new Flatten();
  return new Classifier(new Sequential(layers), createHead(config.head, features, classes, generator), config);
}

/** {@link plainNetwork} with nine plain convolutions. @throws {OptionError} */
export function cnn9(options: Omit<PlainNetworkOptions, 'depth' | 'convolution'>): Classifier {
  return plainNetwork({ ...options, depth: 9, convolution: 'plain' });
}

/** {@link plainNetwork} with nine SphereConvs, by default of the sigmoid operator with k = 0.3. @throws {OptionError} */
export function sphereNet9(options: Omit<PlainNetworkOptions, 'depth'>): Classifier {
  return plainNetwork({ convolution: {}, ...options, depth: 9 });
}
