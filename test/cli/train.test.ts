import type { ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readSafetensors } from '../../lib/train/safetensors';
import { isEmulated, testDevice } from '../support/device';
import { onTestDevice, runCli, runShell, startCli } from './cli';
import { writeTinyMnist } from './idx';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
  await writeTinyMnist(folder, { train: 200, test: 50 });
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

// One thread: the tests run beside others.
const env = { OMP_NUM_THREADS: '1' };
const data = () => ['--data', 'mnist', '--source', folder, ...onTestDevice];
const network = ['--network', 'cnn3', '--widths', '8,8,8', '--batch-size', '20', '--augment', 'none'];
const train = (name: string, ...options: string[]) => [
  'train', ...data(), ...network, '--log-every', '5', '--output', join(folder, name), ...options,
];

async function weightsOf(name: string) {
  const { tensors } = await readSafetensors(join(folder, name, 'last.safetensors'));
  return tensors;
}

test('train --json learns, writes log and checkpoint, and prints one document', async () => {
  const { code, stdout } = await runCli(train('json', '--iterations', '60', '--milestones', '50', '--json'), env);
  expect(code).toBe(0);
  const result = JSON.parse(stdout) as Record<string, unknown>;
  expect(result).toMatchObject({ iterations: 60, interrupted: false, output: join(folder, 'json') });
  expect(result['checkpoint']).toBe(join(folder, 'json', 'last.safetensors'));
  expect(result['bestAccuracy']).toBeGreaterThan(0.8);
  const log = (await readFile(join(folder, 'json', 'log.jsonl'), 'utf8')).trim().split('\n');
  expect(JSON.parse(log[0])).toMatchObject({ event: 'start', device: testDevice });
  const records = log.map((line) => JSON.parse(line) as { event: string; learningRate: number }).filter(({ event }) => event === 'train');
  expect(records).toHaveLength(13);
  expect(records[0].learningRate).toBeCloseTo(1e-3, 12);
  expect(records.at(-1)!.learningRate).toBeCloseTo(1e-4, 12);
});

test('train takes the normalisation of a network, and a residual network refuses it', async () => {
  const options = ['--iterations', '1', '--no-batch-norm', '--sphere-norm', 'learned,0.5', '--no-relu'];
  expect((await runCli(train('norm', ...options), env)).code).toBe(0);
  const { metadata } = await readSafetensors(join(folder, 'norm', 'last.safetensors'));
  expect(JSON.parse(metadata['config'])).toMatchObject({ batchNorm: false, sphereNorm: { beta: 'learned', gamma: 0.5 }, relu: false });
  const refused = await runCli(train('refused', '--network', 'resnet32', '--no-relu'), env);
  expect(refused.code).toBe(2);
  expect(refused.stderr).toContain('resnet32 has no option "relu"');
  const one = await runCli(train('one', '--sphere-norm', 'learned'), env);
  expect(one.stderr).toContain('--sphere-norm must be beta and gamma');
});

test('a warning is one sentence, which NODE_NO_WARNINGS silences', async () => {
  const options = ['--iterations', '1', '--loss', 'normface', '--scale', '1'];
  expect((await runCli(train('told', ...options), env)).stderr).toMatch(/^warning: .*$/m);
  const silenced = await runCli(train('silenced', ...options), { ...env, NODE_NO_WARNINGS: '1' });
  expect({ ...silenced, stdout: '' }).toMatchObject({ code: 0, stderr: expect.not.stringContaining('warning') as string });
});

test('fine-tuning begins with the weights of a checkpoint, with another loss', async () => {
  const loss = ['--loss', 's-softmax', '--loss-operator', 'cosine', '--radius', '30'];
  const from = ['--finetune', join(folder, 'json', 'last.safetensors')];
  expect((await runCli(train('fine', '--iterations', '1', '--learning-rate', '1e-6', ...loss, ...from), env)).code).toBe(0);
  const [before, after] = await Promise.all(['json', 'fine'].map(weightsOf));
  for (const [theirs, ours] of [['features.conv1_1.weight', 'features.conv1_1.weight'], ['head.linear.weight', 'head.weight']]) {
    const [expected, got] = [before.get(`model.${theirs}`)!.data, after.get(`model.${ours}`)!.data];
    expect(got).toHaveLength(expected.length);
    got.forEach((value: number, i: number) => { expect(value).toBeCloseTo(expected[i], 4); });
  }
  const other = await runCli(train('other', '--iterations', '1', '--widths', '8,8,4', ...from), env);
  expect(other.stderr).toContain('widths');
});

test('eval tells loss, accuracy and every class of the checkpoint', async () => {
  const checkpoint = join(folder, 'json', 'last.safetensors');
  const { code, stdout, stderr } = await runCli(['eval', checkpoint, ...data(), '--json'], env);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const report = JSON.parse(stdout) as { accuracy: number; classes: { name: string; images: number; accuracy: number }[] };
  expect(report).toMatchObject({ checkpoint, dataset: 'MNIST test', images: 50 });
  expect(report.accuracy).toBeGreaterThan(0.8);
  expect(report.classes.map(({ name, images }) => [name, images])).toEqual(Array.from({ length: 10 }, (_, digit) => [String(digit), 5]));
  const mean = report.classes.reduce((sum, each) => sum + each.accuracy, 0) / 10;
  expect(report.accuracy).toBeCloseTo(mean, 10);
});

test('eval prints a table for people', async () => {
  const { stdout } = await runCli(['eval', join(folder, 'json', 'last.safetensors'), ...data()], env);
  expect(stdout).toMatch(/^MNIST test, 50 images\naccuracy [\d.]+%, loss [\d.]+\n\nclass +images +accuracy +most often taken for\n/);
  expect(stdout).toMatch(/^9 +5 +[\d.]+% +(–|\d \(\d\))$/m);
});

test('eval names a folder without the images of the data set', async () => {
  const cifar = join(folder, 'no images');
  await mkdir(cifar);
  const { code, stderr } = await runCli(['eval', join(folder, 'json', 'last.safetensors'), '--source', cifar, ...onTestDevice], env);
  expect(code).toBe(2);
  expect(stderr).toContain(cifar);
});

test('the first SIGINT ends with a checkpoint and the command to go on, which gives the weights of an uninterrupted run', async () => {
  // A loss, learnable curvatures and an augmentation with state of their own.
  const iterations = isEmulated ? 25 : 150;
  const options = [
    '--iterations', String(iterations), '--loss', 'ga-softmax', '--learnable', 'layer', '--augment', 'full', '--checkpoint-every', '1000',
  ];
  const { child, outcome } = startCli(train('interrupted run', ...options), env);
  await waitForLog(join(folder, 'interrupted run', 'log.jsonl'));
  child.kill('SIGINT');
  const { code, stderr } = await outcome;
  expect(code).toBe(130);
  expect(stderr).toContain('Finishing this step; Ctrl+C again stops at once.');
  const [, steps, command] = /Interrupted after (\d+) steps\. To go on:\n {2}(.*)\n$/.exec(stderr)!;
  expect(Number(steps)).toBeLessThan(iterations);

  const [resumed, whole] = await Promise.all([
    runShell(`OMP_NUM_THREADS=1 ${command}`),
    runCli(train('whole', ...options), env),
  ]);
  expect([resumed.code, whole.code]).toEqual([0, 0]);
  expect(await weightsOf('interrupted run')).toEqual(await weightsOf('whole'));
}, 120_000);

test('the second SIGINT ends the process at once', async () => {
  const many = join(folder, 'many');
  await writeTinyMnist(many, { train: 20, test: 40_000 });
  // The evaluation after the first step takes long.
  const args = train('twice', '--iterations', '2', '--eval-every', '1', '--source', many);
  const { child, outcome } = startCli(args, env);
  await waitForLog(join(folder, 'twice', 'log.jsonl'));
  const told = waitForOutput(child, 'Finishing this step');
  child.kill('SIGINT');
  await told;
  // Soon after the first one it is taken for its echo, so again and again.
  const again = setInterval(() => child.kill('SIGINT'), 50);
  const { code, stderr } = await outcome;
  clearInterval(again);
  // Null where one more came while the process ended.
  expect([130, null]).toContain(code);
  expect(stderr).not.toContain('Interrupted after');
});

test.each([['SIGTERM', 143], ['SIGHUP', 129]] as const)('%s ends with a checkpoint too; the same command again loses nothing', async (signal, expected) => {
  const args = train(signal, '--iterations', '100000');
  const { child, outcome } = startCli(args, env);
  await waitForLog(join(folder, signal, 'log.jsonl'));
  child.kill(signal);
  // As a terminal that closes sends it, and the shell too.
  child.kill(signal);
  const { code, stderr } = await outcome;
  expect(code).toBe(expected);
  expect(stderr).toContain(`Finishing this step; ${signal} again stops at once.`);
  const before = await weightsOf(signal);
  expect(before.size).toBeGreaterThan(0);
  const again = await runCli(args, env);
  expect(again.code).toBe(2);
  expect(again.stderr).toMatch(/error: --output: .* holds a run already: .*--resume .*--overwrite/);
  expect(await weightsOf(signal)).toEqual(before);
}, 60_000);

test('--resume takes what is not given from the checkpoint, refuses what differs, and --change takes it', async () => {
  const resume = (...options: string[]) =>
    runCli(['train', '--resume', join(folder, 'json', 'last.safetensors'), '--iterations', '62', ...onTestDevice, ...options], env);
  const refused = await resume('--learning-rate', '1e-5', '--augment', 'flip', '--batch-size', '20');
  expect(refused.code).toBe(2);
  expect(refused.stderr).toMatch(/schedule\.learningRate is 0\.001 .*; loader\.augment\.flipHorizontal is false .*--change learning-rate,flip-horizontal/);
  expect((await resume('--learning-rate', '1e-5', '--change', 'learning-rate')).code).toBe(0);
  const log = (await readFile(join(folder, 'json', 'log.jsonl'), 'utf8')).trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
  const [first, second] = log.filter(({ event }) => event === 'start');
  expect(second).toMatchObject({ iteration: 60, config: first['config'], batchSize: 20, settings: { schedule: { learningRate: 1e-5, milestones: [50] } } });
  expect(log.find(({ event }) => event === 'change')).toMatchObject({
    iteration: 60, changes: [{ option: 'iterations', from: 60, to: 62 }, { option: 'schedule.learningRate', from: 1e-3, to: 1e-5 }],
  });
});

function waitForOutput(child: ChildProcess, text: string): Promise<void> {
  return new Promise((resolve) => {
    child.stderr!.on('data', (chunk: string) => { if (chunk.includes(text)) resolve(); });
  });
}

/** Resolves when a training step has been logged. */
async function waitForLog(path: string): Promise<void> {
  for (;;) {
    const text = await readFile(path, 'utf8').catch(() => '');
    if (text.includes('"event":"train"')) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
