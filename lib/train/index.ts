export { type CheckpointParts, loadCheckpoint, loadModel, saveCheckpoint, type Standing } from './checkpoint';
export { classReport, type ClassReport, type ClassResult } from './classReport';
export { evaluate, type Evaluation } from './evaluate';
export { readSafetensors, type SafetensorsFile, type StoredTensor, writeSafetensors } from './safetensors';
export {
  type CheckpointRecord,
  type EvalRecord,
  type FitResult,
  type Regularizer,
  Trainer,
  type TrainerCallbacks,
  type TrainerOptions,
  type TrainRecord,
} from './trainer';
