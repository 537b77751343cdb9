import { record } from '../autograd';
import { requireKnownKeys, ShapeError } from '../errors';
import { native } from '../native';
import type { Tensor } from '../tensor';
import { formatShape, requireAlike, requireBatch, requireFloat, requireRank, requireShape } from './checks';
import { emptyResult } from './empty';
import { product } from './matmul';

/**
 * Checks the operands of a fully connected layer and returns the shape of its output, `[N, O]`.
 * @throws {ShapeError | DTypeError | DeviceError} naming the argument at fault.
 */
export function linearOutputShape(x: Tensor, weight: Tensor, bias: Tensor | null): [number, number] {
  requireFloat('x', x);
  requireAlike(['x', x], ['weight', weight], ['bias', bias]);
  requireBatch('x', x, 2, '[N, D]');
  requireRank('weight', weight, 2, '[O, D]');
  const [batch, features] = x.shape as [number, number];
  const [outputs, inputs] = weight.shape as [number, number];
  if (features !== inputs) {
    throw new ShapeError('x', `x has ${features} features, but weight of shape ${formatShape(weight.shape)} takes ${inputs}`);
  }
  if (bias) requireShape('bias', bias, [outputs]);
  return [batch, outputs];
}

/**
 * Fully connected layer, `y = x weightᵀ + bias`.
 * @param x `[N, D]`; N may be 0.
 * @param weight `[O, D]`
 * @param options.bias `[O]`
 * @returns `[N, O]`
 * @throws {ShapeError | DTypeError | DeviceError | OptionError} naming the argument at fault.
 */
export function linear(x: Tensor, weight: Tensor, options: { bias?: Tensor | null } = {}): Tensor {
  requireKnownKeys('linear', options, ['bias']);
  const bias = options.bias ?? null;
  const shape = linearOutputShape(x, weight, bias);
  const y = x.newEmpty(shape);
  if (y.size === 0) return emptyResult('linear', y, [x, weight, bias]);
  native.matmul(x.handle, weight.handle, bias?.handle ?? null, y.handle, false, true);
  const reads = { x: weight.requiresGrad ? x : null, weight: x.requiresGrad ? weight : null };
  return record('linear', y, [x, weight, bias], { reads }, (dy) => [
    x.requiresGrad ? product(dy, weight, false, false) : null,
    weight.requiresGrad ? product(dy, x, true, false) : null,
    bias?.requiresGrad ? channelSums(dy) : null,
  ]);
}

/** Sums over all axes but the last: the gradient of a bias. */
function channelSums(dy: Tensor): Tensor {
  const sums = dy.newEmpty(dy.shape.slice(-1));
  native.affineBackward(dy.handle, null, dy.handle, null, null, sums.handle);
  return sums;
}
