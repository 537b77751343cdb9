import { requireKnownKeys, requireNumber } from '../errors';
import { Conv2d, Linear, type Module, type Parameter } from '../nn';
import type { ParameterGroup } from './optimizer';

/**
 * The parameters of a module in two groups: first those with weight decay, the weights of Conv2d and Linear (and with
 * it the class weights of SoftmaxLoss); then those without, all others: filters on the sphere and angular class
 * weights, whose length does not matter, biases, BatchNorm's and SphereNorm's coefficients, and curvatures.
 * @param options.weightDecay L2 penalty of the first group, at least 0.
 * @throws {OptionError} naming the option at fault.
 */
export function parameterGroups(module: Module, options: { weightDecay: number }): ParameterGroup[] {
  requireKnownKeys('parameterGroups', options, ['weightDecay']);
  const weightDecay = requireNumber('weightDecay', options.weightDecay, { min: 0 });
  const decayed = new Set<Parameter>();
  for (const part of module.modules()) if (part instanceof Conv2d || part instanceof Linear) decayed.add(part.weight);
  const undecayed = module.parameters().filter((parameter) => !decayed.has(parameter));
  return [
    { parameters: [...decayed], weightDecay },
    { parameters: undecayed, weightDecay: 0 },
  ];
}
