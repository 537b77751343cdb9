import { requireNumber } from '../errors';
import { native } from '../native';
import { type AngularOperator, conv2d, sphereConv2d } from '../ops';
import { convGeometry } from '../ops/conv2d';
import type { Tensor } from '../tensor';
import { type BenchmarkRow, type Contender, measure, type MeasureOptions, timed } from './measure';
import { variedTensor } from './variedTensor';

/** A 3×3 convolution with stride 1 and padding 1 over square images. */
export interface ConvolutionShape {
  channels: number;
  filters: number;
  /** Height and width in pixels. */
  size: number;
}

export interface ConvolutionBenchmarkOptions extends MeasureOptions {
  shape: ConvolutionShape;
  batchSize: number;
  operators: readonly AngularOperator[];
}

interface Operands {
  x: Tensor;
  weight: Tensor;
  /** d(objective)/d(output) */
  dy: Tensor;
}

const kernel = 3;
const options = { padding: 1 };
const geometry = convGeometry(options);

/**
 * Times forward and backward of SphereConv and of our plain convolution, through tape and operators as in training,
 * against the three bare convolutions of oneDNN that both need at least.
 */
export async function benchmarkConvolution(settings: ConvolutionBenchmarkOptions): Promise<BenchmarkRow[]> {
  const { shape, batchSize, operators } = settings;
  const operands = makeOperands(shape, requireNumber('batchSize', batchSize, { min: 1, integer: true }));
  const contenders = [
    bareConvolution(operands),
    ours('plain', operands, ({ x, weight }) => conv2d(x, weight, options)),
    ...operators.map((operator) => ours(operator, operands, ({ x, weight }) => sphereConv2d(x, weight, { ...options, operator }))),
  ];
  try {
    return await measure(caseName(shape, batchSize), contenders, settings);
  } finally {
    for (const operand of Object.values<Tensor>({ ...operands })) operand.dispose();
  }
}

/** Such as `conv3x3 64->64 32x32 b128`. */
function caseName({ channels, filters, size }: ConvolutionShape, batchSize: number): string {
  return `conv${kernel}x${kernel} ${channels}->${filters} ${size}x${size} b${batchSize}`;
}

function makeOperands({ channels, filters, size }: ConvolutionShape, batchSize: number): Operands {
  const x = variedTensor([batchSize, size, size, channels], 0);
  const weight = variedTensor([filters, kernel, kernel, channels], 1);
  x.requiresGrad = true;
  weight.requiresGrad = true;
  return { x, weight, dy: variedTensor([batchSize, size, size, filters], 2) };
}

function ours(operator: AngularOperator | 'plain', operands: Operands, forward: (operands: Operands) => Tensor): Contender {
  return {
    operator,
    engine: 'spherenet',
    run: () => {
      const [forwardTime, y] = timed(() => forward(operands));
      const [backwardTime] = timed(() => { y.backward({ gradient: operands.dy }); });
      y.dispose();
      for (const leaf of [operands.x, operands.weight]) {
        leaf.grad?.dispose();
        leaf.grad = null;
      }
      return { forward: forwardTime, backward: backwardTime, both: forwardTime + backwardTime };
    },
  };
}

function bareConvolution({ x, weight, dy }: Operands): Contender {
  return {
    operator: 'plain',
    engine: 'onednn',
    countsMemory: false,
    run: () => {
      const y = dy.clone();
      // The first of the two touches memory that is new to the process and would count against oneDNN.
      const [forward, backwardData, backwardWeights] = native
        .benchmarkConvolution(x.handle, weight.handle, y.handle, geometry, 2)
        .subarray(3);
      y.dispose();
      const backward = backwardData + backwardWeights;
      return { forward, backward, both: forward + backward };
    },
  };
}
