import { OptionError } from '../../lib/errors';
import { ConstantSchedule, StepSchedule } from '../../lib/optim';
import { expectThrown } from '../nn/expectations';

const schedule = new StepSchedule({ learningRate: 1e-3, milestones: [34_000, 54_000] });

test.each([
  [0, 1e-3],
  [33_999, 1e-3],
  [34_000, 1e-4],
  [53_999, 1e-4],
  [54_000, 1e-5],
  [1_000_000, 1e-5],
])('StepSchedule at iteration %d: %d', (iteration, rate) => {
  expect(schedule.learningRateAt(iteration)).toBeCloseTo(rate, 15);
});

test('StepSchedule with another factor, and without milestones', () => {
  const halved = new StepSchedule({ learningRate: 1, milestones: [1, 2], factor: 0.5 });
  expect([0, 1, 2].map((iteration) => halved.learningRateAt(iteration))).toEqual([1, 0.5, 0.25]);
  expect(new StepSchedule({ learningRate: 1, milestones: [] }).learningRateAt(9)).toBe(1);
});

test('StepSchedule keeps a copy of its milestones', () => {
  const milestones = [10];
  const own = new StepSchedule({ learningRate: 1, milestones });
  milestones[0] = 1;
  expect(own.learningRateAt(5)).toBe(1);
});

test('ConstantSchedule', () => {
  const constant = new ConstantSchedule({ learningRate: 0.3 });
  expect([0, 1e9].map((iteration) => constant.learningRateAt(iteration))).toEqual([0.3, 0.3]);
});

test.each<[string, () => unknown, string, RegExp]>([
  ['a rate of 0', () => new StepSchedule({ learningRate: 0, milestones: [] }), 'learningRate', /greater than 0/],
  ['a factor of 0', () => new StepSchedule({ learningRate: 1, milestones: [], factor: 0 }), 'factor', /greater than 0/],
  ['no milestones', () => new StepSchedule({ learningRate: 1 } as never), 'milestones', /array of iterations, but got undefined/],
  ['falling milestones', () => new StepSchedule({ learningRate: 1, milestones: [5, 5] }), 'milestones[1]', /greater than 5, but got 5/],
  ['a milestone of 0', () => new StepSchedule({ learningRate: 1, milestones: [0] }), 'milestones[0]', /greater than 0/],
  ['an unknown option', () => new StepSchedule({ learningRate: 1, milestones: [], gamma: 1 } as never), 'gamma', /no option/],
  ['half an iteration', () => schedule.learningRateAt(0.5), 'iteration', /integer/],
  ['an iteration before the first', () => new ConstantSchedule({ learningRate: 1 }).learningRateAt(-1), 'iteration', /at least 0/],
  ['a constant rate of 0', () => new ConstantSchedule({ learningRate: 0 }), 'learningRate', /greater than 0/],
  ['an unknown option', () => new ConstantSchedule({ learningRate: 1, rate: 1 } as never), 'rate', /no option/],
])('refuses %s', (_, run, argument, message) => {
  expectThrown(run, OptionError, argument, message);
});
