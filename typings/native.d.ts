/**
 * The addon's contract, by hand; test/native/contract.test.ts holds it against the addon.
 *
 * Nothing here checks shapes: lib/ops does, and allocates the outputs. Outputs come last among the tensors and are
 * overwritten. `null` stands for an absent optional tensor. Only lib/native.ts loads this.
 */
export type NativeDType = 'f32' | 'f64' | 'i32' | 'u8';
export type TypedArray = Float32Array | Float64Array | Int32Array | Uint8Array;

/** A tensor on a device. Opaque; `release` gives its memory back at once, the garbage collector does otherwise. */
export interface Handle {
  readonly __handle: unique symbol;
}
type Optional = Handle | null;

/** strideH, strideW, paddingH, paddingW, dilationH, dilationW, groups */
export type ConvGeometry = Int32Array;
/** kernelH, kernelW, strideH, strideW, paddingH, paddingW */
export type PoolGeometry = Int32Array;

/** 0 linear, 1 cosine, 2 sigmoid */
export type AngularCode = 0 | 1 | 2;
/** 0 softplus(p), 1 |p| + 0.05 */
export type PositiveCode = 0 | 1;

export interface NativeMemoryStats {
  allocated: number;
  reserved: number;
  peak: number;
  storages: number;
}

export interface NativeInfo {
  onednn: string;
  isa: string;
  threads: number;
  /** What the build and this machine offer of CUDA, in words for `spherenet doctor`. */
  cuda: { compiled: boolean; available: boolean; driver: boolean; devices: number; reason: string };
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

  empty(dtype: NativeDType, shape: readonly number[]): Handle;
  /** The same memory under another shape of as many elements. */
  alias(tensor: Handle, shape: readonly number[]): Handle;
  release(tensor: Handle): void;
  write(from: TypedArray, to: Handle): void;
  read(from: Handle, to: TypedArray): void;
  copy(from: Handle, to: Handle): void;
  fill(value: number, to: Handle): void;
  cast(from: Handle, to: Handle): void;
  memoryStats(): NativeMemoryStats;
  resetPeak(): void;
  releaseCache(): void;

  conv2dForward(x: Handle, w: Handle, bias: Optional, y: Handle, geometry: ConvGeometry): void;
  conv2dBackwardData(dy: Handle, w: Handle, dx: Handle, geometry: ConvGeometry): void;
  conv2dBackwardWeights(x: Handle, dy: Handle, dw: Handle, dbias: Optional, geometry: ConvGeometry): void;

  sphereConv2dForward(
    x: Handle, w: Handle, k: Optional, bias: Optional,
    y: Handle, cosine: Handle, invPatchNorm: Handle, invFilterNorm: Handle,
    geometry: ConvGeometry, angular: AngularCode, kValue: number, eps: number, addEps: boolean,
  ): void;
  sphereConv2dBackward(
    x: Handle, w: Handle, k: Optional, cosine: Handle, invPatchNorm: Handle, invFilterNorm: Handle, dy: Handle,
    dx: Optional, dw: Optional, dk: Optional, dbias: Optional,
    geometry: ConvGeometry, angular: AngularCode, kValue: number, eps: number, addEps: boolean,
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

  batchNormTrain(
    x: Handle, gamma: Handle, beta: Handle, runningMean: Handle, runningVariance: Handle,
    y: Handle, mean: Handle, variance: Handle, eps: number, momentum: number, relu: boolean,
  ): void;
  batchNormInfer(
    x: Handle, gamma: Handle, beta: Handle, runningMean: Handle, runningVariance: Handle,
    y: Handle, eps: number, relu: boolean,
  ): void;
  batchNormBackward(
    x: Handle, gamma: Handle, mean: Handle, variance: Handle, y: Handle, dy: Handle,
    dx: Handle, dgamma: Handle, dbeta: Handle, eps: number, relu: boolean,
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
   * top, left, flip (bit 0: left-right, bit 1: up-down). Resolves to an f32 tensor [indices, height, width, channels].
   */
  imageBatch(
    images: Uint8Array, sourceHeight: number, sourceWidth: number, channels: number,
    indices: Int32Array, placement: Int32Array, padding: number, height: number, width: number,
    mean: Float32Array, std: Float32Array,
  ): Promise<Handle>;

  /**
   * Milliseconds of oneDNN's forward, backward-data and backward-weights on NHWC memory with packed weights:
   * one entry a repeat, three numbers each. The peer of `spherenet bench`.
   */
  benchmarkConvolution(x: Handle, w: Handle, y: Handle, geometry: ConvGeometry, repeats: number): Float64Array;
}
