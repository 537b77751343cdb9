import { OptionError } from '../errors';
import type { Classifier, ModelConfig } from '../models';
import { createModel, modelConfig, networkPreset } from '../models/registry';
import type { BenchmarkOperator } from './measure';

/** A network whose training step is timed, with plain and with spherical convolutions. */
export interface BenchmarkNetwork {
  /** As `--network` names it, such as `cnn9`. */
  name: string;
  /** In the name of a case, such as `spherenet9`; with images of another size, `sphereresnet18@112`. */
  sphereName: string;
  /** With its widths and the images that it takes. */
  config: ModelConfig;
}

/** Where it differs from the network as published. */
export interface NetworkVariation {
  /** Filters of each stage. */
  widths?: readonly number[];
  /** Height and width of the images. */
  imageSize?: number;
}

/** @throws {OptionError} for an unknown name, and when there are not as many widths as the network has stages. */
export function benchmarkNetwork(name: string, { widths, imageSize }: NetworkVariation = {}): BenchmarkNetwork {
  const { sphereName, options } = networkPreset(name);
  const config = modelConfig({ classes: 10, imageSize, ...options });
  const stages = config.widths.length;
  if (widths && widths.length !== stages) {
    throw new OptionError('widths', `widths of ${name} must be ${stages} numbers, but got ${widths.length}`);
  }
  const caseName = imageSize === undefined ? sphereName : `${sphereName}@${imageSize}`;
  return { name, sphereName: caseName, config: { ...config, ...(widths && { widths }) } as ModelConfig };
}

/** The network with one kind of convolution. */
export function buildNetwork({ config }: BenchmarkNetwork, operator: BenchmarkOperator): Classifier {
  return createModel({ ...config, convolution: operator === 'plain' ? 'plain' : { operator } });
}
