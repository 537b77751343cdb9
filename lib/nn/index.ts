export { Dropout, type DropoutOptions, Flatten, ReLU } from './activation';
export { BatchNorm2d, type BatchNorm2dOptions } from './batchNorm';
export { Concat, type Layers, Residual, type ResidualOptions, Sequential } from './containers';
export { Conv2d, type Conv2dOptions } from './conv';
export * as init from './init';
export { Linear, type LinearOptions } from './linear';
export { type Addition, type Layer, Module, ModuleBuffer, Parameter } from './module';
export { AvgPool2d, GlobalAvgPool2d, MaxPool2d } from './pooling';
export {
  Curvature,
  type CurvatureOptions,
  SphereConv2d,
  type SphereConv2dOptions,
  type SphereLayerOptions,
  SphereLinear,
  type SphereLinearOptions,
} from './sphereConv';
export { SphereNorm, type SphereNormOptions } from './sphereNorm';
export { formatSummary, summary, type Summary, type SummaryRow } from './summary';
