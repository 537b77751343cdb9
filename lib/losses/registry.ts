import { z } from 'zod';
import { requireOneOf, requireOptions } from '../errors';
import { arcFace } from './arcFace';
import { aSoftmax } from './aSoftmax';
import { cosFace } from './cosFace';
import { gaSoftmax } from './gaSoftmax';
import type { ClassWeightOptions, Head } from './head';
import { hinge } from './hinge';
import { normFace } from './normFace';
import { softmax } from './softmax';
import { sSoftmax } from './sSoftmax';
import { wSoftmax } from './wSoftmax';

/** Every loss. What configs and the command line know of losses comes from here. */
export const lossDefinitions = [softmax, wSoftmax, aSoftmax, gaSoftmax, sSoftmax, arcFace, cosFace, normFace, hinge] as const;

export type LossName = (typeof lossDefinitions)[number]['name'];

export const lossNames: readonly LossName[] = lossDefinitions.map(({ name }) => name);

const [first, ...others] = lossDefinitions.map(({ schema }) => schema);

/** Which loss a network is trained by, with the options of its class. */
export const headSchema = z.discriminatedUnion('loss', [first, ...others]);

export type HeadConfig = z.input<typeof headSchema>;

/** The config of an earlier checkpoint as it is written now: annealings were not scaled. @internal */
export function currentHead(head: Record<string, unknown>): Record<string, unknown> {
  const definition = lossDefinitions.find(({ name }) => name === head['loss']);
  return definition && 'annealing' in definition.options ? { annealing: 'sphereface', ...head } : head;
}

/** With the defaults of its class written out: two that make the same loss are equal. @internal */
export function explicitHead(head: HeadConfig): object {
  return { ...lossDefinitions.find(({ name }) => name === head.loss)!.defaults, ...head };
}

/**
 * The loss that a config describes, for features of a given size.
 * @throws {OptionError} naming the option at fault.
 */
export function createHead(config: HeadConfig, size: ClassWeightOptions): Head {
  requireOptions('createHead', config);
  requireOptions('createHead', size);
  const { loss: name, ...options } = config;
  requireOneOf('loss', name, lossNames);
  const Loss = lossDefinitions.find((each) => each.name === name)!.loss as new (options: object) => Head;
  return new Loss({ ...options, ...size });
}
