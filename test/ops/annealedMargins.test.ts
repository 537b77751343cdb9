// The target logit (lambda g + g_m) / (1 + lambda) over a fine grid of theta: one sample an angle, so that one call
// measures all of them.
import { type AngularOperator, angularOperators, angularSoftmax } from '../../lib/ops';
import { tensor } from '../../lib/tensor';
import { angularValue } from '../support/angular';
import { isEmulated } from '../support/device';
import { relativeError } from '../support/tensors';

// Lambda of the published schedules from their ends to their beginnings, and none.
const lambdas = [0, 0.01, 0.4, 5, 100, 1000];
const margins = (operator: AngularOperator) => (operator === 'linear' ? [1.5, 2, 2.5, 3, 4] : [2, 3, 4, 5]);

/** dL/dtheta of log(1 + exp(-target)) at each angle: the other class has no direction, and so a logit of 0. */
function slopesOf(operator: AngularOperator, angles: readonly number[], margin: number, annealing: number) {
  const x = tensor(angles.map((theta) => [Math.cos(theta), Math.sin(theta)]), [angles.length, 2], { dtype: 'f64', requiresGrad: true });
  const w = tensor([[1, 0], [0, 0]], [2, 2], { dtype: 'f64' });
  const labels = tensor(new Int32Array(angles.length));
  angularSoftmax(x, w, labels, { operator, margin, annealing, radius: 1 }).loss.backward();
  const gradient = x.grad!.data();
  // Along the circle; the loss is a mean over the samples.
  return angles.map((theta, i) => angles.length * (-Math.sin(theta) * gradient[2 * i] + Math.cos(theta) * gradient[2 * i + 1]));
}

function target(operator: AngularOperator, theta: number, m: number, lambda: number): number {
  const sector = Math.min(Math.floor((m * theta) / Math.PI), m - 1);
  const value = operator === 'linear' ? 1 - (2 * m * theta) / Math.PI : angularValue(operator, m * theta - sector * Math.PI) - 2 * sector;
  return (lambda * angularValue(operator, theta) + value) / (1 + lambda);
}

const loss = (logit: number): number => Math.log1p(Math.exp(-logit));

describe.each(angularOperators.flatMap((operator) => margins(operator).map((m) => [operator, m] as const)))('%s, m = %p', (operator, m) => {
  // Not the folds themselves, where sine and tanh have corners, but close to them from both sides; and not the poles, where
  // the slope has a floor.
  const folds = Array.from({ length: Math.ceil(m) - 1 }, (_, j) => ((j + 1) * Math.PI) / m);
  const steps = isEmulated ? 60 : 999;
  const grid = Array.from({ length: steps - 1 }, (_, i) => ((i + 1) * Math.PI) / steps);
  const angles = [...grid, ...folds.flatMap((fold) => [fold - 1e-6, fold + 1e-6])].sort((a, b) => a - b);

  test.each(lambdas)('with lambda %p the loss rises with theta everywhere, by its exact slope', (lambda) => {
    const slopes = slopesOf(operator, angles, m, lambda);
    // Flat where g is, at worst; never downwards.
    expect(slopes.filter((slope) => slope < -1e-12)).toEqual([]);
    const step = 1e-7;
    const numeric = angles.map((theta) => {
      const [below, above] = [theta - step, theta + step].map((at) => loss(target(operator, at, m, lambda)));
      return (above - below) / (2 * step);
    });
    expect(relativeError(slopes, numeric)).toBeLessThan(1e-6);
  });
});
