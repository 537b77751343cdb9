import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConvergenceOptions, runConvergence } from '../../lib/paper/convergence';
import { convergenceText } from '../../lib/paper/convergenceReport';
import { readLog } from '../../lib/report';
import { hasCuda } from '../support/device';
import { toyImages } from '../support/toyImages';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const options = (): ConvergenceOptions => ({
  data: { train: toyImages('toy train', 64), test: toyImages('toy test', 40) },
  widths: [4, 4, 4],
  iterations: 12,
  batchSize: 16,
  evalEvery: 5,
  evalImages: 10,
  loss: 'softmax',
  seed: 1,
  output: join(folder, 'run'),
});

test('the twins see the same batches and leave curves, summary, logs and checkpoints', async () => {
  const evaluated: string[] = [];
  const steps: number[] = [];
  const summary = await runConvergence({
    ...options(),
    onStep: ({ step, secondsLeft }) => {
      steps.push(step);
      expect(secondsLeft).toBeGreaterThanOrEqual(0);
    },
    onEvaluation: (network, { iteration }) => { evaluated.push(`${network} ${iteration}`); },
  });
  expect(steps).toEqual(Array.from({ length: 24 }, (_, i) => i + 1));
  const expected = ['plain CNN-9', 'SphereNet-9'].flatMap((name) => [5, 10, 12].map((iteration) => `${name} ${iteration}`));
  expect(evaluated).toEqual(expected);

  for (const { evaluations, trainingLoss, imagesPerSecond, peakBytes } of summary!.networks) {
    expect(evaluations.map(({ iteration, images: count }) => [iteration, count])).toEqual([[5, 10], [10, 10], [12, 40]]);
    expect(trainingLoss.map(([iteration]) => iteration)).toEqual([1, 10, 12]);
    expect(imagesPerSecond).toBeGreaterThan(0);
    expect(peakBytes).toBeGreaterThan(0);
  }
  const run = join(folder, 'run');
  expect((await readdir(run)).sort()).toEqual(['cnn9', 'convergence.png', 'convergence.svg', 'spherenet9', 'summary.json']);
  expect(JSON.parse(await readFile(join(run, 'summary.json'), 'utf8'))).toEqual(summary);
  for (const network of ['cnn9', 'spherenet9']) {
    const events = (await readLog(join(run, network, 'log.jsonl'))).map(({ event }) => event);
    expect(events.filter((event) => event === 'eval')).toHaveLength(3);
  }
  expect(await readFile(join(run, 'convergence.svg'), 'utf8')).toContain('toy test images');
  expect(convergenceText(summary!)).toMatch(/^ +12 +40 +[\d.]+ +[\d.]+% +[\d.]+ +[\d.]+%$/m);
});

test('a run is reproducible', async () => {
  const [first, second] = [await runConvergence(options()), await runConvergence(options())];
  const curves = (summary: typeof first) => summary!.networks.map(({ evaluations, trainingLoss }) => ({ evaluations, trainingLoss }));
  expect(curves(first)).toEqual(curves(second));
});

const withCuda = hasCuda ? test : test.skip;

withCuda('a run on cuda says so in summary and logs', async () => {
  const summary = await runConvergence({ ...options(), iterations: 2, device: 'cuda' });
  expect(summary!.machine.gpu).toMatchObject({ name: expect.any(String) as string, precision: 'fp32' });
  for (const network of ['cnn9', 'spherenet9']) {
    const [start] = await readLog(join(folder, 'run', network, 'log.jsonl'));
    expect(start).toMatchObject({ event: 'start', device: 'cuda' });
  }
});

test('an abort ends the run without a summary', async () => {
  const controller = new AbortController();
  const summary = await runConvergence({
    ...options(),
    signal: controller.signal,
    onStep: ({ step }) => { if (step === 3) controller.abort(); },
  });
  expect(summary).toBeNull();
  expect(await readdir(join(folder, 'run'))).toEqual(['cnn9']);
});
