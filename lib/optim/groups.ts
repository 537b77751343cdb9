import { requireKnownKeys, requireNumber } from '../errors';
import { BatchNorm2d, Conv2d, Linear, type Module, type Parameter } from '../nn';
import { requireModule } from '../nn/module';
import type { ParameterGroup } from './optimizer';

/**
 * The parameters of a module by their weight decay, an L2 penalty that is part of the gradient: first the weights of
 * Conv2d and Linear (and with it the class weights of SoftmaxLoss); then, where they have one, gamma and beta of
 * BatchNorm; then all others, without any: filters on the sphere and angular class weights, whose length does not matter,
 * biases, SphereNorm's coefficients, and curvatures. Groups may be empty.
 * @param options.weightDecay Of the weights, at least 0.
 * @param options.normDecay Of gamma and beta, at least 0. Default 0. In a SphereNet BatchNorm holds the only scales.
 * @throws {OptionError} naming the option at fault.
 */
export function parameterGroups(module: Module, options: { weightDecay: number; normDecay?: number }): ParameterGroup[] {
  requireModule('module', module);
  requireKnownKeys('parameterGroups', options, ['weightDecay', 'normDecay']);
  const weightDecay = requireNumber('weightDecay', options.weightDecay, { min: 0 });
  const normDecay = requireNumber('normDecay', options.normDecay ?? 0, { min: 0 });
  const weights = new Set<Parameter>();
  const norms = new Set<Parameter>();
  for (const part of module.modules()) {
    if (part instanceof Conv2d || part instanceof Linear) weights.add(part.weight);
    else if (part instanceof BatchNorm2d && normDecay > 0) norms.add(part.gamma).add(part.beta);
  }
  const others = module.parameters().filter((parameter) => !weights.has(parameter) && !norms.has(parameter));
  return [
    { parameters: [...weights], weightDecay },
    // None without its decay: the optimizers in checkpoints of before know parameters by their place.
    ...(normDecay > 0 ? [{ parameters: [...norms], weightDecay: normDecay }] : []),
    { parameters: others, weightDecay: 0 },
  ];
}
