import { type Device, type MatmulPrecision, setMatmulPrecision } from '../device';
import { describeMachine } from '../machine';
import type { AngularOperator } from '../ops';
import { benchmarkNetwork, type BenchmarkNetwork } from './networks';
import { benchmarkCalls } from './callOverhead';
import { compareBenchmarks, readBenchmark } from './comparison';
import { benchmarkConvolution } from './convolution';
import type { ConvolutionShape } from './layerShapes';
import type { BenchmarkRow, MeasureOptions } from './measure';
import { closePeers, type Peer, type PeerName, startPeers } from './peers';
import type { BenchmarkDocument } from './report';
import { measureRoof, type Roof } from './roofs';
import { benchmarkStep } from './step';
import { profileStep, type StepProfile } from './stepProfile';

/** Where to measure, and how precisely. */
export interface BenchmarkTarget {
  device: Device;
  precision: MatmulPrecision;
}

export interface BenchmarkOptions {
  targets: readonly BenchmarkTarget[];
  /** Layers to time. */
  shapes: readonly ConvolutionShape[];
  /** Networks whose training step is timed. */
  networks: readonly string[];
  /** Filters of each stage of the networks. Default: those of each network. */
  widths?: readonly number[];
  /** Height and width of their images. Default: those of each network. */
  imageSize?: number;
  batchSizes: readonly number[];
  operators: readonly AngularOperator[];
  repeats: number;
  peers: readonly PeerName[];
  /** Whether to measure resident memory on the cpu, in a process for each contender. */
  resident: boolean;
  /** Whether to measure what calling an operator costs. */
  overhead: boolean;
  /** Whether to tell where the time of a step goes. */
  profile: boolean;
  /** An earlier document to compare with. */
  compare?: string;
  /** Told before each round of a measurement. */
  onRound?: (what: string, round: number, rounds: number) => void;
}

/**
 * Measures all that was asked for, in this process and one after the other.
 * @throws {SphereNetError} naming the option, file or peer at fault, as far as can be seen before anything was measured.
 */
export async function runBenchmark(options: BenchmarkOptions): Promise<BenchmarkDocument> {
  const { targets, widths, imageSize, compare } = options;
  const networks = options.networks.map((name) => benchmarkNetwork(name, { widths, imageSize }));
  const earlier = compare === undefined ? undefined : await readBenchmark(compare);
  const peers = await startPeers(options.peers, targets.map(({ device }) => device));
  try {
    const parts: TargetResult[] = [];
    for (const target of targets) parts.push(await measureTarget(target, networks, options, peers));
    const rows = parts.flatMap((part) => part.rows);
    const notes = peers.flatMap((peer) => peer.notes);
    const document: BenchmarkDocument = {
      machine: { ...describeTargets(targets), roofs: parts.map(({ roof }) => roof) },
      rows,
      ...(notes.length > 0 ? { notes } : {}),
      ...(options.profile ? { profile: parts.flatMap(({ profile }) => profile) } : {}),
    };
    if (!earlier) return document;
    return { ...document, comparison: compareBenchmarks(compare!, earlier, document) };
  } finally {
    await closePeers(peers);
  }
}

interface TargetResult {
  roof: Roof;
  rows: BenchmarkRow[];
  profile: StepProfile[];
}

async function measureTarget(
  { device, precision }: BenchmarkTarget,
  networks: readonly BenchmarkNetwork[],
  options: BenchmarkOptions,
  peers: readonly Peer[],
): Promise<TargetResult> {
  const { shapes, batchSizes, operators, repeats, overhead, onRound } = options;
  if (device === 'cuda') setMatmulPrecision(precision);
  const roof = measureRoof(device, precision);
  const settings = (what: string): MeasureOptions => ({
    repeats, device, roof, onRound: (round, rounds) => onRound?.(what, round, rounds),
  });
  const common = { operators, peers, resident: options.resident && device === 'cpu' };
  const rows: BenchmarkRow[] = [];
  const layers = batchSizes.flatMap((batchSize) => shapes.map((shape) => ({ shape, batchSize })));
  for (const [index, layer] of layers.entries()) {
    rows.push(...(await benchmarkConvolution({ ...settings(`layer ${index + 1} of ${layers.length}`), ...common, ...layer })));
  }
  const steps = networks.flatMap((network) => batchSizes.map((batchSize) => ({ network, batchSize })));
  for (const [index, step] of steps.entries()) {
    rows.push(...(await benchmarkStep({ ...settings(`training step ${index + 1} of ${steps.length}`), ...common, ...step })));
  }
  if (overhead) rows.push(...(await benchmarkCalls({ repeats, device, operators, peers })));
  const profile: StepProfile[] = [];
  for (const step of options.profile ? steps : []) {
    for (const operator of ['plain', ...operators] as const) profile.push(await profileStep({ ...step, operator, device }));
  }
  return { roof, rows, profile };
}

/** With the GPU where one of the targets is one, and of its precisions the first. */
function describeTargets(targets: readonly BenchmarkTarget[]) {
  const gpu = targets.find(({ device }) => device === 'cuda');
  if (gpu) setMatmulPrecision(gpu.precision);
  return describeMachine(gpu?.device ?? 'cpu');
}
