import type { Device } from '../../device';
import type { AngularOperator } from '../../ops';
import type { BenchmarkNetwork } from '../networks';
import type { ConvolutionShape } from '../layerShapes';
import type { Contender } from '../measure';

export const peerNames = ['pytorch', 'tfjs'] as const;
export type PeerName = (typeof peerNames)[number];

export interface PeerConvolution {
  shape: ConvolutionShape;
  batchSize: number;
  operators: readonly AngularOperator[];
  device: Device;
}

export interface PeerStep {
  network: BenchmarkNetwork;
  batchSize: number;
  operators: readonly AngularOperator[];
  device: Device;
}

/** Another library, which computes what we compute. {@link contest} disposes of the contenders. */
export interface Peer {
  /** With its version, and what a reader of the results should know. */
  readonly notes: readonly string[];
  convolution: (what: PeerConvolution) => Promise<Contender[]>;
  step: (what: PeerStep) => Promise<Contender[]>;
  close: () => Promise<void>;
}

/** Before a contender of another process: threads of ours that still spin would be in its way, and the other way round. */
export function settle(): Promise<void> {
  return new Promise((resume) => setTimeout(resume, settleMilliseconds));
}

const settleMilliseconds = 5;
