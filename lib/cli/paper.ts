import type { Command } from 'commander';
import { paperText } from '../paper/report';
import { runPaper } from '../paper/run';
import { type CellName, defaultCells, paperLosses, paperOperators, requireCellName } from '../paper/table';
import { addDataOptions, type DataOptions, loadData } from './dataOptions';
import { addTrainingDeviceOptions, type TrainingDeviceOptions, useTrainingDevice } from './deviceOptions';
import { abortOnInterrupt, interruptedCode } from './interrupt';
import { atLeastOne, jsonOption, listOption, numberIn, numberOption } from './options';
import { printResult } from './output';
import { showRunProgress } from './runProgress';

interface PaperCommandOptions extends DataOptions, TrainingDeviceOptions {
  cells: CellName[];
  widths: number[];
  iterations: number;
  seed: number;
  minutes?: number;
  output: string;
  json?: boolean;
}

const examples = `
A cell of Table 1 is OPERATOR/LOSS.
  operators: ${paperOperators.join(', ')}
  losses:    ${paperLosses.slice(0, 4).join(', ')},
             ${paperLosses.slice(4).join(', ')}
Run again with the same output, the command skips what is finished and goes on where it stopped.

Examples:
  $ spherenet paper
  $ spherenet paper --device cuda --cuda-graph --minutes 9
  $ spherenet paper --cells linear/linear-w-softmax,linear/ga-softmax --output runs/linear
  $ spherenet paper --iterations 2000 --output runs/short --json`;

export function define(command: Command): void {
  command
    .addOption(listOption('--cells <list>', 'cells, as below', requireCellName, defaultCells.join(',')))
    .addOption(listOption('--widths <list>', 'filters of the three stages', numberIn(atLeastOne), '64,96,128'))
    .addOption(numberOption('--iterations <count>', 'steps of each cell; the schedule scales with them', atLeastOne, 64_000))
    .addOption(numberOption('--seed <number>', 'of weights, order and augmentation', { min: 0, integer: true }, 0))
    .addOption(numberOption('--minutes <number>', 'end with a checkpoint before so much time has passed', { above: 0 }))
    .option('--output <folder>', 'for report, curves, logs and checkpoints', 'runs/paper');
  addDataOptions(command);
  addTrainingDeviceOptions(command).addOption(jsonOption()).addHelpText('after', examples).action(run);
}

async function run(options: PaperCommandOptions): Promise<void> {
  const { cells, widths, iterations, seed, minutes, output, cudaGraph, json } = options;
  const device = useTrainingDevice(options);
  const signal = abortOnInterrupt();
  const splits = await loadData(options);
  const progress = showRunProgress();
  const summary = await runPaper({
    data: splits,
    cells,
    widths: widths as [number, number, number],
    iterations,
    seed,
    device,
    cudaGraph,
    output,
    signal,
    // Counted from the start of the process.
    deadline: minutes === undefined ? undefined : minutes * 60_000,
    ...progress,
  }).finally(() => { progress.stop(); });
  printResult(summary, json, paperText);
  const stopped = summary.cells.some(({ finished }) => !finished);
  process.stderr.write(`\nReport, curves and logs are in ${output}.${stopped ? ' To go on, run the same command again.' : ''}\n`);
  if (signal.aborted) process.exitCode = interruptedCode;
}
