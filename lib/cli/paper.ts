import { join } from 'node:path';
import type { Command } from 'commander';
import { type DatasetName, datasetNames, loadDataset } from '../data';
import { OptionError } from '../errors';
import { makeOutputFolder } from '../files';
import { type ComputedExperiment, type Experiment, type PresetName, presetNames, type TrainedExperiment } from '../paper/experiment';
import { experiments, requireExperiment } from '../paper/experiments';
import { computedText, paperText, saveComputed } from '../paper/report';
import { type RecipeName, recipeNames } from '../paper/recipe';
import { runPaper } from '../paper/run';
import { formatCount, textTable } from '../report';
import { addSourceOptions, datasetOptions, type SourceOptions } from './dataOptions';
import { addTrainingDeviceOptions, type TrainingDeviceOptions, useTrainingDevice } from './deviceOptions';
import { abortOnInterrupt, interruptedCode } from './interrupt';
import { atLeastOne, choiceOption, jsonOption, listOption, numberIn, numberOption } from './options';
import { printResult } from './output';
import { showRunProgress } from './runProgress';

interface PaperCommandOptions extends SourceOptions, TrainingDeviceOptions {
  preset: PresetName;
  cells?: string[];
  seeds?: number[];
  widths?: number[];
  iterations?: number;
  recipe?: RecipeName;
  data?: DatasetName;
  minutes?: number;
  output?: string;
  json?: boolean;
}

const examples = `
Without a name, the experiments are listed.
Run again with the same output, the command skips what is finished and goes on where it stopped.

Examples:
  $ spherenet paper
  $ spherenet paper table1
  $ spherenet paper table1 --preset paper --device cuda --cuda-graph --minutes 9
  $ spherenet paper table1 --cells linear/linear-w-softmax,linear/ga-softmax --seeds 0,1,2 --output runs/linear
  $ spherenet paper table1 --iterations 200 --output runs/short --json`;

export function define(command: Command): void {
  command
    .argument('[experiment]', 'a table, figure or lemma of the paper')
    .addOption(choiceOption('--preset <name>', "mini: about ten minutes on two CPU cores; paper: the paper's setting", presetNames, 'mini'))
    .addOption(listOption('--cells <list>', 'cells of the experiment, or all (default: those that tell most)', (_, text) => text))
    .addOption(listOption('--seeds <list>', 'of weights, order and augmentation; one run for each', numberIn({ min: 0, integer: true })))
    .addOption(listOption('--widths <list>', 'filters of the stages', numberIn(atLeastOne)))
    .addOption(numberOption('--iterations <count>', 'steps of each training run; the schedule scales with them', atLeastOne))
    .addOption(choiceOption('--recipe <name>', "paper: what came closest to its numbers; official: that of the authors' code (default: paper)", recipeNames))
    .addOption(choiceOption('--data <name>', "instead of the experiment's data set", datasetNames))
    .addOption(numberOption('--minutes <number>', 'end with a checkpoint before so much time has passed', { above: 0 }))
    .option('--output <folder>', 'for report, curves, logs and checkpoints (default: runs/paper/EXPERIMENT-PRESET)');
  addSourceOptions(command);
  addTrainingDeviceOptions(command).addOption(jsonOption()).addHelpText('after', examples).action(run);
}

async function run(name: string | undefined, options: PaperCommandOptions, command: Command): Promise<void> {
  if (name === undefined) {
    refuseOthers(command, ['json'], 'the name of an experiment, which is missing');
    printResult(experiments.map(summaryOf), options.json, listText);
    return;
  }
  const experiment = requireExperiment(name);
  await (experiment.kind === 'trained' ? train(experiment, options) : compute(experiment, options, command));
}

async function train(experiment: TrainedExperiment, options: PaperCommandOptions): Promise<void> {
  const { preset, minutes, json, output = join('runs', 'paper', `${experiment.name}-${preset}`) } = options;
  const device = useTrainingDevice(options);
  const signal = abortOnInterrupt();
  const progress = showRunProgress();
  const summary = await runPaper({
    experiment,
    preset,
    load: (data) => loadDataset(data, datasetOptions(options)),
    data: options.data,
    cells: options.cells,
    seeds: options.seeds,
    widths: options.widths,
    iterations: options.iterations,
    recipe: options.recipe,
    device,
    cudaGraph: options.cudaGraph,
    output,
    signal,
    // Counted from the start of the process.
    deadline: minutes === undefined ? undefined : minutes * 60_000,
    ...progress,
  }).finally(() => { progress.stop(); });
  printResult(summary, json, (result) => paperText(experiment, result));
  const stopped = summary.cells.some(({ runs }) => runs.some(({ finished }) => !finished));
  process.stderr.write(`\nReport, curves and logs are in ${output}.${stopped ? ' To go on, run the same command again.' : ''}\n`);
  if (signal.aborted) process.exitCode = interruptedCode(signal);
}

/** Options that would have no effect. @throws {OptionError} naming the first one. */
function refuseOthers(command: Command, taken: readonly string[], owner: string): void {
  const surplus = command.options.find((option) => {
    const name = option.attributeName();
    return !taken.includes(name) && command.getOptionValueSource(name) === 'cli';
  });
  if (surplus) throw new OptionError(surplus.attributeName(), `${surplus.long} belongs to ${owner}`);
}

async function compute(experiment: ComputedExperiment, options: PaperCommandOptions, command: Command): Promise<void> {
  const { json, output = join('runs', 'paper', experiment.name) } = options;
  refuseOthers(command, ['output', 'json'], `experiments that train; ${experiment.name} takes --output and --json`);
  const computed = experiment.compute();
  await makeOutputFolder(output);
  await saveComputed(experiment, computed, output);
  printResult(computed, json, (result) => computedText(experiment, result));
  process.stderr.write(`\nReport and curves are in ${output}.\n`);
}

/** What `spherenet paper` lists of an experiment. */
interface ExperimentSummary {
  name: string;
  title: string;
  shows: string;
  /** Of an experiment that trains: what each preset costs. */
  presets?: Record<PresetName, { trainings: number; iterations: number; minutesOnTwoCores?: number; cells: string[] }>;
}

function summaryOf(experiment: Experiment): ExperimentSummary {
  const { name, title, shows } = experiment;
  if (experiment.kind === 'computed') return { name, title, shows };
  const costs = presetNames.map((preset) => {
    const { cells, chosen, seeds, iterations, minutes } = experiment.presets[preset];
    const trainings = (chosen ?? cells).length * seeds.length;
    return [preset, { trainings, iterations, minutesOnTwoCores: minutes, cells: cells.map((cell) => cell.name) }] as const;
  });
  return { name, title, shows, presets: Object.fromEntries(costs) as ExperimentSummary['presets'] };
}

function listText(summaries: readonly ExperimentSummary[]): string {
  const cost = ({ presets }: ExperimentSummary, preset: PresetName): string => {
    if (!presets) return 'seconds';
    const { trainings, iterations, minutesOnTwoCores } = presets[preset];
    return minutesOnTwoCores === undefined ? `${trainings} × ${formatCount(iterations)} steps` : `${minutesOnTwoCores} min`;
  };
  const table = textTable({
    head: ['experiment', ...presetNames, 'title'],
    rows: summaries.map((summary) => [summary.name, ...presetNames.map((preset) => cost(summary, preset)), summary.title]),
    align: ['left', 'right', 'right', 'left'],
  });
  const what = summaries.map(({ name, shows }) => `${name}: ${shows}`).join('\n');
  return `${table}\n\nMinutes are estimates for two CPU cores.\n\n${what}`;
}
