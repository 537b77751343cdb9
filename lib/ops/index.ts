export { countCorrect } from './accuracy';
export { affine, type AffineOptions } from './affine';
export { batchNorm, type BatchNormOptions } from './batchNorm';
export type { Pair } from './checks';
export { conv2d, type ConvOptions } from './conv2d';
export { add, concat, dropout, positive, positivities, type Positivity, relu, scale, sum } from './elementwise';
export { linear } from './linear';
export {
  angularLogits,
  type AngularLogitOptions,
  angularSoftmax,
  type AngularSoftmaxOptions,
  type CrossEntropyOptions,
  type MarginFunction,
  marginFunctions,
  multiMargin,
  type MultiMarginOptions,
  softmaxCrossEntropy,
} from './losses';
export { matmul, type MatmulOptions } from './matmul';
export { orthogonality } from './orthogonality';
export { avgPool2d, globalAvgPool2d, maxPool2d, type PoolOptions } from './pooling';
export { flatten, reshape } from './reshape';
export { type EnergyOptions, type EnergyPower, energyPowers, hypersphericalEnergy, minimalAngle } from './separation';
export {
  type AngularOperator,
  angularOperators,
  curvedOperators,
  defaultCurvature,
  defaultNormGuard,
  type NormGuard,
  normGuardKinds,
  officialNormGuard,
  sphereConv2d,
  type SphereOptions,
} from './sphereConv2d';
export { sphereLinear } from './sphereLinear';
