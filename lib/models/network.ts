import type { z } from 'zod';
import type { HeadConfig } from '../losses';
import type { Classifier } from './classifier';
import type { ConvolutionConfig } from './config';

/** What the config of every network has. */
export interface NetworkConfig {
  /** Which network. */
  network: string;
  /** Filters of each stage. */
  widths: readonly number[];
  classes: number;
  inputChannels: number;
  /** Height and width of the images. */
  imageSize: number;
  convolution: ConvolutionConfig;
  head: HeadConfig;
  seed: number;
}

/** A network for configs and the command line. A file of its own defines it, `registry.ts` lists it. */
export interface Network<Schema extends z.ZodType<NetworkConfig>> {
  /** Its `network` in a config. */
  readonly name: string;
  /** A few words, for `--help`. */
  readonly description: string;
  /** Names, types and defaults of its options. Ranges that layers check are left to them. */
  readonly schema: Schema;
  /** The networks by name that it stands for. */
  readonly presets: readonly NetworkPreset<Omit<z.input<Schema>, 'classes'> & { network: z.output<Schema>['network'] }>[];
  /** @throws {OptionError} naming the option at fault. */
  create(options: z.input<Schema>): Classifier;
}

/** A network as `--network` names it. */
export interface NetworkPreset<Options> {
  /** Such as `cnn9`. */
  readonly name: string;
  /** The same with SphereConvs, as reports name it: `spherenet9`. */
  readonly sphereName: string;
  readonly options: Options;
}
