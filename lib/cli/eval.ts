import type { Command } from 'commander';
import { formatCount, formatPercent, formatSignificant, textTable } from '../report';
import { classReport, type ClassReport, loadModel } from '../train';
import { addDataOptions, type DataOptions, loadData } from './dataOptions';
import { addDeviceOptions, type DeviceOptions, useDevice } from './deviceOptions';
import { atLeastOne, jsonOption, numberOption } from './options';
import { printResult } from './output';

interface EvalOptions extends DataOptions, DeviceOptions {
  batchSize: number;
  json?: boolean;
}

const examples = `
Examples:
  $ spherenet eval runs/mine/last.safetensors
  $ spherenet eval runs/mine/last.safetensors --json
  $ spherenet eval runs/digits/last.safetensors --data mnist
  $ spherenet eval runs/pets/last.safetensors --data folder --source ~/pets --on-error skip`;

export function define(command: Command): void {
  command.argument('<checkpoint>', 'a file written by spherenet train');
  addDataOptions(command).addOption(numberOption('--batch-size <count>', 'images a batch', atLeastOne, 128));
  addDeviceOptions(command)
    .addOption(jsonOption())
    .addHelpText('after', examples)
    .action(run);
}

async function run(checkpoint: string, options: EvalOptions): Promise<void> {
  const { batchSize, json } = options;
  const device = useDevice(options);
  const model = (await loadModel(checkpoint)).to(device);
  const { test } = await loadData(options);
  printResult({ checkpoint, ...(await classReport(model, test, batchSize)) }, json, asText);
}

function asText({ dataset, images, loss, accuracy, classes }: ClassReport): string {
  const table = textTable({
    head: ['class', 'images', 'accuracy', 'most often taken for'],
    rows: classes.map(({ name, images: count, accuracy: share, confusedWith }) => [
      name,
      formatCount(count),
      share === null ? '–' : formatPercent(share, 1),
      confusedWith ? `${confusedWith.name} (${formatCount(confusedWith.images)})` : '–',
    ]),
    align: ['left', 'right', 'right', 'left'],
  });
  return [
    `${dataset}, ${formatCount(images)} images`,
    `accuracy ${formatPercent(accuracy)}, loss ${formatSignificant(loss, 4)}`,
    '',
    table,
  ].join('\n');
}
