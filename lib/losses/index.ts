export {
  ASoftmaxLoss,
  type ASoftmaxLossOptions,
  GASoftmaxLoss,
  type GASoftmaxLossOptions,
  SSoftmaxLoss,
  type SSoftmaxLossOptions,
  WSoftmaxLoss,
  type WSoftmaxLossOptions,
} from './angular';
export { type Annealing, annealingPresets, type AnnealingSchedule, lambdaAt } from './annealing';
export { Head, type HeadOutput } from './head';
export { type Filters, OrthogonalityRegularizer } from './orthogonality';
export { CrossEntropyLoss, SoftmaxLoss, type SoftmaxLossOptions } from './softmax';
