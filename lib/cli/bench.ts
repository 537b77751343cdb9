import type { Command } from 'commander';
import { OptionError } from '../errors';
import type { BenchmarkDocument } from '../experiments/benchmarkReport';
import type { ConvolutionShape } from '../experiments/convolutionBenchmark';
import type { BenchmarkRow } from '../experiments/measure';
import type { AngularOperator } from '../ops';
import { atLeastOne, jsonOption, listOption, numberIn, numberOption, oneOf } from './options';
import { printResult } from './output';

interface BenchOptions {
  shapes: ConvolutionShape[];
  operators: AngularOperator[];
  batchSize: number;
  repeats: number;
  step?: boolean;
  widths: [number, number, number];
  output?: string;
  json?: boolean;
}

const operators = ['linear', 'cosine', 'sigmoid'] as const satisfies readonly AngularOperator[];
const shapePattern = /^(\d+):(\d+)@(\d+)$/;

const examples = `
Examples:
  $ spherenet bench
  $ spherenet bench --shapes 3:64@32,64:64@32 --operators sigmoid
  $ spherenet bench --step --widths 16,32,48 --output runs/bench
  $ OMP_NUM_THREADS=1 spherenet bench --json > bench.json`;

export function addBenchCommand(program: Command): void {
  program
    .command('bench')
    .description('Times SphereConv against plain convolution, or a training step of SphereNet-9 against plain CNN-9.')
    .addOption(
      listOption('--shapes <list>', '3×3 layers as CHANNELS:FILTERS@PIXELS', parseShape, '64:64@32,96:96@16,128:128@8'),
    )
    .addOption(listOption('--operators <list>', 'angular functions', oneOf(operators), operators.join(',')))
    .addOption(numberOption('--batch-size <count>', 'images a batch', atLeastOne, 128))
    .addOption(numberOption('--repeats <count>', 'measured runs of each contender, at least 7', { min: 7, integer: true }, 9))
    .option('--step', 'time whole training steps (forward, backward, Adam) on synthetic images instead')
    .addOption(listOption('--widths <list>', 'filters of the three stages, with --step', numberIn(atLeastOne), '64,96,128'))
    .option('--output <folder>', 'also write benchmark.json and a bar chart (SVG, PNG) there')
    .addOption(jsonOption())
    .addHelpText('after', examples)
    .action(run);
}

async function run(options: BenchOptions): Promise<void> {
  const [{ describeMachine }, { benchmarkText, saveBenchmark }] = await Promise.all([
    import('../experiments/machine'),
    import('../experiments/benchmarkReport'),
  ]);
  const rows = options.step ? await stepRows(options) : await convolutionRows(options);
  const document: BenchmarkDocument = { machine: describeMachine(), rows };
  if (options.output !== undefined) await saveBenchmark(document, options.output);
  printResult(document, options.json, benchmarkText);
}

async function convolutionRows({ shapes, operators, batchSize, repeats }: BenchOptions): Promise<BenchmarkRow[]> {
  const { benchmarkConvolution } = await import('../experiments/convolutionBenchmark');
  const rows: BenchmarkRow[] = [];
  for (const [index, shape] of shapes.entries()) {
    const onRound = showRound(`layer ${index + 1} of ${shapes.length}`);
    rows.push(...(await benchmarkConvolution({ shape, batchSize, operators, repeats, onRound })));
  }
  return rows;
}

async function stepRows({ operators, batchSize, repeats, widths }: BenchOptions): Promise<BenchmarkRow[]> {
  const { benchmarkStep } = await import('../experiments/stepBenchmark');
  return benchmarkStep({ widths, batchSize, operators, repeats, onRound: showRound('training step') });
}

function showRound(what: string): (round: number, rounds: number) => void {
  return (round, rounds) => {
    if (!process.stderr.isTTY) return;
    const isLast = round === rounds - 1;
    process.stderr.write(`\r\x1b[K${what}: round ${round + 1} of ${rounds}${isLast ? '\r\x1b[K' : ''}`);
  };
}

function parseShape(flag: string, text: string): ConvolutionShape {
  const match = shapePattern.exec(text);
  const [channels, filters, size] = (match ?? []).slice(1).map(Number);
  if (!channels || !filters || !size) {
    throw new OptionError(flag, `${flag} must list layers as CHANNELS:FILTERS@PIXELS, such as 64:64@32, but got ${JSON.stringify(text)}`);
  }
  return { channels, filters, size };
}
