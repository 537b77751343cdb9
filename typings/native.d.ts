/**
 * The addon's contract, by hand; test/native/contract.test.ts holds names, order and types of all arguments against what
 * the addon itself declares (native/core/operators).
 *
 * Nothing here checks shapes: lib/ops does, and allocates the outputs. Outputs are overwritten. `null` stands for an
 * absent optional tensor. Dtypes and devices are checked before an operator runs: all tensors of a call are f32, or
 * all f64, on one device; labels are i32. Only lib/native.ts loads the addon.
 *
 * An operator runs on the device of its tensors. On cuda it returns when the work is submitted; `read`, `copy` to the
 * host and `synchronize` wait for it.
 */
export type NativeDevice = 'cpu' | 'cuda';
export type NativeDType = 'f32' | 'f64' | 'i32' | 'u8' | 'bf16';
/** What holds the elements of a tensor on the host; bf16 as the upper halves of floats. */
export type TypedArray = Float32Array | Float64Array | Int32Array | Uint8Array | Uint16Array;

/** A tensor on a device. Opaque; `release` gives its memory back at once, the garbage collector does otherwise. */
export interface Handle {
  readonly __handle: unique symbol;
}
type Optional = Handle | null;

/** Work of a device that was recorded once and runs again as a whole. Opaque. */
export interface GraphHandle {
  readonly __graph: unique symbol;
}

/** The numbers of a struct in the order that the addon reads them in; `packer` of lib/native.ts makes it. */
export type Packed<S> = Float64Array & { readonly __struct?: S };

/** A place in the list of the same name in {@link NativeNames}. */
export type Code = number;

export interface Window {
  kernelH: number;
  kernelW: number;
  strideH: number;
  strideW: number;
  paddingH: number;
  paddingW: number;
  dilationH: number;
  dilationW: number;
}

export interface ConvGeometry extends Window {
  groups: number;
}

export interface SphereOptions {
  /** Which g: of `angular`. */
  angular: Code;
  /** Curvature of a g that has one, where there is no tensor of it. */
  k: number;
  /** Of the norms. */
  eps: number;
  /** 1/sqrt(n + eps) rather than 0 for norms below eps. */
  add: boolean;
}

export interface AngularSoftmaxOptions {
  angular: Code;
  k: number;
  /** Of `margins`. */
  marginFunction: Code;
  margin: number;
  annealing: number;
  /** 0 for |x|. */
  radius: number;
  eps: number;
}

export interface AdamOptions {
  learningRate: number;
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
  step: number;
  decoupled: boolean;
}

export interface SgdOptions {
  learningRate: number;
  momentum: number;
  weightDecay: number;
  nesterov: boolean;
  first: boolean;
}

/** The numbers of {@link EpilogueTensors}; those of what is absent are not read. */
export interface Epilogue {
  momentum: number;
  eps: number;
  relu: boolean;
}

export interface EpilogueGradient {
  eps: number;
  relu: boolean;
}

/** The structs that are packed, by the names that the addon gives them. */
export interface NativeStructs {
  Window: Window;
  ConvGeometry: ConvGeometry;
  SphereOptions: SphereOptions;
  AngularSoftmaxOptions: AngularSoftmaxOptions;
  AdamOptions: AdamOptions;
  SgdOptions: SgdOptions;
  Epilogue: Epilogue;
  EpilogueGradient: EpilogueGradient;
}

/** An optional group of tensors that is left out. */
export type Absent<T extends readonly unknown[]> = { [K in keyof T]: null };

export type BatchStatistics = [mean: Handle, variance: Handle, runningMean: Handle, runningVariance: Handle];
export type Normalization = [gamma: Handle, beta: Handle, mean: Handle, variance: Handle];

/**
 * What follows a convolution or batch norm, in this order: statistics of the output y, its normalisation, the sum with a
 * residual, a ReLU. With `output`, y stays and output takes the result.
 */
export type EpilogueArguments = [
  ...statistics: BatchStatistics | Absent<BatchStatistics>,
  ...normalization: Normalization | Absent<Normalization>,
  residual: Optional, output: Optional, epilogue: Packed<Epilogue>,
];
export type EpilogueGradientArguments = [
  y: Handle, ...normalization: Normalization, residual: Optional, dgamma: Handle, dbeta: Handle, dresidual: Optional,
  epilogue: Packed<EpilogueGradient>,
];
/** What SphereConv saves for its backward. */
export type SphereSaved = [s: Handle, invPatchNorm: Handle, invFilterNorm: Handle];
export type AngularSoftmaxSaved = [
  cosine: Handle, cosineGradient: Handle, normGradient: Handle, invFeatureNorm: Handle, invWeightNorm: Handle,
];

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

/** Names that have codes on the native side, in the order of the codes. */
export interface NativeNames {
  devices: string[];
  dtypes: string[];
  precisions: string[];
  angular: string[];
  margins: string[];
  positivities: string[];
}

/** What the addon throws, by native error code. */
export type ErrorClasses = Record<
  'shape' | 'dtype' | 'device' | 'option' | 'data' | 'disposed',
  new (argument: string, message: string) => Error
>;

/** The addon as Node loads it. */
export interface Addon {
  /** Functions for one copy of this library, which throw the copy's own errors. Devices and memory are those of all copies. */
  open(errorClasses: ErrorClasses): Native;
}

export interface Native {
  readonly names: NativeNames;
  /** Every operator as the addon declares it; arguments such as "Tensor x" and "Packed<Window> window". */
  readonly operators: Record<string, { arguments: string[]; result: string }>;
  /** The fields of every packed struct, in their order. */
  readonly structs: Record<string, string[]>;

  /** How many threads the cpu's operators use that this environment calls, at least 1. */
  setThreads(count: number): void;
  info(): NativeInfo;
  /**
   * flock(2) on an open file or folder: false when somebody else holds it. It lasts until the descriptor is closed, or the
   * process ends. A file system without locks lets everybody in.
   */
  tryLock(descriptor: number): boolean;

  /** Fills and returns `spare`, a released handle, where there is one. */
  empty(device: NativeDevice, dtype: NativeDType, shape: readonly number[], spare?: Handle): Handle;
  /** The same memory under another shape of as many elements; `spare` as in {@link empty}. */
  alias(tensor: Handle, shape: readonly number[], spare?: Handle): Handle;
  release(tensor: Handle): void;
  write(from: TypedArray, to: Handle): void;
  read(from: Handle, to: TypedArray): void;
  /** Of the same dtype and size, also from one device to another. */
  copy(from: Handle, to: Handle): void;
  memoryStats(device: NativeDevice): NativeMemoryStats;
  resetPeak(device: NativeDevice): void;
  releaseCache(device: NativeDevice): void;
  /** Waits until all work submitted to the device is done; what went wrong in it comes up here. */
  synchronize(device: NativeDevice): void;
  /** Of `precisions`: of matrix products and convolutions of f32 on cuda; the cpu knows one only. At first tf32. */
  setMatmulPrecision(code: Code): void;

  /**
   * From here to `endCapture` the device's operators are recorded instead of run. Tensors made meanwhile keep their
   * memory for as long as the graph lives; host memory cannot be read or written meanwhile.
   */
  beginCapture(device: NativeDevice): void;
  endCapture(device: NativeDevice): GraphHandle;
  /**
   * `scalars` has a number for each dynamic scalar of the recorded operators, in their order: the annealing of an angular
   * softmax forward, the seed of a dropout.
   */
  replayGraph(graph: GraphHandle, scalars: Float64Array): void;
  releaseGraph(graph: GraphHandle): void;

  /** In `to`'s dtype. */
  fill(value: number, to: Handle): void;
  /** To another dtype: floats to the nearest, to integers without their fraction. */
  cast(from: Handle, to: Handle): void;

  conv2dForward(
    ...args: [
      x: Handle, w: Handle, bias: Optional, y: Handle, geometry: Packed<ConvGeometry>, ...epilogue: EpilogueArguments | [],
    ]
  ): void;
  conv2dBackwardData(dy: Handle, w: Handle, dx: Handle, geometry: Packed<ConvGeometry>): void;
  conv2dBackwardWeights(x: Handle, dy: Handle, dw: Handle, dbias: Optional, geometry: Packed<ConvGeometry>): void;

  /** k: `[1]` or `[O]`. Without `saved` there is no backward. */
  sphereConv2dForward(
    ...args: [
      x: Handle, w: Handle, k: Optional, bias: Optional, y: Handle, ...saved: SphereSaved | Absent<SphereSaved>,
      geometry: Packed<ConvGeometry>, options: Packed<SphereOptions>, ...epilogue: EpilogueArguments | [],
    ]
  ): void;
  /** With an epilogue dy is the gradient of its result. */
  sphereConv2dBackward(
    ...args: [
      x: Handle, w: Handle, k: Optional, ...saved: SphereSaved, dy: Handle,
      dx: Optional, dw: Optional, dk: Optional, dbias: Optional,
      geometry: Packed<ConvGeometry>, options: Packed<SphereOptions>, ...epilogue: EpilogueGradientArguments | [],
    ]
  ): void;

  matmul(a: Handle, b: Handle, bias: Optional, c: Handle, transposeA: boolean, transposeB: boolean): void;

  /** Returns what backward needs, for the device alone to read; null when not training. */
  maxPool2dForward(x: Handle, y: Handle, window: Packed<Window>, training: boolean): Handle | null;
  maxPool2dBackward(dy: Handle, saved: Handle, dx: Handle, window: Packed<Window>): void;
  avgPool2dForward(x: Handle, y: Handle, window: Packed<Window>, countPadding: boolean): void;
  avgPool2dBackward(dy: Handle, dx: Handle, window: Packed<Window>, countPadding: boolean): void;
  /** [N,H,W,C] to [N,C] */
  globalAvgPool2dForward(x: Handle, y: Handle): void;
  globalAvgPool2dBackward(dy: Handle, dx: Handle): void;

  /** An epilogue by itself, of x; the result goes to y. */
  batchNormForward(...args: [x: Handle, y: Handle, ...epilogue: EpilogueArguments]): void;
  batchNormBackward(...args: [dy: Handle, dx: Handle, ...epilogue: EpilogueGradientArguments]): void;

  /** y = scale x + shift, per channel */
  affineForward(x: Handle, scale: Optional, shift: Optional, y: Handle): void;
  affineBackward(x: Handle, scale: Optional, dy: Handle, dx: Optional, dscale: Optional, dshift: Optional): void;

  reluForward(x: Handle, y: Handle): void;
  reluBackward(y: Handle, dy: Handle, dx: Handle): void;
  add(a: Handle, b: Handle, out: Handle): void;
  scale(x: Handle, factor: number, out: Handle): void;
  scaleBy(x: Handle, factor: Handle, out: Handle): void;
  sum(x: Handle, out: Handle): void;
  /** kind: of `positivities` */
  positiveForward(p: Handle, k: Handle, kind: Code): void;
  positiveBackward(p: Handle, dk: Handle, dp: Handle, kind: Code): void;
  copyChannels(from: Handle, fromChannel: number, to: Handle, toChannel: number, channels: number): void;
  /** seed: an integer below 2^53. The same seed gives the same mask, so backward is this on dy. */
  dropout(x: Handle, y: Handle, probability: number, seed: number): void;

  /** loss, theta, correct: one element each */
  softmaxCrossEntropy(logits: Handle, labels: Handle, labelSmoothing: number, logGuard: number, loss: Handle, dlogits: Handle): void;
  /** Mean of sum_j max(0, margin - logit_y + logit_j) / classes, or of the squares, and its gradient. */
  multiMargin(logits: Handle, labels: Handle, margin: number, squared: boolean, loss: Handle, dlogits: Handle): void;
  /** radius: one element, in place of that of the options. */
  angularSoftmaxForward(
    ...args: [
      x: Handle, w: Handle, radius: Optional, labels: Handle, loss: Handle, logits: Handle, theta: Handle,
      ...saved: AngularSoftmaxSaved, options: Packed<AngularSoftmaxOptions>,
    ]
  ): void;
  /** dradius: where forward had a radius tensor. */
  angularSoftmaxBackward(
    ...args: [
      x: Handle, w: Handle, ...saved: AngularSoftmaxSaved, dloss: Handle, dx: Optional, dw: Optional, dradius: Optional,
    ]
  ): void;
  /** ||W W^T - I||_F^2 over rows of w, and its gradient */
  orthogonality(w: Handle, normalized: boolean, eps: number, loss: Handle, dw: Handle): void;
  /** Mean of |u - v|^-power (0: log(1 / |u - v|)) over pairs of unit rows of w, and its gradient */
  hypersphericalEnergy(w: Handle, power: number, halfSpace: boolean, eps: number, loss: Handle, dw: Handle): void;
  /** Negative mean angle to the nearest other row of w, and its gradient */
  minimalAngle(w: Handle, eps: number, loss: Handle, dw: Handle): void;
  countCorrect(logits: Handle, labels: Handle, top: number, correct: Handle): void;

  adamStep(
    parameters: Handle[], gradients: Handle[], firstMoments: Handle[], secondMoments: Handle[],
    options: Packed<AdamOptions>,
  ): void;
  sgdStep(parameters: Handle[], gradients: Handle[], velocities: Handle[], options: Packed<SgdOptions>): void;
  globalNorm(tensors: Handle[], out: Handle): void;

  /**
   * Gathers `indices` from `images` (u8, NHWC), pads each by `padding`, cuts `height` x `width` at the offsets, flips
   * and normalises to (pixel - mean[c]) / std[c], on a thread of its own. `placement` has three numbers an image:
   * top, left, flip (bit 0: left-right, bit 1: up-down). Resolves to an f32 tensor [indices, height, width, channels]
   * on the device. All arrays are read before the call returns.
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
  benchmarkConvolution(x: Handle, w: Handle, y: Handle, geometry: Packed<ConvGeometry>, repeats: number): Float64Array;
}
