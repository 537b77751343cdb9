export { type CheckpointParts, loadCheckpoint, loadModel, loadWeights, saveCheckpoint, type Standing } from './checkpoint';
export { classReport, type ClassReport, type ClassResult } from './classReport';
export { evaluate, type Evaluation } from './evaluate';
export type { GradientReducer, Regularizer, TrainerCallbacks, TrainerOptions } from './options';
export type { CheckpointRecord, EvalRecord, FitResult, TrainRecord } from './records';
export { readSafetensors, type SafetensorsFile, type StoredTensor, writeSafetensors } from './safetensors';
export { Trainer } from './trainer';
