import { z } from 'zod';
import { createHead } from '../losses';
import { BatchNorm2d, GlobalAvgPool2d, type Layer, MaxPool2d, Residual, Sequential } from '../nn';
import { Generator } from '../random';
import { type ConvolutionFactory, convolutionFactory } from './builders';
import { Classifier } from './classifier';
import { count, networkOptions, parseConfig } from './config';
import type { Network } from './network';

const resNet32Schema = z.strictObject({
  network: z.literal('resnet32').default('resnet32'),
  /** 96, 192 and 384 in the authors' code. */
  widths: z.tuple([count, count, count]).default([16, 32, 64]),
  imageSize: count.default(32),
  ...networkOptions,
});

const resNet18Schema = z.strictObject({
  network: z.literal('resnet18').default('resnet18'),
  widths: z.tuple([count, count, count, count]).default([64, 128, 256, 512]),
  /** Whether the shortcuts of a SphereResNet-18 are SphereConvs too: the paper's v1; its v2 has plain ones. */
  sphereShortcuts: z.boolean().default(false),
  imageSize: count.default(224),
  ...networkOptions,
});

export type ResNet32Options = z.input<typeof resNet32Schema>;
export type ResNet18Options = z.input<typeof resNet18Schema>;

/** What the blocks of a network are made of. */
interface Parts {
  convolution: ConvolutionFactory;
  /** For the 1×1 convolutions of shortcuts. */
  shortcut: ConvolutionFactory;
  norm: (channels: number, relu: boolean) => BatchNorm2d;
}

function partsOf(config: z.output<typeof resNet32Schema> | z.output<typeof resNet18Schema>, generator: Generator): Parts {
  const convolution = convolutionFactory(config.convolution, generator);
  const isSphere = 'sphereShortcuts' in config && config.sphereShortcuts;
  return {
    convolution,
    shortcut: isSphere ? convolution : convolutionFactory('plain', generator),
    norm: (channels, relu) => new BatchNorm2d({ ...config.batchNorm, channels, relu }),
  };
}

/** Two 3×3 convolutions beside a shortcut, which is a 1×1 convolution where shapes change. */
function basicBlock({ convolution, shortcut, norm }: Parts, inChannels: number, outChannels: number, stride: number): Residual {
  const body = {
    conv1: convolution({ inChannels, outChannels, kernelSize: 3, stride, padding: 1 }),
    norm1: norm(outChannels, true),
    conv2: convolution({ inChannels: outChannels, outChannels, kernelSize: 3, padding: 1 }),
    norm2: norm(outChannels, false),
  };
  if (stride === 1 && inChannels === outChannels) return new Residual({ body, relu: true });
  const projection = new Sequential({
    conv: shortcut({ inChannels, outChannels, kernelSize: 1, stride }),
    norm: norm(outChannels, false),
  });
  return new Residual({ body, shortcut: projection, relu: true });
}

/** Stages of basic blocks, `block1_1`, `block1_2`, ...; the first block of all stages but the first halves the image. */
function residualStages(parts: Parts, widths: readonly number[], blocks: number): Record<string, Layer> {
  const layers: Record<string, Layer> = {};
  let channels = widths[0];
  widths.forEach((width, index) => {
    for (let i = 1; i <= blocks; i++) {
      layers[`block${index + 1}_${i}`] = basicBlock(parts, channels, width, index > 0 && i === 1 ? 2 : 1);
      channels = width;
    }
  });
  return layers;
}

/**
 * ResNet-32 or SphereResNet-32 for small images: a 3×3 convolution, three stages of five basic blocks, the mean over
 * all pixels, the loss. The 1×1 shortcuts are plain convolutions with BatchNorm, also in a SphereResNet; no convolution
 * has a bias. Layers are called `conv0`, `norm0`, `block1_1`, ..., `block3_5`, `pool`.
 * @throws {OptionError} naming the option at fault.
 */
export function resNet32(options: ResNet32Options): Classifier {
  const config = parseConfig('resnet32', resNet32Schema, options);
  const { widths, inputChannels, classes } = config;
  const generator = new Generator(config.seed);
  const parts = partsOf(config, generator);
  const features = new Sequential({
    conv0: parts.convolution({ inChannels: inputChannels, outChannels: widths[0], kernelSize: 3, padding: 1 }),
    norm0: parts.norm(widths[0], true),
    ...residualStages(parts, widths, 5),
    pool: new GlobalAvgPool2d(),
  });
  return new Classifier(features, createHead(config.head, { inFeatures: widths[2], classes, generator }), config);
}

/** {@link resNet32} with SphereConvs, by default of the sigmoid operator with k = 0.3. @throws {OptionError} */
export function sphereResNet32(options: ResNet32Options): Classifier {
  return resNet32({ convolution: {}, ...options });
}

/**
 * ResNet-18 or SphereResNet-18 for images of 224 pixels or any other size: a 7×7 convolution of stride 2, 3×3 max
 * pooling of stride 2, four stages of two basic blocks, the mean over all pixels, the loss. With the widths of
 * He et al.; the paper does not say its own. No convolution has a bias. Layers are called `conv0`, `norm0`, `pool0`,
 * `block1_1`, ..., `block4_2`, `pool`.
 * @throws {OptionError} naming the option at fault.
 */
export function resNet18(options: ResNet18Options): Classifier {
  const config = parseConfig('resnet18', resNet18Schema, options);
  const { widths, inputChannels, classes } = config;
  const generator = new Generator(config.seed);
  const parts = partsOf(config, generator);
  const features = new Sequential({
    conv0: parts.convolution({ inChannels: inputChannels, outChannels: widths[0], kernelSize: 7, stride: 2, padding: 3 }),
    norm0: parts.norm(widths[0], true),
    pool0: new MaxPool2d({ kernelSize: 3, stride: 2, padding: 1 }),
    ...residualStages(parts, widths, 2),
    pool: new GlobalAvgPool2d(),
  });
  return new Classifier(features, createHead(config.head, { inFeatures: widths[3], classes, generator }), config);
}

/** {@link resNet18} with SphereConvs, by default of the sigmoid operator with k = 0.3. @throws {OptionError} */
export function sphereResNet18(options: ResNet18Options): Classifier {
  return resNet18({ convolution: {}, ...options });
}

export const resNet32Network: Network<typeof resNet32Schema> = {
  name: 'resnet32',
  description: 'residual network for small images, such as CIFAR-10',
  schema: resNet32Schema,
  presets: [{ name: 'resnet32', sphereName: 'sphereresnet32', options: { network: 'resnet32' } }],
  create: resNet32,
};

export const resNet18Network: Network<typeof resNet18Schema> = {
  name: 'resnet18',
  description: 'residual network for large images, such as ImageNet; v1 with SphereConvs in the shortcuts too',
  schema: resNet18Schema,
  presets: [
    { name: 'resnet18', sphereName: 'sphereresnet18', options: { network: 'resnet18' } },
    { name: 'resnet18-v1', sphereName: 'sphereresnet18-v1', options: { network: 'resnet18', sphereShortcuts: true } },
  ],
  create: resNet18,
};
