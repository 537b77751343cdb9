import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { barChart, formatBytes, formatSignificant, saveChart, textTable } from '../report';
import { type Machine, machineLine } from './machine';
import type { BenchmarkOperator, BenchmarkPass, BenchmarkRow } from './measure';

/** The document that `spherenet bench --json` prints. */
export interface BenchmarkDocument {
  machine: Machine;
  rows: BenchmarkRow[];
}

/** One contender with its passes side by side. */
interface Line {
  label: string;
  passes: Map<BenchmarkPass, BenchmarkRow>;
}

const operatorLabels: Record<BenchmarkOperator, string> = {
  plain: 'Conv2d',
  linear: 'SphereConv linear',
  cosine: 'SphereConv cosine',
  sigmoid: 'SphereConv sigmoid',
};
const networkLabels: Record<BenchmarkOperator, string> = {
  plain: 'plain CNN',
  linear: 'SphereNet linear',
  cosine: 'SphereNet cosine',
  sigmoid: 'SphereNet sigmoid',
};

/** The tables of a benchmark for a terminal, one for each case. The first contender of a case is what others are held against. */
export function benchmarkText({ machine, rows }: BenchmarkDocument): string {
  const tables = cases(rows).map(([name, lines]) => `${name}\n${caseTable(lines)}`);
  const { repeats } = rows[0];
  return [machineLine(machine), `median (p25 to p75) of ${repeats} runs in turn, milliseconds`, ...tables].join('\n\n');
}

/** Writes `benchmark.json`, `benchmark.svg` and `benchmark.png`, making the folder as needed. */
export async function saveBenchmark(document: BenchmarkDocument, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'benchmark.json'), `${JSON.stringify(document, null, 2)}\n`);
  await saveChart(await benchmarkChart(document), join(folder, 'benchmark'));
}

function benchmarkChart({ machine, rows }: BenchmarkDocument): Promise<string> {
  return barChart({
    title: `Forward and backward on ${machineLine(machine)}`,
    yLabel: 'Milliseconds',
    groups: cases(rows).map(([name, lines]) => ({
      name,
      bars: lines.map(({ label, passes }) => {
        const { ms, p25, p75 } = wholePass(passes);
        return { name: label, value: ms, low: p25, high: p75 };
      }),
    })),
  });
}

function cases(rows: readonly BenchmarkRow[]): [name: string, lines: Line[]][] {
  const found = new Map<string, Map<string, Line>>();
  for (const row of rows) {
    const lines = found.get(row.case) ?? new Map<string, Line>();
    const label = labelOf(row);
    const line = lines.get(label) ?? { label, passes: new Map<BenchmarkPass, BenchmarkRow>() };
    line.passes.set(row.pass, row);
    lines.set(label, line);
    found.set(row.case, lines);
  }
  return [...found].map(([name, lines]) => [name, [...lines.values()]]);
}

function labelOf({ engine, operator, pass }: BenchmarkRow): string {
  if (engine === 'onednn') return 'oneDNN, bare';
  return (pass === 'step' ? networkLabels : operatorLabels)[operator];
}

function caseTable(lines: readonly Line[]): string {
  const isStep = lines[0].passes.has('step');
  const reference = wholePass(lines[0].passes).ms;
  return textTable({
    head: ['', ...(isStep ? ['step'] : ['forward', 'backward', 'both']), `× ${lines[0].label}`, 'peak memory'],
    rows: lines.map(({ label, passes }) => [
      label,
      ...[...passes.values()].map(timeText),
      (wholePass(passes).ms / reference).toFixed(2),
      memoryText(wholePass(passes)),
    ]),
    align: ['left', ...Array<'right'>(isStep ? 3 : 5).fill('right')],
  });
}

function wholePass(passes: ReadonlyMap<BenchmarkPass, BenchmarkRow>): BenchmarkRow {
  return (passes.get('both') ?? passes.get('step'))!;
}

function timeText({ ms, p25, p75 }: BenchmarkRow): string {
  return `${formatSignificant(ms)} (${formatSignificant(p25)} to ${formatSignificant(p75)})`;
}

function memoryText({ peakBytes }: BenchmarkRow): string {
  return peakBytes === null ? '–' : formatBytes(peakBytes);
}
