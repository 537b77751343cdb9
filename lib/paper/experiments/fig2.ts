import { noGrad, tensor } from '../../tensor';
import { type AngularOperator, angularOperators, sphereLinear } from '../../ops';
import type { Point } from '../../report';
import type { ComputedExperiment } from '../experiment';
import { operators } from '../operators';

interface Shape {
  title: string;
  operator: AngularOperator;
  k?: number;
}

const published: Shape[] = Object.values(operators).flatMap(({ title, convolution }) =>
  convolution === 'plain' ? [] : [{ title, ...convolution }],
);
const shapes: readonly Shape[] = [
  ...published,
  ...angularOperators.filter((name) => published.every(({ operator }) => operator !== name))
    .map((operator) => ({ title: `${operator} (not in the paper)`, operator })),
];

/** g at these angles, by the operator itself: filter (1, 0), patches (cos theta, sin theta). */
function responses({ operator, k }: Shape, angles: readonly number[]): number[] {
  return noGrad(() => {
    using patches = tensor(Float64Array.from(angles.flatMap((theta) => [Math.cos(theta), Math.sin(theta)])), [angles.length, 2], { device: 'cpu' });
    using filter = tensor(Float64Array.of(1, 0), [1, 2], { device: 'cpu' });
    using y = sphereLinear(patches, filter, { operator, k });
    return [...y.data()];
  });
}

const curvePoints = 181;

export const fig2: ComputedExperiment = {
  kind: 'computed',
  name: 'fig2',
  title: 'Figure 2: the shapes of the operators',
  shows: 'g(θ) of every operator falls from 1 to −1: the smaller k of the sigmoid, the steeper around a right angle.',
  compute: () => {
    const angles = Array.from({ length: curvePoints }, (_, i) => (Math.PI * i) / (curvePoints - 1));
    const named = [0, 1, 2, 3, 4].map((quarters) => (Math.PI * quarters) / 4);
    return {
      table: {
        head: ['operator', 'g(0)', 'g(π/4)', 'g(π/2)', 'g(3π/4)', 'g(π)'],
        // Rounding would else write g(π/2) of some operators as 6e-17.
        rows: shapes.map((shape) => [shape.title, ...responses(shape, named).map((g) => g.toFixed(4).replace('-0.0000', '0.0000').replace('-', '−'))]),
        align: ['left', 'right', 'right', 'right', 'right', 'right'],
      },
      panels: [{
        kind: 'line',
        title: 'Operators of SphereConv',
        xLabel: 'θ',
        yLabel: 'g(θ)',
        series: shapes.map((shape) => ({ name: shape.title, points: responses(shape, angles).map((g, i): Point => [angles[i], g]) })),
      }],
      notes: ['Computed in float64 by the operators that networks use. Equations 2 to 4 are in docs/maths.md.'],
    };
  },
};
