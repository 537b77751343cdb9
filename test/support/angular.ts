// The angular functions by the paper's own lines (eq. 2-4), in float64: what the operators are held against.
import type { AngularOperator } from '../../lib/ops';

/** g(theta), one row for each operator. */
const formulas: Record<AngularOperator, (theta: number, k: number) => number> = {
  linear: (theta) => 1 - (2 * theta) / Math.PI,
  cosine: Math.cos,
  square: (theta) => Math.cos(theta) * Math.abs(Math.cos(theta)),
  sigmoid: (theta, k) => {
    const limit = Math.exp(-Math.PI / (2 * k));
    const rising = Math.exp(theta / k - Math.PI / (2 * k));
    return (((1 + limit) / (1 - limit)) * (1 - rising)) / (1 + rising);
  },
};

/** g(theta) of an operator; k is the curvature of those that have one. */
export function angularValue(operator: AngularOperator, theta: number, k = 0.3): number {
  return formulas[operator](theta, k);
}
