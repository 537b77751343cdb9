import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { type Device, devices, type MatmulPrecision, precisions } from '../device';
import { DataError } from '../errors';
import { groupBy } from './grouping';
import { type BenchmarkEngine, benchmarkEngines, benchmarkOperators, benchmarkPasses, type BenchmarkRow } from './measure';

/** What became of a time: `faster` and `slower` only where noise does not explain it. */
export type Verdict = 'faster' | 'slower' | 'same';

export interface ComparedRow extends Pick<BenchmarkRow, 'case' | 'operator' | 'engine' | 'device' | 'precision' | 'pass'> {
  /** Medians in milliseconds, as measured. */
  before: number;
  now: number;
  /** Time now over time before, the reference's own ratio divided out where the comparison is normalised. */
  ratio: number;
  /** Ratios up to 1 + noise, and down to its inverse, mean nothing. */
  noise: number;
  verdict: Verdict;
}

export interface Comparison {
  /** The earlier document. */
  file: string;
  /** Whether the two were measured on different machines, so that ratios are to the reference of each. */
  normalised: boolean;
  rows: ComparedRow[];
}

/** As much of a row as is compared. */
interface EarlierRow extends Pick<BenchmarkRow, 'case' | 'operator' | 'engine' | 'device' | 'pass' | 'ms' | 'p25' | 'p75'> {
  precision: MatmulPrecision;
}

/** As much of a document as is compared; rows without a precision are older than the field. */
export interface EarlierDocument {
  machine: MachineFacts;
  rows: readonly EarlierRow[];
}

interface MachineFacts {
  processor: string;
  threads: number;
  instructionSet: string;
  onednn: string;
  gpu?: { name: string; precision: MatmulPrecision };
  roofs?: readonly { device: Device; precision: MatmulPrecision; gflops: number }[];
}

const milliseconds = z.number().positive();
const device = z.enum(devices);
const precision = z.enum(precisions);
const rowSchema = z.object({
  case: z.string(),
  operator: z.enum(benchmarkOperators),
  engine: z.enum(benchmarkEngines),
  device,
  precision: precision.optional(),
  pass: z.enum(benchmarkPasses),
  ms: milliseconds,
  p25: milliseconds,
  p75: milliseconds,
});
const documentSchema = z.object({
  machine: z.object({
    processor: z.string(),
    threads: z.number(),
    instructionSet: z.string(),
    onednn: z.string(),
    gpu: z.object({ name: z.string(), precision }).optional(),
    roofs: z.array(z.object({ device, precision, gflops: z.number().positive() })).optional(),
  }),
  rows: z.array(rowSchema),
});

/** Differences below this are never told, however quiet the machine. */
const leastNoise = 0.02;

/**
 * Reads what `spherenet bench --json` has printed, or `benchmark.json`.
 * @throws {DataError} when it cannot be read, or is something else.
 */
export async function readBenchmark(file: string): Promise<EarlierDocument> {
  const fail = (why: string, cause: unknown) => new DataError('compare', `--compare ${file}: ${why}`, { cause });
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw fail(`cannot be read: ${(cause as Error).message}`, cause);
  });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw fail('is no JSON', cause);
  }
  const { data, error } = documentSchema.safeParse(json);
  if (!data) {
    const issue = error.issues[0];
    throw fail(`is no document of spherenet bench: ${issue.path.join('.')}: ${issue.message}`, error);
  }
  const ofDocument = data.machine.gpu?.precision ?? 'tf32';
  const rows = data.rows.map((row) => ({ ...row, precision: row.precision ?? (row.device === 'cpu' ? 'fp32' : ofDocument) }));
  return { machine: data.machine, rows };
}

/**
 * Holds each row of `now` against the same one of `before`, where there is one. A verdict other than `same` needs
 * interquartile ranges that do not overlap, and a ratio beyond the noise: that of the reference's own times, and of its
 * move from one run to the other. The reference is what does not change with this library: bare oneDNN, else a peer's
 * plain one, of the same case or, where that has none, the median of all; without any, the roof of matrix products.
 * Machines that differ are compared by the ratio to the reference; there our own plain one comes before the roof.
 */
export function compareBenchmarks(file: string, before: EarlierDocument, now: EarlierDocument): Comparison {
  const normalised = !areSame(before.machine, now.machine);
  const pairs = pairsOf(before.rows, now.rows);
  const references = referencesOf(pairs, normalised, roofDrift(before.machine, now.machine));
  const rows = pairs.map(([earlier, later]): ComparedRow => {
    const { drift, spread } = references(later);
    const scale = normalised ? drift : 1;
    const noise = Math.max(leastNoise, spread, normalised ? 0 : Math.abs(Math.log(drift)));
    const ratio = later.ms / earlier.ms / scale;
    const { case: name, operator, engine, device, precision, pass } = later;
    return {
      case: name, operator, engine, device, precision, pass,
      before: earlier.ms,
      now: later.ms,
      ratio,
      noise,
      verdict: verdictOf(earlier, scaled(later, 1 / scale), ratio, noise),
    };
  });
  return { file, normalised, rows };
}

type Pair = readonly [earlier: EarlierRow, later: EarlierRow];

function verdictOf(earlier: EarlierRow, later: EarlierRow, ratio: number, noise: number): Verdict {
  if (ratio > 1 + noise && later.p25 > earlier.p75) return 'slower';
  if (ratio < 1 / (1 + noise) && later.p75 < earlier.p25) return 'faster';
  return 'same';
}

function scaled(row: EarlierRow, factor: number): EarlierRow {
  return { ...row, ms: row.ms * factor, p25: row.p25 * factor, p75: row.p75 * factor };
}

function areSame(a: MachineFacts, b: MachineFacts): boolean {
  const factsOf = ({ processor, threads, instructionSet, onednn, gpu }: MachineFacts) =>
    JSON.stringify([processor, threads, instructionSet, onednn, gpu?.name]);
  return factsOf(a) === factsOf(b);
}

function pairsOf(before: readonly EarlierRow[], now: readonly EarlierRow[]): Pair[] {
  const keyOf = ({ case: name, operator, engine, device, precision, pass }: EarlierRow) =>
    [name, operator, engine, device, precision, pass].join('|');
  const earlier = new Map(before.map((row) => [keyOf(row), row]));
  return now.flatMap((row): Pair[] => {
    const match = earlier.get(keyOf(row));
    return match ? [[match, row]] : [];
  });
}

interface Reference {
  /** How much longer the reference took this time. */
  drift: number;
  /** Half of the interquartile range over the median, the larger one of the two runs. */
  spread: number;
}

/** How much longer a large matrix product takes, where both runs have measured that. */
function roofDrift(before: MachineFacts, now: MachineFacts): (row: EarlierRow) => number | undefined {
  return (row) => {
    const [then, later] = [before, now].map(({ roofs = [] }) =>
      roofs.find(({ device, precision }) => device === row.device && precision === row.precision),
    );
    return then && later ? then.gflops / later.gflops : undefined;
  };
}

/** The reference of a row: that of its case and pass, else the median of all on its device, else the roof. */
function referencesOf(
  pairs: readonly Pair[],
  normalised: boolean,
  driftOfRoof: (row: EarlierRow) => number | undefined,
): (row: EarlierRow) => Reference {
  const engines: readonly BenchmarkEngine[] = ['onednn', 'pytorch', 'tfjs', ...(normalised ? ['spherenet' as const] : [])];
  const plain = pairs.filter(([, { operator, engine }]) => operator === 'plain' && engines.includes(engine));
  const placeOf = ({ case: name, device, precision, pass }: EarlierRow) => [name, device, precision, pass].join('|');
  const byPlace = groupBy(plain, ([, row]) => placeOf(row));
  const byDevice = groupBy(plain, ([, { device }]) => device);
  const rankOf = ([, { engine }]: Pair) => engines.indexOf(engine);
  return (row) => {
    const own = (byPlace.get(placeOf(row)) ?? []).sort((a, b) => rankOf(a) - rankOf(b)).at(0);
    const all = (own ? [own] : (byDevice.get(row.device) ?? [])).map(referenceOf);
    return { drift: median(all.map(({ drift }) => drift)) ?? driftOfRoof(row) ?? 1, spread: median(all.map(({ spread }) => spread)) ?? 0 };
  };
}

function referenceOf([earlier, later]: Pair): Reference {
  const spreadOf = ({ ms, p25, p75 }: EarlierRow) => (p75 - p25) / 2 / ms;
  return { drift: later.ms / earlier.ms, spread: Math.max(spreadOf(earlier), spreadOf(later)) };
}

function median(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)] : sorted.length === 0 ? undefined : (sorted[middle - 1] + sorted[middle]) / 2;
}
