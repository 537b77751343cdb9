import { OptionError } from '../../lib/errors';
import { ConstantSchedule, CosineSchedule, StepSchedule, WarmupSchedule } from '../../lib/optim';
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

test('CosineSchedule falls along a cosine, and stays at its end', () => {
  const cosine = new CosineSchedule({ learningRate: 1, iterations: 12, minimum: 0.2 });
  const rates = [0, 4, 6, 8, 12, 13, 1e9].map((iteration) => cosine.learningRateAt(iteration));
  [1, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2].forEach((expected, i) => { expect(rates[i]).toBeCloseTo(expected, 14); });
  expect(new CosineSchedule({ learningRate: 1, iterations: 5 }).learningRateAt(5)).toBe(0);
});

test('WarmupSchedule rises to the other schedule, whose iterations it does not shift', () => {
  const warm = new WarmupSchedule({ schedule: new StepSchedule({ learningRate: 1, milestones: [2, 5] }), iterations: 3 });
  const rates = [0, 1, 2, 3, 4, 5].map((iteration) => warm.learningRateAt(iteration));
  [0.25, 0.5, 0.075, 0.1, 0.1, 0.01].forEach((expected, i) => { expect(rates[i]).toBeCloseTo(expected, 14); });
});

test('settings tell schedules apart', () => {
  const [learningRate, iterations] = [1, 5];
  const cosine = new CosineSchedule({ learningRate, iterations });
  const all = [
    schedule, new ConstantSchedule({ learningRate }), cosine, new CosineSchedule({ learningRate, iterations, minimum: 0.5 }),
    new WarmupSchedule({ schedule: cosine, iterations }), new WarmupSchedule({ schedule, iterations }),
    new WarmupSchedule({ schedule, iterations: 6 }),
  ];
  expect(new Set(all.map((each) => JSON.stringify(each.settings()))).size).toBe(all.length);
});

test.each<[string, () => unknown, string, RegExp]>([
  ['a minimum above the rate', () => new CosineSchedule({ learningRate: 1, iterations: 2, minimum: 2 }), 'minimum', /at most 1, but got 2/],
  ['a cosine without end', () => new CosineSchedule({ learningRate: 1 } as never), 'iterations', /at least 1, but got undefined/],
  ['half an iteration', () => new CosineSchedule({ learningRate: 1, iterations: 2 }).learningRateAt(0.5), 'iteration', /integer/],
  ['a warm-up of nothing', () => new WarmupSchedule({ iterations: 2 } as never), 'schedule', /learningRateAt\(iteration\), but got undefined/],
  ['a warm-up without steps', () => new WarmupSchedule({ schedule, iterations: 0 }), 'iterations', /at least 1/],
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
