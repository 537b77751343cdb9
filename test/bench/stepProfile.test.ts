import { NativeProfiler } from '../../lib/bench/nativeProfiler';
import { benchmarkNetwork } from '../../lib/bench/networks';
import { perStep, profileStep } from '../../lib/bench/stepProfile';
import { native } from '../../lib/native';
import { relu } from '../../lib/ops';
import { noGrad, tensor } from '../../lib/tensor';
import { testDevice } from '../support/device';

const originals = { ...native };

test('a profiler counts and times each operator until it is stopped, and then the addon is as it was', () => {
  const profiler = new NativeProfiler(testDevice);
  const total = noGrad(() => {
    const x = tensor([-1, 2]);
    const start = performance.now();
    relu(relu(x));
    return performance.now() - start;
  });
  profiler.stop();
  noGrad(() => relu(tensor([1])));
  expect({ ...native }).toEqual(originals);
  const { calls, ms } = profiler.times.find(({ operator }) => operator === 'reluForward')!;
  expect(calls).toBe(2);
  expect(ms).toBeGreaterThan(0);
  expect(ms).toBeLessThanOrEqual(total);
});

test('an operator that throws is timed, and its error comes through', () => {
  using profiler = new NativeProfiler(testDevice);
  expect(() => { native.fill(1, {} as never); }).toThrow();
  expect(profiler.times.find(({ operator }) => operator === 'fill')).toMatchObject({ calls: 1 });
});

test('operators and the rest make up the step; totals become those of one step', () => {
  const phases = new Map([['forward', 30], ['backward', 60]] as const);
  const operators = [{ operator: 'a', calls: 6, ms: 50 }, { operator: 'b', calls: 2, ms: 30 }];
  expect(perStep(100, phases, operators, 2)).toEqual({
    steps: 2,
    ms: 50,
    phases: [{ phase: 'forward', ms: 15, share: 0.3 }, { phase: 'backward', ms: 30, share: 0.6 }],
    operators: [{ operator: 'a', calls: 3, ms: 25, share: 0.5 }, { operator: 'b', calls: 1, ms: 15, share: 0.3 }],
    rest: { ms: 10, share: 0.2 },
  });
});

test('the profile of a training step adds up, by phases and by operators', async () => {
  const profile = await profileStep({ network: benchmarkNetwork('cnn3', { widths: [4, 4, 4] }), batchSize: 2, operator: 'cosine', device: testDevice });
  expect({ ...native }).toEqual(originals);
  expect(profile.case).toBe('step spherenet3 4/4/4 b2');
  expect(profile.phases.map(({ phase }) => phase)).toEqual(['data', 'forward', 'loss', 'backward', 'optimizer']);
  const sum = (entries: readonly { ms: number }[]) => entries.reduce((total, { ms }) => total + ms, 0);
  expect(sum(profile.phases)).toBeLessThanOrEqual(profile.ms);
  expect(sum(profile.phases)).toBeGreaterThan(0.5 * profile.ms);
  expect(sum(profile.operators) + profile.rest.ms).toBeCloseTo(profile.ms, 6);
  expect(profile.rest.ms).toBeGreaterThan(0);
  const callsOf = (name: string) => profile.operators.find(({ operator }) => operator === name)?.calls;
  // Three convolutions with their BatchNorm, and the last, fully connected one.
  expect(['sphereConv2dForward', 'sphereConv2dBackward', 'adamStep'].map(callsOf)).toEqual([4, 4, 1]);
});
