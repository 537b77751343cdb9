import { basename, join } from 'node:path';
import { writeWhole } from '../files';
import { barChart, formatBytes, formatNumber, formatPercent, formatSignificant, type Panel, panels, saveChart, textTable } from '../report';
import type { ComparedRow, Comparison } from './comparison';
import { groupBy } from './grouping';
import { type Machine, machineLine } from '../machine';
import { type BenchmarkEngine, type BenchmarkOperator, type BenchmarkPass, type BenchmarkRow, type MemoryLayout, wholePass } from './measure';
import type { Roof } from './roofs';
import type { StepProfile } from './stepProfile';

/** With what its devices do at best, where that was measured. */
interface MeasuredMachine extends Machine {
  roofs?: Roof[];
}

/** The document that `spherenet bench --json` prints. */
export interface BenchmarkDocument {
  machine: MeasuredMachine;
  rows: BenchmarkRow[];
  /** What a reader should know, such as the versions of peers. */
  notes?: string[];
  /** Where the time of a step goes, with `--profile`. */
  profile?: StepProfile[];
  /** Against an earlier document, with `--compare`. */
  comparison?: Comparison;
}

/** One contender with its passes side by side. */
interface Line {
  label: string;
  passes: Map<BenchmarkPass, BenchmarkRow>;
}

/** What ran in turn: a case on one device in one precision. The first line is what the others are held against. */
interface Contest {
  title: string;
  lines: Line[];
}

type Contestant = Pick<BenchmarkRow, 'engine' | 'operator' | 'pass' | 'case'> & { layout?: MemoryLayout };

const engineLabels: Record<BenchmarkEngine, string> = {
  'spherenet': 'spherenet',
  'onednn': 'oneDNN, bare',
  'pytorch': 'PyTorch',
  'pytorch-compile': 'torch.compile',
  'tfjs': 'TensorFlow.js',
};
const layoutLabels: Record<MemoryLayout, string> = { 'channels-last': 'NHWC', 'contiguous': 'NCHW' };

const missing = '–';

/** The tables of a benchmark for a terminal, one for each case, then what else was measured. */
export function benchmarkText({ machine, rows, notes = [], profile = [], comparison }: BenchmarkDocument): string {
  const calls = rows.filter(({ overheadMicroseconds }) => overheadMicroseconds !== undefined);
  const contests = contestsOf(rows.filter((row) => !calls.includes(row)));
  return [
    [headline(machine), ...(machine.roofs ?? []).map(roofLine), ...notes].join('\n'),
    ...(contests.length > 0 ? [explanation(rows[0].repeats, contests)] : []),
    ...contests.map(({ title, lines }) => `${title}\n${isStep(lines) ? stepTable(lines) : layerTable(lines)}`),
    ...memorySection(contests),
    ...(calls.length > 0 ? [`calls that have next to nothing to compute, microseconds\n${overheadTable(calls)}`] : []),
    ...profile.map(profileText),
    ...(comparison ? [comparisonText(comparison)] : []),
  ].join('\n\n');
}

/** Writes `benchmark.json`, `benchmark.svg` and `benchmark.png`, into a folder that is there. */
export async function saveBenchmark(document: BenchmarkDocument, folder: string): Promise<void> {
  await writeWhole(join(folder, 'benchmark.json'), `${JSON.stringify(document, null, 2)}\n`);
  await saveChart(await benchmarkChart(document), join(folder, 'benchmark'));
}

/**
 * Without peers one chart of all cases; with them one for each case, the engines side by side for each operator. Whoever
 * has no backward is left out: its bar would be of something else.
 */
function benchmarkChart({ machine, rows }: BenchmarkDocument): Promise<string> {
  const shown = rows.filter(({ pass, overheadMicroseconds }) => (pass === 'both' || pass === 'step') && overheadMicroseconds === undefined);
  const title = `Forward and backward on ${headline(machine)}`;
  const contests = contestsOf(shown);
  const yLabel = 'Milliseconds';
  if (shown.every(({ engine }) => engine === 'spherenet' || engine === 'onednn')) {
    return barChart({ title, yLabel, groups: contests.map(({ title: name, lines }) => ({ name, bars: lines.map(barOf) })) });
  }
  return panels(contests.map(({ title: name, lines }): Panel => {
    const groups = groupBy(lines, ({ passes }) => wholePass(passes).operator);
    return {
      kind: 'bar',
      title: `${name}, ${headline(machine)}`,
      yLabel,
      groups: [...groups].map(([operator, members]) => ({
        name: operator,
        bars: members.map((line) => ({ ...barOf(line), name: engineLabels[wholePass(line.passes).engine] })),
      })),
    };
  }));
}

function barOf({ label, passes }: Line) {
  const { ms, p25, p75 } = wholePass(passes);
  return { name: label, value: ms, low: p25, high: p75 };
}

/** What computed; where there were several settings, the title of each case tells which. */
function headline(machine: MeasuredMachine): string {
  const { gpu, roofs = [] } = machine;
  const onCuda = roofs.filter(({ device }) => device === 'cuda');
  if (!gpu || (onCuda.length < 2 && onCuda.length === roofs.length)) return machineLine(machine);
  const processor = onCuda.length < roofs.length ? [machineLine({ ...machine, gpu: undefined })] : [];
  return [gpu.name, ...processor].join(' and ');
}

function contestsOf(rows: readonly BenchmarkRow[]): Contest[] {
  const settingOf = ({ device, precision }: BenchmarkRow) => (device === 'cpu' ? device : `${device} ${precision}`);
  const severalSettings = new Set(rows.map(settingOf)).size > 1;
  const groups = groupBy(rows, (row) => (severalSettings ? `${row.case}, ${settingOf(row)}` : row.case));
  return [...groups].map(([title, members]) => ({
    title,
    lines: [...groupBy(members, labelOf)].map(([label, passes]) => ({ label, passes: new Map(passes.map((row) => [row.pass, row])) })),
  }));
}

function labelOf(row: Contestant): string {
  const { engine, operator, layout } = row;
  if (engine === 'onednn') return engineLabels[engine];
  if (engine === 'spherenet') return ownLabel(operator, isOfStep(row));
  return `${engineLabels[engine]} ${operator}${layout ? ` ${layoutLabels[layout]}` : ''}`;
}

function ownLabel(operator: BenchmarkOperator, isStep: boolean): string {
  if (operator === 'plain') return isStep ? 'plain CNN' : 'Conv2d';
  return `${isStep ? 'SphereNet' : 'SphereConv'} ${operator}`;
}

function isOfStep({ pass }: Pick<BenchmarkRow, 'pass'>): boolean {
  return pass === 'step';
}

function isStep(lines: readonly Line[]): boolean {
  return lines[0].passes.has('step');
}

function explanation(repeats: number, contests: readonly Contest[]): string {
  const hasLayers = contests.some(({ lines }) => !isStep(lines));
  const isPartial = contests.some(({ lines }) => lines.some(({ passes }) => !passes.has('both') && !passes.has('step')));
  const hasRoof = contests.some(({ lines }) => lines.some(({ passes }) => wholePass(passes).roofShare !== undefined));
  return [
    `milliseconds, median of ${repeats} runs in turn with its quartiles; ratio to the first line`,
    ...(isPartial ? ['  (of the forward pass where there is no backward)'] : []),
    `memory: most that tensors took${hasLayers ? '; it and the rates are of forward and backward together' : ''}`,
    ...(hasRoof ? ['roof: share of what the roofs above allow'] : []),
  ].join('\n');
}

function roofLine({ device, precision, gflops, gbps }: Roof): string {
  const of = device === 'cpu' ? 'roofs' : `roofs of ${device}, ${precision}`;
  return `${of}: ${formatSignificant(gflops)} GFLOP/s in a matrix product, ${formatSignificant(gbps)} GB/s in a copy`;
}

function layerTable(lines: readonly Line[]): string {
  const cells = lines.map(({ label, passes }) => {
    const whole = wholePass(passes);
    return [
      label,
      medianText(passes.get('forward')),
      medianText(passes.get('backward')),
      spreadText(passes.get('both')),
      ratioText(whole, lines),
      rateText(whole.gflops),
      rateText(whole.gbps),
      shareText(whole.roofShare),
      memoryText(whole.peakBytes),
    ];
  });
  return rightTable(['', 'forward', 'backward', 'both', 'ratio', 'GFLOP/s', 'GB/s', 'roof', 'memory'], cells);
}

function stepTable(lines: readonly Line[]): string {
  const cells = lines.map(({ label, passes }) => {
    const step = wholePass(passes);
    return [
      label, spreadText(step), ratioText(step, lines), rateText(step.gflops), shareText(step.roofShare), memoryText(step.peakBytes),
    ];
  });
  return rightTable(['', 'step', 'ratio', 'GFLOP/s', 'roof', 'memory'], cells);
}

/** Labels to the left, numbers to the right. */
function rightTable(head: string[], rows: string[][], leftColumns = 1): string {
  return textTable({ head, rows, align: head.map((_, column) => (column < leftColumns ? 'left' : 'right')) });
}

function ratioText(row: BenchmarkRow, lines: readonly Line[]): string {
  const reference = lines[0].passes.get(row.pass);
  return reference ? (row.ms / reference.ms).toFixed(2) : missing;
}

function medianText(row: BenchmarkRow | undefined): string {
  return row ? formatSignificant(row.ms) : missing;
}

function spreadText(row: BenchmarkRow | undefined): string {
  return row ? `${medianText(row)} (${formatSignificant(row.p25)}–${formatSignificant(row.p75)})` : missing;
}

function rateText(rate: number | undefined): string {
  if (rate === undefined) return missing;
  return rate < 1 ? rate.toFixed(2) : formatSignificant(rate);
}

function shareText(share: number | undefined): string {
  return share === undefined ? missing : formatPercent(share, 0);
}

function memoryText(bytes: number | null | undefined): string {
  return bytes === null || bytes === undefined ? missing : formatBytes(bytes);
}

function memorySection(contests: readonly Contest[]): string[] {
  const cells = contests.flatMap(({ title, lines }) =>
    lines.flatMap(({ label, passes }) => {
      const { residentBytes, residentBaseBytes } = wholePass(passes);
      if (residentBytes === undefined || residentBaseBytes === undefined) return [];
      return [[title, label, memoryText(residentBytes), memoryText(residentBaseBytes), memoryText(residentBytes - residentBaseBytes)]];
    }),
  );
  if (cells.length === 0) return [];
  return [`resident memory of a process that does nothing else\n${rightTable(['', '', 'peak', 'before', 'added'], cells, 2)}`];
}

function overheadTable(rows: readonly BenchmarkRow[]): string {
  return rightTable(
    ['', '', 'median', 'quartiles'],
    rows.map((row) => [
      row.case,
      isOfStep(row) ? labelOf(row) : '',
      formatSignificant(row.overheadMicroseconds!),
      `${formatSignificant(row.p25 * 1000)}–${formatSignificant(row.p75 * 1000)}`,
    ]),
    2,
  );
}

function profileText({ case: name, operator, steps, ms, phases, operators, rest }: StepProfile): string {
  const label = labelOf({ case: name, engine: 'spherenet', operator, pass: 'step' });
  const timed = ({ ms: time, share }: { ms: number; share: number }) => [formatSignificant(time), formatPercent(share, 1)];
  return [
    `profile of ${name}, ${label}: ${formatSignificant(ms)} ms, mean of ${steps} steps`,
    rightTable(['phase', 'ms', 'share'], phases.map((each) => [each.phase, ...timed(each)])),
    rightTable(
      ['operator', 'calls', 'ms', 'share'],
      [
        ...operators.map((each) => [each.operator, formatNumber(each.calls), ...timed(each)]),
        ['JavaScript, waiting for data', '', ...timed(rest)],
      ],
    ),
  ].join('\n\n');
}

function comparisonText({ file, normalised, rows }: Comparison): string {
  const title = `against ${basename(file)}, ${rows.length} rows in both`;
  if (rows.length === 0) return title;
  const explained = normalised
    ? `${title}; the machines differ, so ratios are to the reference of each`
    : `${title}; ratio: time now over time then`;
  const cells = rows.map((row) => [
    row.case, `${comparedLabel(row)}, ${row.pass}`, formatSignificant(row.before), formatSignificant(row.now), row.ratio.toFixed(2),
    `± ${formatPercent(row.noise, 0)}`, row.verdict,
  ]);
  return `${explained}\n${rightTable(['', '', 'then', 'now', 'ratio', 'noise', ''], cells, 2)}`;
}

function comparedLabel(row: ComparedRow): string {
  return row.device === 'cpu' ? labelOf(row) : `${labelOf(row)} ${row.precision}`;
}
