// What the convolutions of two networks take on an H100 at best, and what ours would at the peaks of the machine: the
// tables of docs/gpu-floors.md. `npx ts-node -T scripts/gpu-floors.ts` prints them.
import { convolutionCost, type Cost } from '../lib/bench/cost';
import { type ConvolutionShape, layerCase, layersOf, outputSize } from '../lib/bench/layerShapes';
import { formatCount, formatSignificant, markdownTable } from '../lib/report/index';

/** NVIDIA's peak numbers of an H100 SXM: operations a second (dense) by precision, and bytes a second. */
const peak = { flops: { fp32: 67e12, tf32: 495e12, bf16: 989e12 }, memory: 3.35e12 };
/** Of L2, which NVIDIA does not publish: to be measured before anything else is believed. */
const l2 = { bandwidth: 5.5e12, bytes: 50e6, multiprocessors: 132 };

type Precision = keyof typeof peak.flops;
const precisions = Object.keys(peak.flops) as Precision[];
const elementBytes: Record<Precision, number> = { fp32: 4, tf32: 4, bf16: 2 };

interface Network {
  title: string;
  batchSize: number;
  layers: { shape: ConvolutionShape; count: number }[];
  /** Bytes of passes beside convolutions and BatchNorm, by layer of the network. */
  pooled: number;
}

/** One kernel, or a product: what it moves and computes. */
interface Kernel {
  memory: number;
  l2: number;
  flops: number;
}

function networkOf(title: string, list: 'cnn9' | 'resnet18', batchSize: number, counts: number[]): Network {
  const layers = layersOf(list).map((shape, i) => ({ shape, count: counts[i] }));
  const stages = list === 'cnn9' ? layers.filter(({ count }) => count > 1) : layers.slice(0, 1);
  const pooled = stages.reduce((sum, { shape }) => sum + 3 * bytesOf(shape, batchSize).output, 0);
  return { title, batchSize, layers, pooled };
}

/** Of f32 tensors. */
function bytesOf(shape: ConvolutionShape, batchSize: number) {
  const { channels, filters, size, kernel } = shape;
  const windows = batchSize * outputSize(shape) ** 2;
  const patch = kernel ** 2 * channels;
  return { windows, patch, input: 4 * batchSize * channels * size ** 2, output: 4 * windows * filters, weights: 4 * filters * patch };
}

/** The images need no gradient: one product backward. */
function leastCost(shape: ConvolutionShape, batchSize: number): { forward: Cost; backward: Cost } {
  const { forward, backward } = convolutionCost(shape, batchSize);
  return { forward: forward!, backward: isFirst(shape) ? forward! : backward! };
}

function isFirst({ channels }: ConvolutionShape): boolean {
  return channels === 3;
}

function floorOf({ flops, bytes }: Cost, precision: Precision): number {
  return Math.max(flops / peak.flops[precision], bytes! / peak.memory);
}

/** The kernels of native/cuda/sphere_conv2d.cu and native/cuda/convolution/patches.cu, with the bytes that their comments count. */
function kernelsOf(shape: ConvolutionShape, batchSize: number, precision: Precision): { forward: Kernel[]; backward: Kernel[] } {
  const { windows, patch, input, output, weights } = bytesOf(shape, batchSize);
  const element = elementBytes[precision];
  const padded = Math.ceil((patch * element) / 16) * (16 / element);
  const [patches, gradients, v] = [windows * padded * element, windows * padded * 4, (output * element) / 4];
  const product = leastCost(shape, batchSize).forward.flops;
  const build: Kernel = { memory: input, l2: patches, flops: 0 };
  const forward = [
    build,
    { memory: weights, l2: patches + output, flops: product },
    { memory: 2 * output, l2: 3 * output, flops: 0 },
  ];
  const toInput = [
    { memory: v + weights, l2: gradients, flops: product },
    { memory: 2 * input, l2: gradients, flops: 0 },
  ];
  const backward = [
    { memory: 2 * output + v, l2: 0, flops: 0 },
    ...(isFirst(shape) ? [] : toInput),
    build,
    { memory: v, l2: patches, flops: product },
    { memory: 4 * weights, l2: 0, flops: 0 },
  ];
  return { forward, backward };
}

/** One after the other, each at the peak that holds it up. */
function timeOf(kernels: readonly Kernel[], precision: Precision): number {
  return sumOf(kernels, (each) => Math.max(each.flops / peak.flops[precision], each.memory / peak.memory, each.l2 / l2.bandwidth));
}

/** As native/cuda/convolution/tiles.cpp cuts: tiles of half of L2. */
function launchesOf(shape: ConvolutionShape, batchSize: number, precision: Precision): number {
  const { windows, patch } = bytesOf(shape, batchSize);
  const tiles = (element: number): number => {
    const rows = Math.max(Math.floor(l2.bytes / 2 / (patch * element)), 8 * l2.multiprocessors);
    return Math.ceil(windows / rows);
  };
  const [own, f32] = [tiles(elementBytes[precision]), tiles(4)];
  return 3 * own + 2 + (isFirst(shape) ? 0 : 2 * f32) + 2 * own + 1;
}

function sumOf<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((sum, item) => sum + value(item), 0);
}

const slashed = (values: readonly number[], text = (value: number) => formatSignificant(value)) => values.map(text).join(' / ');
const microseconds = (seconds: number) => formatSignificant(seconds * 1e6);
const megabytes = (bytes: number) => formatSignificant(bytes / 1e6);

function layerTable({ batchSize, layers }: Network): string {
  return markdownTable({
    head: ['layer', '×', 'GFLOP', 'least MB', 'floor µs', 'ours: MB', 'through L2', 'launches', 'µs at the peaks', 'gap'],
    rows: layers.map(({ shape, count }) => {
      const least = leastCost(shape, batchSize);
      const passes = [least.forward, least.backward];
      const ours = kernelsOf(shape, batchSize, 'tf32');
      const [floors, times] = layerTimes(shape, batchSize);
      return [
        layerCase(shape, batchSize), count,
        slashed(passes.map(({ flops }) => flops / 1e9)),
        slashed(passes.map(({ bytes }) => bytes!), megabytes),
        slashed(floors, microseconds),
        slashed([ours.forward, ours.backward].map((kernels) => sumOf(kernels, ({ memory }) => memory)), megabytes),
        slashed([ours.forward, ours.backward].map((kernels) => sumOf(kernels, (each) => each.l2)), megabytes),
        formatCount(launchesOf(shape, batchSize, 'tf32')),
        slashed(times, microseconds),
        slashed(times.map((time, i) => time / floors[i]), (ratio) => formatSignificant(ratio, 2)),
      ];
    }),
  });
}

/** Seconds forward and backward by precision: the floor, and ours. */
function layerTimes(shape: ConvolutionShape, batchSize: number): [floors: number[], times: number[]] {
  const { forward, backward } = leastCost(shape, batchSize);
  return [
    precisions.map((precision) => floorOf(forward, precision) + floorOf(backward, precision)),
    precisions.map((precision) => {
      const kernels = kernelsOf(shape, batchSize, precision);
      return timeOf([...kernels.forward, ...kernels.backward], precision);
    }),
  ];
}

function stepTable(networks: readonly Network[]): string {
  return markdownTable({
    head: ['step', 'images', 'floor µs', 'µs at the peaks', 'gap', 'of both, passes beside convolutions'],
    rows: networks.map(({ title, batchSize, layers, pooled }) => {
      const all = layers.flatMap(({ shape, count }) => Array.from({ length: count }, () => shape));
      // BatchNorm and ReLU: 3 passes over the output forward, 5 backward; Adam: 7 over the weights.
      const followed = all.filter(({ filters, kernel }) => !(filters === 256 && kernel === 4));
      const normalized = sumOf(followed, (shape) => 8 * bytesOf(shape, batchSize).output);
      const rest = (normalized + pooled + 7 * sumOf(all, (shape) => bytesOf(shape, batchSize).weights)) / peak.memory;
      const total = (which: 0 | 1) => precisions.map((_, i) => rest + sumOf(all, (shape) => layerTimes(shape, batchSize)[which][i]));
      const [floors, times] = [total(0), total(1)];
      return [
        title, batchSize, slashed(floors, microseconds), slashed(times, microseconds),
        slashed(times.map((time, i) => time / floors[i]), (ratio) => formatSignificant(ratio, 2)), microseconds(rest),
      ];
    }),
  });
}

const networks = [
  networkOf('SphereNet-9, 64/96/128', 'cnn9', 128, [1, 2, 1, 2, 1, 2, 1]),
  networkOf('SphereResNet-18', 'resnet18', 32, [1, 4, 1, 1, 3, 1, 1, 3, 1, 1, 3]),
];
for (const network of networks) console.log(`### ${network.title}, ${network.batchSize} images\n\n${layerTable(network)}\n`);
console.log(`### Whole steps\n\n${stepTable(networks)}`);
