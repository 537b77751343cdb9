import { performance } from 'node:perf_hooks';
import { defaultDevice, type Device, matmulPrecision, type MatmulPrecision, memoryStats, resetPeakMemory, synchronize } from '../device';
import { type AngularOperator, angularOperators } from '../ops';
import { groupBy } from './grouping';
import { type CostByPass, type Rates, ratesOf } from './cost';
import type { Resident } from './residentMemory';
import type { Roof } from './roofs';

/** What was computed: a plain convolution or network, or a spherical one by its angular function. */
export const benchmarkOperators: readonly ('plain' | AngularOperator)[] = ['plain', ...angularOperators];
export type BenchmarkOperator = (typeof benchmarkOperators)[number];

export const benchmarkPasses = ['forward', 'backward', 'both', 'step'] as const;
export type BenchmarkPass = (typeof benchmarkPasses)[number];

/** Whose code computed it. */
export const benchmarkEngines = ['spherenet', 'onednn', 'pytorch', 'pytorch-compile', 'tfjs'] as const;
export type BenchmarkEngine = (typeof benchmarkEngines)[number];

/** How images lie in memory: NHWC or NCHW. */
export type MemoryLayout = 'channels-last' | 'contiguous';

/** One line of a benchmark's JSON document. */
export interface BenchmarkRow extends Rates, Partial<Resident> {
  /** Such as `conv3x3 64->64 32x32 b128`. */
  case: string;
  operator: BenchmarkOperator;
  engine: BenchmarkEngine;
  device: Device;
  /** Of matrix products and convolutions. */
  precision: MatmulPrecision;
  pass: BenchmarkPass;
  /** Median of the repeats in milliseconds. */
  ms: number;
  /** First and third quartile in milliseconds. */
  p25: number;
  p75: number;
  repeats: number;
  /** Most tensor memory in use during a repeat; null for a peer that keeps its memory to itself. */
  peakBytes: number | null;
  /** The fastest of those that were tried, where there is a choice. */
  layout?: MemoryLayout;
  /** Of an operator's call, or of a step that is little but calls. */
  overheadMicroseconds?: number;
}

/** Milliseconds by pass. */
export type PassTimes = Partial<Record<BenchmarkPass, number>>;

/** One contender: every run gives the milliseconds of each of its passes. */
export interface Contender {
  operator: BenchmarkOperator;
  engine: BenchmarkEngine;
  run: () => PassTimes | Promise<PassTimes>;
  /** False where {@link memoryStats} does not see what it allocates. Default true. */
  countsMemory?: boolean;
  /** Most memory that a run took, of a contender which knows it better than {@link memoryStats}; null where it does not. */
  peakBytes?: () => number | null;
  /** Of contenders that differ in nothing else, {@link contest} keeps the fastest. */
  layout?: MemoryLayout;
  /** Measures the memory of a process that has nothing else to do. */
  resident?: () => Promise<Resident | null>;
  /** Gives back what it holds. */
  dispose?: () => void | Promise<void>;
}

export interface MeasureOptions {
  repeats: number;
  /** Rounds before those that count: caches, clocks and primitives settle. Default 2. */
  warmUpRounds?: number;
  /** Where the contenders compute. Default: the default device. */
  device?: Device;
  /** Of each pass, for its rates. */
  cost?: CostByPass;
  /** What the device does at best. */
  roof?: Roof;
  /** Told before each round, counted from 0, the rounds of warm-up first. */
  onRound?: (round: number, rounds: number) => void;
}

export interface ContestOptions extends MeasureOptions {
  /** Whether to measure resident memory too, a process for each contender. Default false. */
  resident?: boolean;
}

/** {@link measure}, then of each contender the fastest layout, and at last its memory. The contenders are disposed of. */
export async function contest(name: string, contenders: readonly Contender[], options: ContestOptions): Promise<BenchmarkRow[]> {
  try {
    const rows = fastestLayouts(await measure(name, contenders, options));
    return options.resident ? await withResidentMemory(rows, contenders) : rows;
  } finally {
    for (const { dispose } of contenders) await dispose?.();
  }
}

/**
 * Runs the contenders in turn, one round after the other: what disturbs the machine hits all of them alike.
 */
export async function measure(name: string, contenders: readonly Contender[], options: MeasureOptions): Promise<BenchmarkRow[]> {
  const { repeats, warmUpRounds = 2, device = defaultDevice(), cost, roof, onRound } = options;
  const precision = device === 'cpu' ? 'fp32' : matmulPrecision();
  const rounds = warmUpRounds + repeats;
  const times = contenders.map(() => new Map<BenchmarkPass, number[]>());
  const peaks = contenders.map(() => 0);
  for (let round = 0; round < rounds; round++) {
    onRound?.(round, rounds);
    for (const [index, contender] of contenders.entries()) {
      resetPeakMemory(device);
      const result = await contender.run();
      peaks[index] = Math.max(peaks[index], memoryStats(device).peak);
      if (round >= warmUpRounds) collect(times[index], result);
      // A signal or a timer gets its turn.
      await new Promise(setImmediate);
    }
  }
  return contenders.flatMap(({ operator, engine, layout, countsMemory = true, peakBytes }, index) =>
    [...times[index]].map(([pass, samples]): BenchmarkRow => {
      const spread = quartiles(samples);
      return {
        case: name, operator, engine, device, precision, pass, ...spread, repeats,
        peakBytes: peakBytes ? peakBytes() : countsMemory ? peaks[index] : null,
        ...ratesOf(cost?.[pass], spread.ms, roof),
        ...(layout ? { layout } : {}),
      };
    }),
  );
}

/** Milliseconds that `work` takes on `device`, to its end and without what was under way before, and what it returns. */
export function timed<R>(device: Device, work: () => R): [milliseconds: number, result: R] {
  synchronize(device);
  const start = performance.now();
  const result = work();
  synchronize(device);
  return [performance.now() - start, result];
}

/** The pass that a contender is judged by. */
export function wholePass<T>(passes: ReadonlyMap<BenchmarkPass, T>): T {
  return (passes.get('both') ?? passes.get('step') ?? passes.get('forward'))!;
}

/** Of rows that differ in their layout, those of the one with the shortest whole pass. */
export function fastestLayouts(rows: readonly BenchmarkRow[]): BenchmarkRow[] {
  const entrants = groupBy(rows, ({ engine, operator }) => `${engine} ${operator}`);
  return [...entrants.values()].flatMap((entrant) => {
    const layouts = [...groupBy(entrant, ({ layout }) => layout).values()];
    const timeOf = (passes: readonly BenchmarkRow[]): number => wholePass(new Map(passes.map((row) => [row.pass, row.ms])));
    return layouts.reduce((best, each) => (timeOf(each) < timeOf(best) ? each : best));
  });
}

/** What was measured in a process of its own belongs to the whole pass. */
async function withResidentMemory(rows: BenchmarkRow[], contenders: readonly Contender[]): Promise<BenchmarkRow[]> {
  const measured: BenchmarkRow[] = [];
  for (const row of rows) {
    const isWhole = row.pass === 'both' || row.pass === 'step';
    const contender = contenders.find(
      ({ engine, operator, layout }) => engine === row.engine && operator === row.operator && layout === row.layout,
    );
    measured.push({ ...row, ...(isWhole ? await contender?.resident?.() : undefined) });
  }
  return measured;
}

function collect(times: Map<BenchmarkPass, number[]>, result: PassTimes): void {
  for (const [pass, milliseconds] of Object.entries(result) as [BenchmarkPass, number][]) {
    const samples = times.get(pass) ?? [];
    times.set(pass, [...samples, milliseconds]);
  }
}

/** Median and quartiles, interpolated between the two nearest samples. */
export function quartiles(samples: readonly number[]): { ms: number; p25: number; p75: number } {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (fraction: number): number => {
    const position = fraction * (sorted.length - 1);
    const below = Math.floor(position);
    const above = Math.min(below + 1, sorted.length - 1);
    return sorted[below] + (position - below) * (sorted[above] - sorted[below]);
  };
  return { ms: at(0.5), p25: at(0.25), p75: at(0.75) };
}
