import type { Classifier } from '../models';
import { summary } from '../nn';
import type { Shape } from '../tensor';
import { type ConvolutionShape, outputSize } from './layerShapes';
import type { BenchmarkPass } from './measure';
import type { Roof } from './roofs';

/** What a pass has to do at least, whoever does it. */
export interface Cost {
  /** Of convolutions and matrix products, a multiply-add counted as two. */
  flops: number;
  /** Operands read once, results written once; null where nobody has counted. */
  bytes: number | null;
}

export type CostByPass = Partial<Record<BenchmarkPass, Cost>>;

/** How fast something was computed. */
export interface Rates {
  /** 10⁹ floating-point operations a second. */
  gflops?: number;
  /** 10⁹ bytes a second. */
  gbps?: number;
  /** The least time that the roofs allow over the time it took. */
  roofShare?: number;
}

const bytesOfFloat = 4;

/**
 * Of a convolution, which is all that is counted of a SphereConv too: forward, and backward with both gradients. The
 * factors are those of a direct convolution; an algorithm that needs fewer comes out faster than the roof may allow.
 */
export function convolutionCost(shape: ConvolutionShape, batchSize: number): CostByPass {
  const { channels, filters, size, kernel } = shape;
  const [input, output] = [batchSize * channels * size ** 2, batchSize * filters * outputSize(shape) ** 2];
  const weights = filters * kernel ** 2 * channels;
  const product = 2 * output * kernel ** 2 * channels;
  const forward = { flops: product, bytes: bytesOfFloat * (input + weights + output) };
  const backward = { flops: 2 * product, bytes: bytesOfFloat * (2 * input + 2 * weights + output) };
  return { forward, backward, both: { flops: forward.flops + backward.flops, bytes: forward.bytes + backward.bytes } };
}

/** Of a training step: three products for each layer, but two for the first, whose images need no gradient. */
export function stepCost(model: Classifier, imageShape: Shape, batchSize: number): CostByPass {
  const { rows, totals } = summary(model, imageShape);
  const first = rows.find(({ multiplyAdds }) => multiplyAdds > 0)?.multiplyAdds ?? 0;
  return { step: { flops: 2 * batchSize * (3 * totals.multiplyAdds - first), bytes: null } };
}

/** How fast something of this cost was done in `ms`, and how near that is to the roof. */
export function ratesOf(cost: Cost | undefined, ms: number, roof: Roof | undefined): Rates {
  if (!cost) return {};
  const { flops, bytes } = cost;
  const rates: Rates = { gflops: perSecond(flops, ms), ...(bytes === null ? {} : { gbps: perSecond(bytes, ms) }) };
  if (!roof) return rates;
  const share = Math.max(rates.gflops! / roof.gflops, (rates.gbps ?? 0) / roof.gbps);
  return { ...rates, roofShare: share };
}

/** In 10⁹. */
function perSecond(amount: number, ms: number): number {
  return amount / ms / 1e6;
}
