import { OptionError, ShapeError } from '../../lib/errors';
import { WSoftmaxLoss } from '../../lib/losses';
import { Classifier } from '../../lib/models';
import {
  BatchNorm2d, Conv2d, Curvature, Dropout, Flatten, formatSummary, Linear, MaxPool2d, Module, Sequential, SphereConv2d, SphereLinear,
  summary,
} from '../../lib/nn';
import type { Tensor } from '../../lib/tensor';
import { expectThrown, valuesOf } from './expectations';

const learnable = new Curvature();
const network = new Sequential({
  conv: new Conv2d({ inChannels: 4, outChannels: 6, kernelSize: 3, padding: 1, groups: 2 }),
  norm: new BatchNorm2d({ channels: 6 }),
  pool: new MaxPool2d({ kernelSize: 2 }),
  inner: new Sequential({ sphere: new SphereConv2d({ inChannels: 6, outChannels: 2, kernelSize: [2, 1], learnable }) }),
  flatten: new Flatten(),
  dropout: new Dropout(),
  linear: new SphereLinear({ inFeatures: 16, outFeatures: 5, learnable }),
});

test('one row for each innermost layer: names, types, shapes, parameters, multiply-adds', () => {
  const { rows, totals } = summary(network, [6, 8, 4]);
  expect(rows.map(({ name, type, outputShape, parameters, multiplyAdds }) => [name, type, outputShape, parameters, multiplyAdds])).toEqual([
    ['conv', 'Conv2d', [6, 8, 6], 9 * 2 * 6 + 6, 6 * 8 * 9 * 2 * 6],
    ['norm', 'BatchNorm2d', [6, 8, 6], 12, 0],
    ['pool', 'MaxPool2d', [3, 4, 6], 0, 0],
    ['inner.sphere', 'SphereConv2d', [2, 4, 2], 2 * 6 * 2 + 1, 2 * 4 * 2 * 6 * 2],
    ['flatten', 'Flatten', [16], 0, 0],
    ['dropout', 'Dropout', [16], 0, 0],
    // Its k was counted above.
    ['linear', 'SphereLinear', [5], 16 * 5, 16 * 5],
  ]);
  expect(totals.parameters).toBe(network.parameters().reduce((sum, { size }) => sum + size, 0));
  expect(totals.parameters).toBe(rows.reduce((sum, row) => sum + row.parameters, 0));
  expect(totals.multiplyAdds).toBe(rows.reduce((sum, row) => sum + row.multiplyAdds, 0));
});

test('leaves the module as it was', () => {
  const state = valuesOf(network.stateDict());
  const random = network.randomState();
  network.train();
  network.layers['norm'].eval();
  summary(network, [6, 8, 4]);
  expect(valuesOf(network.stateDict())).toEqual(state);
  expect(network.randomState()).toEqual(random);
  expect(network.modules().map((module) => module.training)).toEqual([true, true, false, true, true, true, true, true, true, true]);
  for (const module of network.modules()) expect(Object.hasOwn(module, 'forward')).toBe(false);
});

test('counts a module that is written by hand, parameters of its own included', () => {
  class Residual extends Module {
    readonly inner = new Linear({ inFeatures: 3, outFeatures: 3 });
    forward(x: Tensor): Tensor {
      return this.inner.forward(this.inner.forward(x));
    }
  }
  const { rows, totals } = summary(new Sequential([new Residual()]), [3]);
  expect(rows.map(({ name, parameters, multiplyAdds }) => [name, parameters, multiplyAdds])).toEqual([['0.inner', 12, 9], ['0.inner', 0, 9]]);
  expect(totals).toEqual({ parameters: 12, multiplyAdds: 18 });
});

test('runs a classifier with its head', () => {
  const { rows } = summary(new Classifier(network, new WSoftmaxLoss({ inFeatures: 5, classes: 7 })), [6, 8, 4]);
  expect(rows[0].name).toBe('features.conv');
  expect(rows.at(-1)).toEqual({ name: 'head', type: 'WSoftmaxLoss', outputShape: [7], parameters: 35, multiplyAdds: 35 });
});

test('formatSummary writes a table with the totals', () => {
  const lines = formatSummary(summary(network, [6, 8, 4])).split('\n');
  expect(lines[0]).toMatch(/^layer +type +output +parameters +multiply-adds$/);
  expect(lines[2]).toMatch(/^conv +Conv2d +6 × 8 × 6 +114 +5,184$/);
  expect(lines.at(-1)).toMatch(/^total +231 +5,456$/);
});

test('errors are those of the forward pass, with the layer, and the module is whole again', () => {
  expectThrown(() => summary(network, [6, 8, 2]), ShapeError, 'x', /^conv \(Conv2d\)/);
  expect(network.modules().every((module) => !Object.hasOwn(module, 'forward'))).toBe(true);
  expectThrown(() => summary({} as never, [1]), OptionError, 'module', /must be a Module/);
});
