import { defaultDevice, type Device } from '../device';
import { requireNumber } from '../errors';
import { native } from '../native';
import { type AngularOperator, conv2d, sphereConv2d } from '../ops';
import { convGeometry } from '../ops/conv2d';
import type { Tensor } from '../tensor';
import { type ConvolutionShape, layerCase, outputSize } from './layerShapes';
import { convolutionCost } from './cost';
import { type BenchmarkOperator, type BenchmarkRow, contest, type Contender, type ContestOptions, timed } from './measure';
import type { Peer } from './peers/peer';
import { residentMemory } from './residentMemory';
import { variedTensor } from './variedTensor';

export interface ConvolutionBenchmarkOptions extends Omit<ContestOptions, 'cost'> {
  shape: ConvolutionShape;
  batchSize: number;
  operators: readonly AngularOperator[];
  /** Other libraries, which come after ours. */
  peers?: readonly Peer[];
}

interface Operands {
  x: Tensor;
  weight: Tensor;
  /** d(objective)/d(output) */
  dy: Tensor;
}

/**
 * Times forward and backward of SphereConv and of our plain convolution, through tape and operators as in training; on
 * the cpu against the three bare convolutions of oneDNN that both need at least.
 */
export async function benchmarkConvolution(settings: ConvolutionBenchmarkOptions): Promise<BenchmarkRow[]> {
  const { shape, operators, device = defaultDevice(), peers = [] } = settings;
  const batchSize = requireNumber('batchSize', settings.batchSize, { min: 1, integer: true });
  const operands = makeOperands(shape, batchSize, device);
  const contenders = [
    ...(device === 'cpu' ? [bareConvolution(shape, operands)] : []),
    ...(['plain', ...operators] as const).map((operator) => ({
      ...ownConvolution(operator, shape, operands),
      resident: () => residentMemory({ kind: 'convolution', shape, batchSize, operator }),
    })),
  ];
  try {
    for (const peer of peers) contenders.push(...(await peer.convolution({ shape, batchSize, operators, device })));
    return await contest(layerCase(shape, batchSize), contenders, { ...settings, cost: convolutionCost(shape, batchSize) });
  } finally {
    for (const operand of Object.values<Tensor>({ ...operands })) operand.dispose();
  }
}

/** Images, filters and the output's gradient, with numbers that every contender takes alike. */
export function makeOperands(shape: ConvolutionShape, batchSize: number, device: Device): Operands {
  const { channels, filters, size, kernel } = shape;
  const x = variedTensor([batchSize, size, size, channels], 0, device);
  const weight = variedTensor([filters, kernel, kernel, channels], 1, device);
  x.requiresGrad = true;
  weight.requiresGrad = true;
  const output = outputSize(shape);
  return { x, weight, dy: variedTensor([batchSize, output, output, filters], 2, device) };
}

/** SphereConv, or the plain convolution of this library. */
export function ownConvolution(operator: BenchmarkOperator, shape: ConvolutionShape, operands: Operands): Contender {
  const { x, weight, dy } = operands;
  const { stride, padding } = shape;
  const forward = (): Tensor =>
    operator === 'plain' ? conv2d(x, weight, { stride, padding }) : sphereConv2d(x, weight, { stride, padding, operator });
  return {
    operator,
    engine: 'spherenet',
    run: () => {
      const [forwardTime, y] = timed(x.device, forward);
      const [backwardTime] = timed(x.device, () => { y.backward({ gradient: dy }); });
      y.dispose();
      for (const leaf of [x, weight]) {
        leaf.grad?.dispose();
        leaf.grad = null;
      }
      return { forward: forwardTime, backward: backwardTime, both: forwardTime + backwardTime };
    },
  };
}

function bareConvolution({ kernel, stride, padding }: ConvolutionShape, { x, weight, dy }: Operands): Contender {
  const geometry = convGeometry({ stride, padding }, [kernel, kernel]);
  return {
    operator: 'plain',
    engine: 'onednn',
    countsMemory: false,
    run: () => {
      const y = dy.clone();
      // The first of the two touches memory that is new to the process and would count against oneDNN.
      const [forward, backwardData, backwardWeights] = native
        .benchmarkConvolution(x.handle, weight.handle, y.handle, geometry.packed, 2)
        .subarray(3);
      y.dispose();
      const backward = backwardData + backwardWeights;
      return { forward, backward, both: forward + backward };
    },
  };
}
