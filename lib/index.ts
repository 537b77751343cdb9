export * as data from './data';
export * as losses from './losses';
export * as models from './models';
export * as nn from './nn';
export * as ops from './ops';
export * as optim from './optim';
export * as report from './report';
export * as train from './train';
export {
  defaultDevice,
  type Device,
  type DeviceChoice,
  deviceChoices,
  deviceInfo,
  type DeviceInfo,
  devices,
  matmulPrecision,
  type MatmulPrecision,
  memoryStats,
  precisions,
  releaseCachedMemory,
  resetPeakMemory,
  resolveDevice,
  setDefaultDevice,
  setMatmulPrecision,
  synchronize,
} from './device';
export * from './errors';
export type { ThreadLimit } from './processors';
export { defaultGenerator, Generator, manualSeed } from './random';
export { full, noGrad, ones, Tensor, tensor, tidy, zeros, type DType, type Shape, type TensorOptions } from './tensor';
