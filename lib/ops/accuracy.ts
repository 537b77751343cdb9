import { requireKnownKeys, requireNumber } from '../errors';
import { native } from '../native';
import type { Tensor } from '../tensor';
import { requireBatch, requireFloat, requireLabels } from './checks';

/**
 * How many rows have their label among the `top` largest logits.
 * @param logits `[N, classes]`; N may be 0.
 * @param labels `[N]`, i32, from 0 below classes.
 * @param options.top From 1 to classes. Default 1.
 * @throws {ShapeError | DTypeError | DeviceError | DataError | OptionError} naming the argument at fault.
 */
export function countCorrect(logits: Tensor, labels: Tensor, options: { top?: number } = {}): number {
  requireKnownKeys('countCorrect', options, ['top']);
  requireFloat('logits', logits);
  requireBatch('logits', logits, 2, '[N, classes]');
  const [batch, classes] = logits.shape as [number, number];
  const top = requireNumber('top', options.top ?? 1, { min: 1, max: classes, integer: true });
  requireLabels(labels, batch, classes, ['logits', logits]);
  if (batch === 0) return 0;
  using correct = logits.newEmpty([], 'i32');
  native.countCorrect(logits.handle, labels.handle, top, correct.handle);
  return correct.item();
}
