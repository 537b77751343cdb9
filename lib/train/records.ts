import type { Evaluation } from './evaluate';

/** What is measured at a log step, on the batch of that step and before its update. */
export interface TrainRecord {
  /** Steps taken, this one included. */
  iteration: number;
  /** Of training, former runs included; without evaluation and checkpoints. */
  seconds: number;
  loss: number;
  /** What the regularizer adds to the loss. */
  penalty?: number;
  /** 0 to 1. */
  accuracy: number;
  learningRate: number;
  /** Of the gradients as they are reduced, before they are clipped. */
  gradientNorm: number;
  /** Since the record before. */
  imagesPerSecond: number;
  /** Weight of the logit without margin, where an angular loss anneals its margin. */
  lambda?: number;
  /** Mean angle between features and the weights of their true class, where the loss is angular. */
  meanThetaRadians?: number;
  meanThetaDegrees?: number;
}

export interface EvalRecord extends Evaluation {
  iteration: number;
  seconds: number;
}

export interface CheckpointRecord {
  iteration: number;
  path: string;
}

export interface FitResult {
  /** Steps taken, those of resumed runs included. */
  iterations: number;
  /** The records of this trainer. */
  history: { train: TrainRecord[]; eval: EvalRecord[] };
  /** Of all evaluations, former runs included; null without any. */
  bestAccuracy: number | null;
  /** Whether the signal ended the run before all its steps. */
  interrupted: boolean;
  /** The last checkpoint written, or else the one resumed from; null without one. */
  checkpoint: string | null;
  /** Of training, without evaluation and checkpoints. */
  imagesPerSecond: number;
  /** Most bytes that live tensors held at one time on the device of training. */
  peakMemory: number;
}
