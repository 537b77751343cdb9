import type { z } from 'zod';
import { requireOneOf, requireOptions } from '../errors';
import { currentHead, explicitHead } from '../losses/registry';
import { sphereDefaults } from '../nn/sphereConv';
import { defaultEps, defaultMomentum } from '../ops/batchNorm';
import type { Classifier } from './classifier';
import { cnnNetwork } from './cnn';
import { parseConfig } from './config';
import type { Network, NetworkConfig } from './network';
import { resNet18Network, resNet32Network } from './resNet';

/** Every network. What configs, the command line and benchmarks know of networks comes from here. */
const networks = [cnnNetwork, resNet32Network, resNet18Network] as const;

type Schema = (typeof networks)[number]['schema'];
type OptionsOf<S extends z.ZodType<NetworkConfig>> = S extends unknown ? z.input<S> & Pick<z.output<S>, 'network'> : never;

/** Which network, and its options. */
export type ModelOptions = OptionsOf<Schema>;
/** A network as JSON, defaults filled in. */
export type ModelConfig = z.output<Schema>;

type Preset = (typeof networks)[number]['presets'][number];

const presets: readonly Preset[] = networks.flatMap<Preset>((network) => network.presets);

/** The networks that `--network` takes. */
export const networkNames: readonly string[] = presets.map(({ name }) => name);

/** Each network in a few words. */
export const networkDescriptions: readonly string[] = networks.map(({ name, description }) => `${name}: ${description}`);

/** @throws {OptionError} when `networkNames` does not have the name. */
export function networkPreset(name: string): Preset {
  requireOneOf('network', name, networkNames);
  return presets.find((preset) => preset.name === name)!;
}

/**
 * The network that a `config` describes, as a checkpoint keeps it, with the initial values of its seed.
 * @throws {OptionError} naming the key at fault.
 */
export function createModel(options: ModelOptions): Classifier {
  return networkOf(options).create(options);
}

/** The options with their defaults filled in. @throws {OptionError} naming the key at fault. */
export function modelConfig(options: ModelOptions): ModelConfig {
  const { name, schema } = networkOf(options);
  return parseConfig(name, schema, options) as ModelConfig;
}

/** With the defaults of its layers and loss written out: two that make the same network are equal. @internal */
export function explicitConfig(config: ModelConfig): object {
  const { convolution, batchNorm, head } = config;
  return {
    ...config,
    convolution: convolution === 'plain' ? convolution : { ...sphereDefaults(convolution), ...convolution },
    batchNorm: batchNorm && { momentum: defaultMomentum, eps: defaultEps, ...batchNorm },
    ...('sphereNorm' in config && config.sphereNorm && { sphereNorm: { beta: 'learned', gamma: 'learned', ...config.sphereNorm } }),
    head: explicitHead(head),
  };
}

function networkOf(options: ModelOptions): Network<z.ZodType<NetworkConfig>> {
  requireOptions('createModel', options);
  const { network } = options;
  const known: readonly Network<z.ZodType<NetworkConfig>>[] = networks;
  requireOneOf('network', network, known.map(({ name }) => name));
  return known.find(({ name }) => name === network)!;
}

/** What earlier checkpoints called the networks. */
const formerNames: Partial<Record<string, string>> = { plain: 'cnn' };

/** The config of an earlier checkpoint as it is written now. @internal */
export function currentConfig(config: Record<string, unknown>): Record<string, unknown> {
  const { network, head } = config;
  return {
    ...config,
    network: formerNames[network as string] ?? network,
    ...(typeof head === 'object' && head !== null ? { head: currentHead(head as Record<string, unknown>) } : {}),
  };
}
