/**
 * The addon's contract, by hand; test/native/contract.test.ts holds it against the addon.
 *
 * Nothing here checks shapes: lib/ops does, and allocates the outputs. Outputs come last among the tensors and are
 * overwritten. `null` stands for an absent optional tensor. Only lib/native.ts loads this.
 *
 * An operator runs on the device of its tensors, which are all on one. On cuda it returns when the work is submitted;
 * `read`, `copy` to the host and `synchronize` wait for it.
 */
export type NativeDevice = 'cpu' | 'cuda';
export type NativeDType = 'f32' | 'f64' | 'i32' | 'u8';
export type TypedArray = Float32Array | Float64Array | Int32Array | Uint8Array;

/** A tensor on a device. Opaque; `release` gives its memory back at once, the garbage collector does otherwise. */
export interface Handle {
  readonly __handle: unique symbol;
}
type Optional = Handle | null;

/** Work of a device that was recorded once and runs again as a whole. Opaque. */
export interface GraphHandle {
  readonly __graph: unique symbol;
}

/** strideH, strideW, paddingH, paddingW, dilationH, dilationW, groups */
export type ConvGeometry = Int32Array;
/** kernelH, kernelW, strideH, strideW, paddingH, paddingW */
export type PoolGeometry = Int32Array;

/** 0 linear, 1 cosine, 2 sigmoid */
export type AngularCode = 0 | 1 | 2;
export type AngularArguments = [angular: AngularCode, kValue: number, eps: number, addEps: boolean];

/** What normalises a batch, `[C]` each. */
export type Normalization = [
  gamma: Handle, beta: Handle, mean: Handle, variance: Handle, eps: number, relu: boolean,
];
export type OptionalNormalization = Normalization | [null];
/** 0 softplus(p), 1 |p| + 0.05 */
export type PositiveCode = 0 | 1;
/** 0 fp32, 1 tf32, 2 bf16 */
export type PrecisionCode = 0 | 1 | 2;

export interface NativeMemoryStats {
  allocated: number;
  reserved: number;
  peak: number;
  storages: number;
}

/** What the build and this machine offer of CUDA. */
export interface NativeCudaInfo {
  /** Whether the addon has a CUDA device. */
  compiled: boolean;
  available: boolean;
  /** Whether this is the test build, in which the CUDA sources run on the host. */
  emulated: boolean;
  /** Whether NVIDIA's driver is there. */
  driver: boolean;
  /** GPUs that the driver knows. */
  devices: number;
  /** In one sentence, why it cannot be used and what to install, or what was found. */
  reason: string;
  /** Of the GPU; null without one. */
  name: string | null;
  /** Such as "9.0"; null without a GPU. */
  computeCapability: string | null;
  /** Of the GPU; 0 without one. */
  memoryBytes: number;
  /** The file of cuBLAS; null where it was not found. */
  cublas: string | null;
  /**
   * Such as "CUDA 13.0, driver for CUDA 13.1, cuBLAS 13.0.2": the runtime inside the addon, the newest that the driver
   * serves, and the cuBLAS in use. Null without a usable GPU.
   */
  library: string | null;
}

export interface NativeInfo {
  onednn: string;
  isa: string;
  threads: number;
  cuda: NativeCudaInfo;
}

export interface Native {
  /** The constructors thrown by this environment's operators, by native error code. */
  setErrorClasses(
    classes: Record<
      'shape' | 'dtype' | 'device' | 'option' | 'data' | 'disposed',
      new (argument: string, message: string) => Error
    >,
  ): void;
  info(): NativeInfo;

  /** Fills and returns `spare`, a released handle, where there is one. */
  empty(device: NativeDevice, dtype: NativeDType, shape: readonly number[], spare?: Handle): Handle;
  /** The same memory under another shape of as many elements; `spare` as in {@link empty}. */
  alias(tensor: Handle, shape: readonly number[], spare?: Handle): Handle;
  release(tensor: Handle): void;
  write(from: TypedArray, to: Handle): void;
  read(from: Handle, to: TypedArray): void;
  /** Of the same dtype and size, also from one device to another. */
  copy(from: Handle, to: Handle): void;
  fill(value: number, to: Handle): void;
  cast(from: Handle, to: Handle): void;
  memoryStats(device: NativeDevice): NativeMemoryStats;
  resetPeak(device: NativeDevice): void;
  releaseCache(device: NativeDevice): void;
  /** Waits until all work submitted to the device is done; what went wrong in it comes up here. */
  synchronize(device: NativeDevice): void;
  /** Of matrix products and convolutions of f32 on cuda; the cpu knows one precision only. At first tf32. */
  setMatmulPrecision(code: PrecisionCode): void;

  /**
   * From here to `endCapture` the device's operators are recorded instead of run. Tensors made meanwhile keep their
   * memory for as long as the graph lives; host memory cannot be read or written meanwhile.
   */
  beginCapture(device: NativeDevice): void;
  endCapture(device: NativeDevice): GraphHandle;
  /**
   * `varying` has a number for each that the recorded operators took as varying, in their order: the annealing of an
   * angular softmax forward, the seed of a dropout.
   */
  replayGraph(graph: GraphHandle, varying: Float64Array): void;
  releaseGraph(graph: GraphHandle): void;

  /** A normalisation replaces y. */
  conv2dForward(
    x: Handle, w: Handle, bias: Optional, y: Handle, geometry: ConvGeometry, ...normalization: OptionalNormalization
  ): void;
  conv2dBackwardData(dy: Handle, w: Handle, dx: Handle, geometry: ConvGeometry): void;
  conv2dBackwardWeights(x: Handle, dy: Handle, dw: Handle, dbias: Optional, geometry: ConvGeometry): void;

  sphereConv2dForward(
    x: Handle, w: Handle, k: Optional, bias: Optional,
    y: Handle, kept: Handle, invPatchNorm: Handle, invFilterNorm: Handle,
    geometry: ConvGeometry, ...angular: AngularArguments
  ): void;
  /** Beside y, y normalised by the statistics of the batch, and these. */
  sphereConv2dNormalizedForward(
    x: Handle, w: Handle, k: Optional, bias: Optional,
    y: Handle, kept: Handle, invPatchNorm: Handle, invFilterNorm: Handle,
    geometry: ConvGeometry, ...rest: [
      ...angular: AngularArguments, ...normalization: Normalization,
      runningMean: Handle, runningVariance: Handle, momentum: number, normalized: Handle,
    ]
  ): void;
  /** Leaves nothing for a backward. A normalisation replaces y. */
  sphereConv2dInfer(
    x: Handle, w: Handle, k: Optional, bias: Optional, y: Handle,
    geometry: ConvGeometry, ...rest: [...angular: AngularArguments, ...normalization: OptionalNormalization]
  ): void;
  sphereConv2dBackward(
    x: Handle, w: Handle, k: Optional, kept: Handle, invPatchNorm: Handle, invFilterNorm: Handle, dy: Handle,
    dx: Optional, dw: Optional, dk: Optional, dbias: Optional,
    geometry: ConvGeometry, ...angular: AngularArguments
  ): void;
  /** dy is the gradient behind the normalisation; slopes [2, C] is room for the call. */
  sphereConv2dNormalizedBackward(
    x: Handle, w: Handle, k: Optional, kept: Handle, invPatchNorm: Handle, invFilterNorm: Handle, dy: Handle,
    dx: Optional, dw: Optional, dk: Optional, dbias: Optional,
    geometry: ConvGeometry, ...rest: [
      ...angular: AngularArguments, y: Handle, ...normalization: Normalization,
      dgamma: Handle, dbeta: Handle, slopes: Handle,
    ]
  ): void;

  matmul(a: Handle, b: Handle, bias: Optional, c: Handle, transposeA: boolean, transposeB: boolean): void;

  /** Returns what backward needs; null when not training. */
  maxPool2dForward(x: Handle, y: Handle, geometry: PoolGeometry, training: boolean): Handle | null;
  maxPool2dBackward(dy: Handle, workspace: Handle, dx: Handle, geometry: PoolGeometry): void;
  avgPool2dForward(x: Handle, y: Handle, geometry: PoolGeometry, countPadding: boolean): void;
  avgPool2dBackward(dy: Handle, dx: Handle, geometry: PoolGeometry, countPadding: boolean): void;
  /** [N,H,W,C] to [N,C] */
  globalAvgPool2dForward(x: Handle, y: Handle): void;
  globalAvgPool2dBackward(dy: Handle, dx: Handle): void;

  /** Fills mean and variance. */
  batchNormTrain(
    x: Handle, ...rest: [
      ...normalization: Normalization, runningMean: Handle, runningVariance: Handle, momentum: number, y: Handle,
    ]
  ): void;
  batchNormInfer(x: Handle, ...rest: [...normalization: Normalization, y: Handle]): void;
  /** slopes [2, C] is room for the call. */
  batchNormBackward(
    x: Handle, ...rest: [
      ...normalization: Normalization, dy: Handle, dx: Handle, dgamma: Handle, dbeta: Handle, slopes: Handle,
    ]
  ): void;

  /** y = scale x + shift, per channel */
  affineForward(x: Handle, scale: Optional, shift: Optional, y: Handle): void;
  affineBackward(x: Handle, scale: Optional, dy: Handle, dx: Optional, dscale: Optional, dshift: Optional): void;

  reluForward(x: Handle, y: Handle): void;
  reluBackward(y: Handle, dy: Handle, dx: Handle): void;
  add(a: Handle, b: Handle, out: Handle): void;
  scale(x: Handle, factor: number, out: Handle): void;
  scaleBy(x: Handle, factor: Handle, out: Handle): void;
  sum(x: Handle, out: Handle): void;
  positiveForward(p: Handle, k: Handle, kind: PositiveCode): void;
  positiveBackward(p: Handle, dk: Handle, dp: Handle, kind: PositiveCode): void;
  copyChannels(from: Handle, fromChannel: number, to: Handle, toChannel: number, channels: number): void;
  /** seed: an integer below 2^53. The same seed gives the same mask, so backward is this on dy. */
  dropout(x: Handle, y: Handle, probability: number, seed: number): void;

  /** loss, theta, correct: one element each */
  softmaxCrossEntropy(logits: Handle, labels: Handle, labelSmoothing: number, loss: Handle, dlogits: Handle): void;
  angularSoftmaxForward(
    x: Handle, w: Handle, labels: Handle, loss: Handle, logits: Handle, theta: Handle,
    cosine: Handle, cosineGradient: Handle, normGradient: Handle, invFeatureNorm: Handle, invWeightNorm: Handle,
    angular: AngularCode, k: number, margin: number, annealing: number, radius: number, eps: number,
  ): void;
  angularSoftmaxBackward(
    x: Handle, w: Handle,
    cosine: Handle, cosineGradient: Handle, normGradient: Handle, invFeatureNorm: Handle, invWeightNorm: Handle,
    dloss: Handle, dx: Optional, dw: Optional,
  ): void;
  /** ||W W^T - I||_F^2 over rows of w, and its gradient */
  orthogonality(w: Handle, normalized: boolean, eps: number, loss: Handle, dw: Handle): void;
  countCorrect(logits: Handle, labels: Handle, top: number, correct: Handle): void;

  adamStep(
    parameters: Handle[], gradients: Handle[], firstMoments: Handle[], secondMoments: Handle[],
    learningRate: number, beta1: number, beta2: number, eps: number, weightDecay: number,
    step: number, decoupled: boolean,
  ): void;
  sgdStep(
    parameters: Handle[], gradients: Handle[], velocities: Handle[],
    learningRate: number, momentum: number, weightDecay: number, nesterov: boolean, first: boolean,
  ): void;
  globalNorm(tensors: Handle[], out: Handle): void;

  /**
   * Gathers `indices` from `images` (u8, NHWC), pads each by `padding`, cuts `height` x `width` at the offsets, flips
   * and normalises to (pixel - mean[c]) / std[c], on a thread of its own. `placement` has three numbers an image:
   * top, left, flip (bit 0: left-right, bit 1: up-down). Resolves to an f32 tensor [indices, height, width, channels]
   * on the device.
   */
  imageBatch(
    device: NativeDevice,
    images: Uint8Array, sourceHeight: number, sourceWidth: number, channels: number,
    indices: Int32Array, placement: Int32Array, padding: number, height: number, width: number,
    mean: Float32Array, std: Float32Array,
  ): Promise<Handle>;

  /**
   * Milliseconds of oneDNN's forward, backward-data and backward-weights on NHWC memory with packed weights:
   * one entry a repeat, three numbers each. The peer of `spherenet bench` on the cpu, where its tensors must be.
   */
  benchmarkConvolution(x: Handle, w: Handle, y: Handle, geometry: ConvGeometry, repeats: number): Float64Array;
}
