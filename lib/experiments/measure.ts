import { performance } from 'node:perf_hooks';
import { memoryStats, resetPeakMemory } from '../device';

/** What was computed: a plain convolution or network, or a spherical one by its angular function. */
export type BenchmarkOperator = 'plain' | 'linear' | 'cosine' | 'sigmoid';
export type BenchmarkPass = 'forward' | 'backward' | 'both' | 'step';

/** One line of a benchmark's JSON document. */
export interface BenchmarkRow {
  /** Such as `conv3x3 64->64 32x32 b128`. */
  case: string;
  operator: BenchmarkOperator;
  engine: 'spherenet' | 'onednn';
  device: 'cpu';
  pass: BenchmarkPass;
  /** Median of the repeats in milliseconds. */
  ms: number;
  /** First and third quartile in milliseconds. */
  p25: number;
  p75: number;
  repeats: number;
  /** Most tensor memory in use during a repeat; null for a peer that keeps its memory to itself. */
  peakBytes: number | null;
}

/** One contender: every run gives the milliseconds of each of its passes. */
export interface Contender {
  operator: BenchmarkOperator;
  engine: BenchmarkRow['engine'];
  run: () => Partial<Record<BenchmarkPass, number>>;
  /** False where {@link memoryStats} does not see what it allocates. Default true. */
  countsMemory?: boolean;
}

export interface MeasureOptions {
  repeats: number;
  /** Told before each round, counted from 0, the rounds of warm-up first. */
  onRound?: (round: number, rounds: number) => void;
}

/** Rounds before those that count: caches, clocks and primitives settle. */
const warmUpRounds = 2;

/**
 * Runs the contenders in turn, one round after the other: what disturbs the machine hits all of them alike.
 */
export async function measure(name: string, contenders: readonly Contender[], options: MeasureOptions): Promise<BenchmarkRow[]> {
  const { repeats, onRound } = options;
  const rounds = warmUpRounds + repeats;
  const times = contenders.map(() => new Map<BenchmarkPass, number[]>());
  const peaks = contenders.map(() => 0);
  for (let round = 0; round < rounds; round++) {
    onRound?.(round, rounds);
    for (const [index, contender] of contenders.entries()) {
      resetPeakMemory();
      const result = contender.run();
      peaks[index] = Math.max(peaks[index], memoryStats().peak);
      if (round >= warmUpRounds) collect(times[index], result);
      // A signal or a timer gets its turn.
      await new Promise(setImmediate);
    }
  }
  return contenders.flatMap(({ operator, engine, countsMemory = true }, index) =>
    [...times[index]].map(([pass, samples]): BenchmarkRow => {
      const peakBytes = countsMemory ? peaks[index] : null;
      return { case: name, operator, engine, device: 'cpu', pass, ...quartiles(samples), repeats, peakBytes };
    }),
  );
}

/** Milliseconds that `work` takes, and what it returns. */
export function timed<R>(work: () => R): [milliseconds: number, result: R] {
  const start = performance.now();
  const result = work();
  return [performance.now() - start, result];
}

function collect(times: Map<BenchmarkPass, number[]>, result: Partial<Record<BenchmarkPass, number>>): void {
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
