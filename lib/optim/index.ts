export { Adam, type AdamOptions } from './adam';
export { clipGradNorm, gradientNorm } from './gradients';
export { parameterGroups } from './groups';
export { Optimizer, type OptimizerState, type OptimizerValues, type ParameterGroup, type Update } from './optimizer';
export { ConstantSchedule, type Schedule, StepSchedule, type StepScheduleOptions } from './schedules';
export { SGD, type SGDOptions } from './sgd';
