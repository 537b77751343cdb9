import { Argument, type Command } from 'commander';
import { type DatasetName, datasetNames, type DatasetSummary, summarizeDataset } from '../data';
import { requireOneOf } from '../errors';
import { formatBytes, formatCount, textTable } from '../report';
import { addSourceOptions, datasetOptions, type SourceOptions } from './dataOptions';
import { jsonOption } from './options';
import { printResult } from './output';

const examples = `
Examples:
  $ spherenet data
  $ spherenet data mnist --json
  $ spherenet data cifar10 --source ~/cifar-10-batches-bin
  $ spherenet data folder --source ~/imagenet`;

export function define(command: Command): void {
  const name = new Argument('[name]', 'data set').choices(datasetNames).default('cifar10');
  command.addArgument(name.argParser((text) => requireOneOf('name', text, datasetNames)));
  addSourceOptions(command).addOption(jsonOption()).addHelpText('after', examples).action(run);
}

async function run(name: DatasetName, { json, ...options }: SourceOptions & { json?: boolean }): Promise<void> {
  printResult(await summarizeDataset(name, datasetOptions(options)), json, asText);
}

function asText({ name, location, image, splits }: DatasetSummary): string {
  const shape = `${image.height}×${image.width}×${image.channels}`;
  const table = textTable({
    head: ['class', ...splits.map(({ split }) => split)],
    rows: Object.keys(splits[0].imagesPerClass).map((label) => [label, ...splits.map((each) => each.imagesPerClass[label])]),
    align: ['left', ...splits.map(() => 'right' as const)],
  });
  const sizes = splits.map(({ split, images, bytes, ignored }) => {
    const details = [bytes !== null && formatBytes(bytes), ignored !== null && ignored > 0 && `other files left out: ${formatCount(ignored)}`];
    const shown = details.filter((detail) => detail !== false);
    return `${split} ${formatCount(images)} images${shown.length > 0 ? ` (${shown.join(', ')})` : ''}`;
  });
  return `${name} in ${location}\n${shape} pixels; ${sizes.join(', ')}\n\n${table}`;
}
