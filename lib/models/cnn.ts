import { z } from 'zod';
import { OptionError } from '../errors';
import { createHead } from '../losses';
import { BatchNorm2d, Flatten, type Layer, MaxPool2d, ReLU, Sequential, SphereNorm } from '../nn';
import { Generator } from '../random';
import { convolutionFactory } from './builders';
import { Classifier } from './classifier';
import { batchNormSchema, count, networkOptions, parseConfig } from './config';
import type { Network } from './network';

/** Numbers of convolutions, a third of them in each stage. */
export const depths = [3, 9, 18, 45, 60, 69] as const;

/** Learned, or a fixed number. */
const coefficient = z.union([z.literal('learned'), z.number()], { error: 'expected "learned" or a number' }).optional();

const cnnSchema = z.strictObject({
  network: z.literal('cnn').default('cnn'),
  depth: z.literal(depths),
  widths: z.tuple([count, count, count]).default([64, 96, 128]),
  /** Outputs of the last, fully connected layer before the classifier. */
  features: count.default(256),
  /** Whether a ReLU follows each normalisation. */
  relu: z.boolean().default(true),
  /** Halved thrice, rounding down. */
  imageSize: z.int().min(8).default(32),
  ...networkOptions,
  /** `false`: none. A plain convolution then has a bias instead of BatchNorm's beta. */
  batchNorm: z.union([z.literal(false), batchNormSchema], { error: 'expected false or options of BatchNorm2d' }).default({}),
  /** Whether beta and gamma of a SphereNorm rescale the output of each SphereConv: `false`, or its options. */
  sphereNorm: z.union(
    [z.literal(false), z.strictObject({ beta: coefficient, gamma: coefficient })],
    { error: 'expected false or options of SphereNorm' },
  ).default(false),
});

export type CnnOptions = z.input<typeof cnnSchema>;
type CnnConfig = z.output<typeof cnnSchema>;

/** What follows a convolution, by the names of the layers without their numbers. */
function normalization({ convolution, sphereNorm, batchNorm, relu }: CnnConfig, channels: number): Record<string, Layer> {
  if (sphereNorm && convolution === 'plain') {
    throw new OptionError('sphereNorm', 'sphereNorm belongs to SphereConvs, but convolution is "plain"');
  }
  return {
    ...(sphereNorm && { scale: new SphereNorm({ ...sphereNorm, channels }) }),
    ...(batchNorm && { norm: new BatchNorm2d({ ...batchNorm, channels, relu }) }),
    ...(relu && !batchNorm && { relu: new ReLU() }),
  };
}

/**
 * CNN-n or SphereNet-n (paper, §4): three stages of depth / 3 convolutions of 3×3, each followed by BatchNorm and ReLU,
 * 2×2 max pooling after each stage; then `fc`, a convolution over all that is left, as in the authors' code with
 * neither BatchNorm nor ReLU; then the loss. In a SphereNet `fc` is a SphereConv too. No convolution has a
 * bias, but plain ones without BatchNorm.
 * Layers are called `conv1_1`, `norm1_1`, ..., `pool1`, ..., `fc`.
 *
 * SphereConv is itself a normalisation, SphereNorm (paper, §2.5 and §4.4): with `batchNorm: false` alone, with BatchNorm
 * together. `sphereNorm` also rescales its output, as `scale1_1`, ..., before BatchNorm and ReLU.
 * @throws {OptionError} naming the option at fault.
 */
export function cnn(options: CnnOptions): Classifier {
  const config = parseConfig('cnn', cnnSchema, options);
  const { depth, widths, classes, features, inputChannels, imageSize } = config;
  const bias = config.convolution === 'plain' && config.batchNorm === false;
  const generator = new Generator(config.seed);
  const convolution = convolutionFactory(config.convolution, generator);
  const layers: Record<string, Layer> = {};
  let channels = inputChannels;
  widths.forEach((width, index) => {
    const stage = index + 1;
    for (let i = 1; i <= depth / 3; i++) {
      layers[`conv${stage}_${i}`] = convolution({ inChannels: channels, outChannels: width, kernelSize: 3, padding: 1, bias });
      for (const [name, layer] of Object.entries(normalization(config, width))) layers[`${name}${stage}_${i}`] = layer;
      channels = width;
    }
    layers[`pool${stage}`] = new MaxPool2d({ kernelSize: 2 });
  });
  const kernelSize = Math.floor(imageSize / 2 ** widths.length);
  layers['fc'] = convolution({ inChannels: channels, outChannels: features, kernelSize });
  layers['flatten'] = new Flatten();
  const head = createHead(config.head, { inFeatures: features, classes, generator });
  return new Classifier(new Sequential(layers), head, config);
}

/** {@link cnn} with nine plain convolutions. @throws {OptionError} */
export function cnn9(options: Omit<CnnOptions, 'depth' | 'convolution'>): Classifier {
  return cnn({ ...options, depth: 9, convolution: 'plain' });
}

/** {@link cnn} with nine SphereConvs, by default of the sigmoid operator with k = 0.3. @throws {OptionError} */
export function sphereNet9(options: Omit<CnnOptions, 'depth'>): Classifier {
  return cnn({ convolution: {}, ...options, depth: 9 });
}

export const cnnNetwork: Network<typeof cnnSchema> = {
  name: 'cnn',
  description: 'the stack of convolutions of the paper (§4), by their number',
  schema: cnnSchema,
  presets: depths.map((depth) => ({ name: `cnn${depth}`, sphereName: `spherenet${depth}`, options: { network: 'cnn', depth } })),
  create: cnn,
};
