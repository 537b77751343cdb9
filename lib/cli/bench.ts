import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { type ConvolutionShape, layer, type LayerList, layerLists, layersOf, outputSize } from '../bench/layerShapes';
import { type PeerName, peerNames } from '../bench/peers/peer';
import { type BenchmarkDocument, benchmarkText, saveBenchmark } from '../bench/report';
import { type BenchmarkTarget, runBenchmark } from '../bench/run';
import { type DeviceChoice, deviceChoices, matmulPrecision, type MatmulPrecision, precisions } from '../device';
import { OptionError } from '../errors';
import { FolderLock } from '../folderLock';
import { networkNames } from '../models';
import { type AngularOperator, angularOperators } from '../ops';
import { useDevice } from './deviceOptions';
import { atLeastOne, jsonOption, listOption, numberIn, numberOption, oneOf } from './options';
import { printResult } from './output';

interface BenchOptions {
  shapes?: ConvolutionShape[];
  layers?: LayerList[];
  step?: boolean;
  network?: string[];
  widths?: number[];
  imageSize?: number;
  operators: AngularOperator[];
  batchSize: number[];
  repeats: number;
  device: DeviceChoice[];
  precision?: MatmulPrecision[];
  peer: PeerName[];
  resident?: boolean;
  overhead: boolean;
  profile?: boolean;
  compare?: string;
  output?: string;
  overwrite?: boolean;
  json?: boolean;
}

const defaultShapes = [layer(64, 64, 32), layer(96, 96, 16), layer(128, 128, 8)];
const defaultNetworks = ['cnn9'];

const examples = `
A layer is CHANNELS:FILTERS@PIXELS, with /kKERNEL, /sSTRIDE and /pPADDING where they are not 3, 1 and half the kernel.
Without --shapes, --layers and --step three layers are timed: 64:64@32, 96:96@16 and 128:128@8.

Examples:
  $ spherenet bench
  $ spherenet bench --shapes 3:64@32,64:128@56/s2,64:128@56/k1/s2 --operators sigmoid
  $ spherenet bench --layers resnet18 --batch-size 8,32 --output runs/bench
  $ spherenet bench --step --widths 16,32,48 --output runs/bench
  $ spherenet bench --network cnn9,cnn18 --operators sigmoid --profile
  $ spherenet bench --network resnet18 --image-size 112 --batch-size 16 --peer pytorch
  $ spherenet bench --device cuda --precision fp32,tf32,bf16
  $ spherenet bench --layers cnn9 --peer pytorch,tfjs
  $ spherenet bench --compare runs/bench/benchmark.json
  $ OMP_NUM_THREADS=1 spherenet bench --json > bench.json`;

export function define(command: Command): void {
  addCaseOptions(command);
  addSettingOptions(command).addOption(jsonOption()).addHelpText('after', examples).action(run);
}

function addCaseOptions(command: Command): void {
  command
    .addOption(listOption('--shapes <list>', 'layers, as below', parseShape))
    .addOption(listOption('--layers <list>', `all layers of ${layerLists.join(', ')}`, oneOf(layerLists)))
    .option('--step', 'time whole training steps (forward, backward, Adam) on synthetic images')
    .addOption(listOption('--network <list>', `whose steps: ${networkNames.join(', ')}; implies --step (default: cnn9)`, oneOf(networkNames)))
    .addOption(listOption('--widths <list>', 'filters of each stage (default: those of the network)', numberIn(atLeastOne)))
    .addOption(numberOption('--image-size <pixels>', 'of the images of a step (default: those of the network)', atLeastOne))
    .addOption(listOption('--operators <list>', 'angular functions', oneOf(angularOperators), angularOperators.join(',')))
    .addOption(listOption('--batch-size <list>', 'images a batch', numberIn(atLeastOne), '128'))
    .addOption(numberOption('--repeats <count>', 'measured runs of each contender, at least 7', { min: 7, integer: true }, 9));
}

function addSettingOptions(command: Command): Command {
  return command
    .addOption(listOption('--device <list>', 'auto: cuda where it can be used', oneOf(deviceChoices), 'auto'))
    .addOption(listOption('--precision <list>', 'of matrix products on cuda (default: tf32)', oneOf(precisions)))
    .addOption(listOption('--peer <list>', `other libraries: ${peerNames.join(', ')}`, oneOf(peerNames)).default([], 'none'))
    .option('--resident', 'on the cpu, also the memory of a process for each contender (default: with --peer pytorch)')
    .option('--no-resident', 'leave that out')
    .option('--no-overhead', 'leave out what it costs to call an operator')
    .option('--profile', 'also where the time of a step goes, by operator and by phase; implies --step')
    .option('--compare <file>', 'also faster or slower than in an earlier benchmark.json')
    .option('--output <folder>', 'also write benchmark.json and a bar chart (SVG, PNG) there')
    .option('--overwrite', 'replace the benchmark that is in the output folder');
}

async function run(options: BenchOptions): Promise<void> {
  const { output, json } = options;
  const lock = output === undefined ? null : await holdOutput(output, options);
  try {
    const document = await measure(options);
    if (output !== undefined) await saveBenchmark(document, output);
    printResult(document, json, benchmarkText);
  } finally {
    await lock?.release();
  }
}

/**
 * @throws {OptionError} when the folder holds a benchmark that is not to be replaced.
 * @throws {DataError} when it cannot be made, or somebody else has it.
 */
async function holdOutput(output: string, { overwrite }: BenchOptions): Promise<FolderLock> {
  // Before the look: another run may be about to write one.
  const lock = await FolderLock.ofOutput(output);
  if (overwrite || !existsSync(join(output, 'benchmark.json'))) return lock;
  await lock.release();
  throw new OptionError('output', `${output} holds a benchmark already: replace it with --overwrite, or name another folder`);
}

function measure(options: BenchOptions): Promise<BenchmarkDocument> {
  const { step, network, widths, imageSize, batchSize, operators, repeats, peer, overhead, profile = false, compare } = options;
  const isStep = Boolean(step) || profile || network !== undefined;
  const shapes = askedShapes(options) ?? (isStep ? [] : defaultShapes);
  return runBenchmark({
    targets: targetsOf(options),
    shapes,
    networks: isStep ? (network ?? defaultNetworks) : [],
    widths,
    imageSize,
    batchSizes: batchSize,
    operators,
    repeats,
    peers: peer,
    resident: options.resident ?? peer.includes('pytorch'),
    overhead,
    profile,
    compare,
    onRound: showRound,
  });
}

function askedShapes({ shapes, layers, widths }: BenchOptions): ConvolutionShape[] | undefined {
  if (!shapes && !layers) return undefined;
  return [...(shapes ?? []), ...(layers ?? []).flatMap((list) => layersOf(list, widths))];
}

/** Every device in every precision that it has; the cpu has one. */
function targetsOf({ device: choices, precision: asked }: BenchOptions): BenchmarkTarget[] {
  const found = new Set(choices.map((device) => useDevice({ device })));
  // Says so where no device has what was asked for.
  if (!found.has('cuda')) for (const precision of asked ?? []) useDevice({ device: 'cpu', precision });
  return [...found].flatMap((device): BenchmarkTarget[] => {
    if (device === 'cpu') return [{ device, precision: 'fp32' }];
    return [...new Set(asked ?? [matmulPrecision()])].map((precision) => ({ device, precision }));
  });
}

function showRound(what: string, round: number, rounds: number): void {
  if (!process.stderr.isTTY) return;
  const isLast = round === rounds - 1;
  process.stderr.write(`\r\x1b[K${what}: round ${round + 1} of ${rounds}${isLast ? '\r\x1b[K' : ''}`);
}

const shapePattern = /^(\d+):(\d+)@(\d+)((?:\/[ksp]\d+)*)$/;
const shapeKeys = { k: 'kernel', s: 'stride', p: 'padding' } as const;

function parseShape(flag: string, text: string): ConvolutionShape {
  const match = shapePattern.exec(text);
  const [channels, filters, size] = (match ?? []).slice(1, 4).map(Number);
  const rest = (match?.[4] ?? '').split('/').filter(Boolean);
  const given = Object.fromEntries(rest.map((part) => [shapeKeys[part[0] as keyof typeof shapeKeys], Number(part.slice(1))]));
  const shape = layer(channels, filters, size, given);
  if (!channels || !filters || !size || !shape.kernel || !shape.stride) {
    throw new OptionError(
      flag,
      `${flag} must list layers as CHANNELS:FILTERS@PIXELS, such as 64:64@32 or 64:128@56/k1/s2, but got ${JSON.stringify(text)}`,
    );
  }
  if (outputSize(shape) < 1) throw new OptionError(flag, `${flag}: the filters of ${text} are larger than its images`);
  return shape;
}
