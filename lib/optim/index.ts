export { Adam, type AdamOptions } from './adam';
export { clipGradNorm, gradientNorm } from './gradients';
export { parameterGroups } from './groups';
export { Optimizer, type OptimizerState, type OptimizerValues, type ParameterGroup, type Update } from './optimizer';
export {
  ConstantSchedule, CosineSchedule, type CosineScheduleOptions, type Schedule, StepSchedule, type StepScheduleOptions, WarmupSchedule,
  type WarmupScheduleOptions,
} from './schedules';
export { SGD, type SGDOptions } from './sgd';
