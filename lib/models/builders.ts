import { Conv2d, type Conv2dOptions, Curvature, type Layer, SphereConv2d } from '../nn';
import type { Generator } from '../random';
import type { ConvolutionConfig } from './config';

/** The convolutions of one network, without bias, all from one generator and with one k where that is so configured. */
export function convolutionFactory(config: ConvolutionConfig, generator: Generator): (options: Conv2dOptions) => Layer {
  if (config === 'plain') return (options) => new Conv2d({ ...options, bias: false, generator });
  const { learnable, ...sphere } = config;
  if (learnable !== 'network') return (options) => new SphereConv2d({ ...options, ...sphere, learnable, bias: false, generator });
  const { operator, normGuard, k, positivity } = sphere;
  const curvature = new Curvature({ k, positivity });
  return (options) => new SphereConv2d({ ...options, operator, normGuard, learnable: curvature, bias: false, generator });
}
