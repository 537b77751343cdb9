import { requireOneOf } from '../errors';
import type { Classifier } from './classifier';
import type { PlainNetworkOptions } from './config';
import { plainNetwork } from './plain';

const networks = { plain: plainNetwork };

/** Which network, and its options; the `config` of a model is one. */
export type ModelOptions = PlainNetworkOptions & { network: 'plain' };

/**
 * The network that a `config` describes, as a checkpoint keeps it, with the initial values of its seed.
 * @throws {OptionError} naming the key at fault.
 */
export function createModel(config: ModelOptions): Classifier {
  const { network } = config;
  return networks[requireOneOf('network', network, ['plain'])](config);
}
