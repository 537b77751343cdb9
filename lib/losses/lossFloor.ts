import { warn } from '../warnings';

/** What decides how low the softmax loss of logits `scale g(theta)` can fall. */
export interface FixedScale {
  classes: number;
  scale: number;
  /**
   * By how much the function of the true class exceeds that of each other class where the loss is lowest: every feature on
   * its class weight, and the class weights as far from each other as they can be, with cosines of -1 / (classes - 1).
   */
  gap: number;
}

/**
 * The least loss, `log(1 + (C - 1) exp(-s gap))`: NormFace (Wang et al., 2017) with `gap = C / (C - 1)`. It can be reached
 * with at least C - 1 features; with fewer the loss stays above it.
 */
export function lossFloor({ classes, scale, gap }: FixedScale): number {
  return Math.log1p((classes - 1) * Math.exp(-scale * gap));
}

/** The least scale with a floor of at most `floor`; null where there is none. */
export function scaleForFloor({ classes, gap }: FixedScale, floor: number): number | null {
  return gap > 0 ? Math.log((classes - 1) / Math.expm1(floor)) / gap : null;
}

/** A loss of 0.1 is a mean probability of the true class of 90 %. */
const highestGoodFloor = 0.1;

/** Warns where the scale keeps the loss high, with the floor and the scale that would do. */
export function warnOfHighFloor(loss: string, fixed: FixedScale): void {
  const floor = lossFloor(fixed);
  if (floor <= highestGoodFloor) return;
  const { classes, scale } = fixed;
  const enough = scaleForFloor(fixed, highestGoodFloor);
  const remedy = enough === null
    ? 'no scale mends that: the margin is too large'
    : `to fall to ${highestGoodFloor.toString()} it takes a scale of ${(Math.ceil(enough * 10) / 10).toString()}`;
  warn(
    'SPHERENET_SMALL_SCALE',
    `${loss}: with a scale of ${scale.toString()} and ${classes.toString()} classes, spread evenly, the loss cannot fall below ${floor.toPrecision(2)}; ${remedy}`,
  );
}
