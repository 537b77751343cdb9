import { ASoftmaxLoss, GASoftmaxLoss, type Head, SoftmaxLoss, SSoftmaxLoss, WSoftmaxLoss } from '../losses';
import { Conv2d, type Conv2dOptions, Curvature, type Layer, SphereConv2d } from '../nn';
import type { Generator } from '../random';
import type { ConvolutionConfig, HeadConfig } from './config';

/** The convolutions of one network, without bias, all from one generator and with one k where that is so configured. */
export function convolutionFactory(config: ConvolutionConfig, generator: Generator): (options: Conv2dOptions) => Layer {
  if (config === 'plain') return (options) => new Conv2d({ ...options, bias: false, generator });
  const { learnable, ...sphere } = config;
  if (learnable !== 'network') return (options) => new SphereConv2d({ ...options, ...sphere, learnable, bias: false, generator });
  const { operator, normGuard, k, positivity } = sphere;
  const curvature = new Curvature({ k, positivity });
  return (options) => new SphereConv2d({ ...options, operator, normGuard, learnable: curvature, bias: false, generator });
}

/** The loss of a network with this many features. */
export function createHead(config: HeadConfig, inFeatures: number, classes: number, generator: Generator): Head {
  const { loss, ...options } = config;
  const all = { ...options, inFeatures, classes, generator };
  switch (loss) {
    case 'softmax':
      return new SoftmaxLoss(all);
    case 'w-softmax':
      return new WSoftmaxLoss(all);
    case 'a-softmax':
      return new ASoftmaxLoss(all);
    case 'ga-softmax':
      return new GASoftmaxLoss(all);
    case 's-softmax':
      return new SSoftmaxLoss({ ...all, radius: config.radius });
  }
}
