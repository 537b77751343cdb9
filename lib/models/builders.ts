import { Conv2d, type Conv2dOptions, Curvature, type Layer, SphereConv2d } from '../nn';
import type { Generator } from '../random';
import type { ConvolutionConfig } from './config';

/** Makes the convolutions of a network, without bias unless asked for. */
export type ConvolutionFactory = (options: Conv2dOptions) => Layer;

/** The convolutions of one network, all from one generator and with one k where that is so configured. */
export function convolutionFactory(config: ConvolutionConfig, generator: Generator): ConvolutionFactory {
  if (config === 'plain') return (options) => new Conv2d({ bias: false, ...options, generator });
  const { learnable, ...sphere } = config;
  if (learnable !== 'network') return (options) => new SphereConv2d({ ...options, ...sphere, learnable, generator });
  const { operator, normGuard, k, positivity } = sphere;
  const curvature = new Curvature({ k, positivity });
  return (options) => new SphereConv2d({ ...options, operator, normGuard, learnable: curvature, generator });
}
