import { performance } from 'node:perf_hooks';
import { defaultDevice, type Device, synchronize } from '../device';
import { native } from '../native';
import { add } from '../ops';
import { noGrad } from '../tensor';
import { type BenchmarkRow, type Contender, measure, type MeasureOptions } from './measure';
import { benchmarkNetwork } from './networks';
import { benchmarkStep, type StepBenchmarkOptions } from './step';
import { variedTensor } from './variedTensor';

export type OverheadOptions = Omit<MeasureOptions, 'warmUpRounds' | 'cost' | 'roof'> & Pick<StepBenchmarkOptions, 'operators' | 'peers'>;

/** Calls of one measurement; few enough for the queue of a GPU, so that submitting never waits. */
const callsPerRun = 200;
/** Until V8 has compiled and optimised what is called, as it has in a training after its first steps. */
const warmUpRounds = 200;

/**
 * What calling an operator costs where it has next to nothing to compute: `ops.add` on one element, its output's making
 * and release included; the bare native function; and a training step of SphereNet-9 with 4 filters on one image.
 */
export async function benchmarkCalls(settings: OverheadOptions): Promise<BenchmarkRow[]> {
  const { device = defaultDevice(), operators, peers } = settings;
  const options = { ...settings, device, warmUpRounds, onRound: undefined };
  using a = variedTensor([1], 0, device);
  using b = variedTensor([1], 1, device);
  using out = a.newEmpty();
  const [left, right, target] = [a.handle, b.handle, out.handle];
  const rows = [
    ...(await measure('call ops.add', [calls(device, () => { add(a, b).dispose(); })], options)),
    ...(await measure('call native.add', [calls(device, () => { native.add(left, right, target); })], options)),
    ...(await benchmarkStep({ ...options, network: benchmarkNetwork('cnn9', { widths: [4, 4, 4] }), batchSize: 1, operators, peers })),
  ];
  // Rates of next to nothing say nothing.
  return rows.map(({ gflops: _gflops, roofShare: _roofShare, ...row }) => ({ ...row, overheadMicroseconds: row.ms * 1000 }));
}

/** One call, on average over many: of the host's time alone, since what a GPU has still to do is not waited for. */
function calls(device: Device, call: () => void): Contender {
  return {
    operator: 'plain',
    engine: 'spherenet',
    run: () => {
      synchronize(device);
      return { forward: noGrad(() => millisecondsOf(call)) / callsPerRun };
    },
  };
}

function millisecondsOf(call: () => void): number {
  const start = performance.now();
  for (let i = 0; i < callsPerRun; i++) call();
  return performance.now() - start;
}
