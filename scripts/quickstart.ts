// The options of ./scripts/quickstart; the work is done by lib/paper/convergence.ts.
import { addDataOptions, type DataOptions, loadData } from '../lib/cli/dataOptions';
import { deviceOption, useDevice } from '../lib/cli/deviceOptions';
import { abortOnInterrupt, interruptedCode } from '../lib/cli/interrupt';
import { atLeastOne, choiceOption, jsonOption, listOption, numberIn, numberOption } from '../lib/cli/options';
import { printResult } from '../lib/cli/output';
import { newProgram, runProgram } from '../lib/cli/program';
import { showRunProgress } from '../lib/cli/runProgress';
import type { DeviceChoice } from '../lib/device';
import { type ConvergenceOptions, runConvergence } from '../lib/paper/convergence';
import { convergenceText } from '../lib/paper/convergenceReport';

type Options = DataOptions & Omit<ConvergenceOptions, 'data' | 'device'> & { device: DeviceChoice; json?: boolean };

const examples = `
Examples:
  $ ./scripts/quickstart
  $ ./scripts/quickstart --iterations 2000 --output runs/longer
  $ ./scripts/quickstart --loss ga-softmax --widths 64,96,128`;

const program = newProgram('./scripts/quickstart').description(
  'Trains plain CNN-9 and SphereNet-9 from the same seed on the same batches and shows how they converge.',
);
addDataOptions(program)
  .addOption(numberOption('--iterations <count>', 'steps of each network', atLeastOne, 500))
  .addOption(numberOption('--batch-size <count>', 'images a step', atLeastOne, 128))
  .addOption(listOption('--widths <list>', 'filters of the three stages', numberIn(atLeastOne), '16,32,48'))
  .addOption(choiceOption('--loss <name>', 'loss of both networks', ['softmax', 'ga-softmax'] as const, 'softmax'))
  .addOption(numberOption('--eval-every <count>', 'steps between evaluations', atLeastOne, 50))
  .addOption(numberOption('--eval-images <count>', 'test images of each; the last one takes all', atLeastOne, 2000))
  .addOption(numberOption('--seed <number>', 'of weights, order and augmentation', { min: 0, integer: true }, 0))
  .addOption(deviceOption())
  .option('--output <folder>', 'for curves (SVG, PNG), summary, logs and checkpoints', 'runs/quickstart')
  .addOption(jsonOption())
  .addHelpText('after', examples)
  .action(run);

async function run(options: Options): Promise<void> {
  const { device: choice, json, ...settings } = options;
  const device = useDevice({ device: choice });
  const signal = abortOnInterrupt();
  const splits = await loadData(options);
  const progress = showRunProgress();
  const summary = await runConvergence({ ...settings, data: splits, device, signal, ...progress }).finally(() => { progress.stop(); });
  if (!summary) {
    process.exitCode = interruptedCode;
    return;
  }
  process.stderr.write('\n');
  printResult(summary, json, convergenceText);
  process.stderr.write(`\nCurves, summary and logs are in ${settings.output}: see convergence.png there.\n`);
}

void runProgram(program);
