import { createRequire } from 'node:module';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { OptionError } from '../../errors';
import { sizeOf } from '../../tensor';
import { type ConvolutionShape, outputSize } from '../layerShapes';
import type { Contender, PassTimes } from '../measure';
import { variedNumbers } from '../variedTensor';
import { type Peer, type PeerConvolution, settle } from './peer';

/** As much of TensorFlow.js as is used here; it is not among our dependencies. */
interface TensorFlow {
  version_core: string;
  setBackend: (name: string) => Promise<boolean>;
  getKernel: (name: string, backend: string) => unknown;
  tensor4d: (values: Float32Array, shape: number[]) => TensorFlowTensor;
  conv2d: (x: TensorFlowTensor, filter: TensorFlowTensor, stride: number, padding: number | 'valid') => TensorFlowTensor;
  grads: (f: (x: TensorFlowTensor, w: TensorFlowTensor) => TensorFlowTensor) => (
    operands: TensorFlowTensor[], dy: TensorFlowTensor,
  ) => TensorFlowTensor[];
}
interface TensorFlowTensor {
  dispose: () => void;
}
interface WasmBackend {
  setThreadsCount: (count: number) => void;
  getThreadsCount: () => number;
}

const packages = ['@tensorflow/tfjs', '@tensorflow/tfjs-backend-wasm'] as const;
const backend = 'wasm';

/**
 * TensorFlow.js with its WASM backend, from the folder in which the command was started: its plain convolution, and the
 * gradients where the backend has them.
 * @throws {OptionError} when it is not installed there, saying how to.
 */
export async function tfjsPeer(threads: number, folder = process.cwd()): Promise<Peer> {
  const tf = await loadTensorFlow(threads, folder);
  const { hasBackward } = tf;
  return {
    notes: [
      `TensorFlow.js ${tf.library.version_core}, WASM, ${tf.threads} ${tf.threads === 1 ? 'thread' : 'threads'}; plain convolutions alone`,
      ...(hasBackward ? [] : ['the WASM backend of TensorFlow.js has no gradient of filters, hence forward only']),
    ],
    convolution: ({ shape, batchSize, device }: PeerConvolution) =>
      Promise.resolve(device === 'cpu' ? [convolution(tf, shape, batchSize)] : []),
    // Without the gradient of filters there is no step.
    step: () => Promise.resolve([]),
    close: () => Promise.resolve(),
  };
}

interface Loaded {
  library: TensorFlow;
  threads: number;
  hasBackward: boolean;
}

async function loadTensorFlow(threads: number, folder: string): Promise<Loaded> {
  const require = createRequire(join(folder, 'package.json'));
  const [library, wasm] = packages.map((name): unknown => {
    try {
      return require(name);
    } catch (cause) {
      throw new OptionError('peer', `--peer tfjs needs TensorFlow.js in ${folder}: npm install --no-save ${packages.join(' ')}`, { cause });
    }
  }) as [TensorFlow, WasmBackend];
  wasm.setThreadsCount(threads);
  if (!(await library.setBackend(backend))) throw new OptionError('peer', '--peer tfjs: the WASM backend of TensorFlow.js does not start');
  const hasBackward = ['Conv2DBackpropInput', 'Conv2DBackpropFilter'].every((kernel) => Boolean(library.getKernel(kernel, backend)));
  return { library, threads: wasm.getThreadsCount(), hasBackward };
}

function convolution({ library: tf, hasBackward }: Loaded, shape: ConvolutionShape, batchSize: number): Contender {
  const { stride } = shape;
  const padding = shape.padding === 0 ? 'valid' : shape.padding;
  const { x, w, dy } = makeOperands(tf, shape, batchSize);
  const forward = (): TensorFlowTensor => tf.conv2d(x, w, stride, padding);
  const gradients = tf.grads((x, w) => tf.conv2d(x, w, stride, padding));
  return {
    operator: 'plain',
    engine: 'tfjs',
    countsMemory: false,
    run: async () => {
      await settle();
      const times: PassTimes = { forward: timeOf(() => [forward()]) };
      if (!hasBackward) return times;
      // Its gradients include a forward pass.
      const both = timeOf(() => gradients([x, w], dy));
      return { ...times, backward: both - times.forward!, both };
    },
    dispose: () => {
      for (const operand of [x, w, dy]) operand.dispose();
    },
  };
}

/** The backend computes at once: its operators return when they are done. */
function timeOf(compute: () => TensorFlowTensor[]): number {
  const start = performance.now();
  const results = compute();
  const milliseconds = performance.now() - start;
  for (const result of results) result.dispose();
  return milliseconds;
}

function makeOperands(tf: TensorFlow, shape: ConvolutionShape, batchSize: number) {
  const { channels, filters, size, kernel } = shape;
  const output = outputSize(shape);
  const varied = (extents: number[], phase: number) => tf.tensor4d(variedNumbers(sizeOf(extents), phase), extents);
  return {
    x: varied([batchSize, size, size, channels], 0),
    // Its filters are kH x kW x C x O.
    w: varied([kernel, kernel, channels, filters], 1),
    dy: varied([batchSize, output, output, filters], 2),
  };
}
