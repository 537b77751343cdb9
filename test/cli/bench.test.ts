import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deviceInfo } from '../../lib/device';
import type { BenchmarkDocument } from '../../lib/bench/report';
import { FolderLock } from '../../lib/folderLock';
import { hasCuda, testDevice } from '../support/device';
import { onTestDevice, runCli } from './cli';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const tiny = [
  '--shapes', '3:8@8', '--batch-size', '2', '--operators', 'sigmoid,linear', '--repeats', '7', '--no-overhead', ...onTestDevice,
];
const contenders = ['spherenet plain', 'spherenet sigmoid', 'spherenet linear'];
// The bare convolution of oneDNN is the cpu's.
if (testDevice === 'cpu') contenders.push('onednn plain');

async function bench(...args: string[]): Promise<BenchmarkDocument> {
  const { code, stdout, stderr } = await runCli(['bench', ...args, '--json']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as BenchmarkDocument;
}

test('bench --json prints one document of machine and rows, and --output writes the same with a chart', async () => {
  const document = await bench(...tiny, '--output', folder);
  const { machine, rows } = document;
  expect(Object.keys(document)).toEqual(['machine', 'rows']);
  expect(machine).toMatchObject({ threads: expect.any(Number) as number, onednn: expect.any(String) as string });
  if (testDevice === 'cuda') expect(machine.gpu).toMatchObject({ precision: 'fp32', name: expect.any(String) as string });
  else expect(machine).not.toHaveProperty('gpu');
  expect(machine.roofs).toEqual([
    { device: testDevice, precision: 'fp32', gflops: expect.any(Number) as number, gbps: expect.any(Number) as number },
  ]);
  expect(rows).toHaveLength(contenders.length * 3);
  expect(new Set(rows.map(({ engine, operator }) => `${engine} ${operator}`))).toEqual(new Set(contenders));
  for (const row of rows) {
    expect(row).toMatchObject({ case: 'conv3x3 3->8 8x8 b2', device: testDevice, precision: 'fp32', repeats: 7 });
    expect(['forward', 'backward', 'both']).toContain(row.pass);
    expect(row.p25).toBeGreaterThan(0);
    expect(row.p25).toBeLessThanOrEqual(row.ms);
    expect(row.ms).toBeLessThanOrEqual(row.p75);
    for (const rate of [row.gflops, row.gbps, row.roofShare]) expect(rate).toBeGreaterThan(0);
    if (row.engine === 'onednn') expect(row.peakBytes).toBeNull();
    else expect(row.peakBytes).toBeGreaterThan(0);
  }
  expect((await readdir(folder)).sort()).toEqual(['benchmark.json', 'benchmark.png', 'benchmark.svg']);
  expect(JSON.parse(await readFile(join(folder, 'benchmark.json'), 'utf8'))).toEqual(document);
});

test('bench prints a table for people, the ratio to the first contender: on the cpu bare oneDNN, else Conv2d', async () => {
  const { code, stdout } = await runCli(['bench', ...tiny]);
  expect(code).toBe(0);
  const first = testDevice === 'cpu' ? 'oneDNN, bare' : 'Conv2d';
  expect(stdout).toMatch(/^ +forward +backward +both +ratio +GFLOP\/s +GB\/s +roof +memory$/m);
  expect(stdout).toMatch(new RegExp(`^${first} .*\\) +1\\.00 `, 'm'));
  expect(stdout).toMatch(/^SphereConv sigmoid .*\) +\d+\.\d\d .* \d+% +[\d.]+ [KM]iB$/m);
});

test('every layer asked for is timed with every batch size', async () => {
  const { rows } = await bench(
    '--shapes', '3:4@8/s2,4:4@4/k4/p0', '--layers', 'cnn9', '--widths', '2,2,2', '--batch-size', '1,2', '--operators', 'cosine',
    '--repeats', '7', '--no-overhead', ...onTestDevice,
  );
  const layers = [
    'conv3x3 3->4 8x8 s2', 'conv4x4 4->4 4x4 p0',
    'conv3x3 3->2 32x32', 'conv3x3 2->2 32x32', 'conv3x3 2->2 16x16', 'conv3x3 2->2 8x8', 'conv4x4 2->256 4x4 p0',
  ];
  expect(new Set(rows.map((row) => row.case))).toEqual(new Set([1, 2].flatMap((size) => layers.map((each) => `${each} b${size}`))));
});

test('calls of operators come last, and a step of next to nothing', async () => {
  const { rows } = await bench('--shapes', '3:4@8', '--batch-size', '1', '--operators', 'cosine', '--repeats', '7', ...onTestDevice);
  const calls = rows.filter(({ overheadMicroseconds }) => overheadMicroseconds !== undefined);
  expect(calls.map(({ case: name, operator, pass }) => [name, operator, pass])).toEqual([
    ['call ops.add', 'plain', 'forward'],
    ['call native.add', 'plain', 'forward'],
    ['step spherenet9 4/4/4 b1', 'plain', 'step'],
    ['step spherenet9 4/4/4 b1', 'cosine', 'step'],
  ]);
  expect(rows.slice(-4)).toEqual(calls);
  for (const { ms, overheadMicroseconds } of calls) expect(overheadMicroseconds).toBeCloseTo(1000 * ms, 6);
});

const anyDevice = ['--shapes', '3:8@8', '--batch-size', '2', '--repeats', '7', '--no-overhead', '--json'];
const withoutGpu = deviceInfo().cuda.driver ? test.skip : test;

withoutGpu('without a GPU --device auto is the cpu, and no word about it', async () => {
  const { code, stdout, stderr } = await runCli(['bench', ...anyDevice]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect((JSON.parse(stdout) as BenchmarkDocument).rows.every(({ device }) => device === 'cpu')).toBe(true);
});

const withCuda = hasCuda ? test : test.skip;

withCuda('where there is one --device auto takes it, and says so', async () => {
  const { code, stdout, stderr } = await runCli(['bench', ...anyDevice]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: `Using cuda: ${deviceInfo().cuda.name}\n` });
  const { machine, rows } = JSON.parse(stdout) as BenchmarkDocument;
  expect([machine.gpu!.precision, new Set(rows.map(({ device }) => device))]).toEqual(['tf32', new Set(['cuda'])]);
});

test('several devices and precisions are measured in one run', async () => {
  const args = ['--shapes', '3:4@8', '--batch-size', '1', '--operators', 'cosine', '--repeats', '7', '--no-overhead'];
  const { machine, rows } = await bench(...args, '--device', hasCuda ? 'cpu,cuda' : 'cpu', '--precision', hasCuda ? 'fp32,bf16' : 'fp32');
  const settings = hasCuda ? ['cpu fp32', 'cuda fp32', 'cuda bf16'] : ['cpu fp32'];
  expect([...new Set(rows.map(({ device, precision }) => `${device} ${precision}`))]).toEqual(settings);
  expect(machine.roofs!.map(({ device, precision }) => `${device} ${precision}`)).toEqual(settings);
});

const tinyStep = ['--widths', '4,4,4', '--batch-size', '2', '--operators', 'cosine', '--repeats', '7', '--no-overhead', ...onTestDevice];

test('bench --step holds SphereNet-9 against plain CNN-9', async () => {
  const { rows } = await bench('--step', ...tinyStep);
  expect(rows.map(({ case: name, operator, pass }) => [name, operator, pass])).toEqual([
    ['step spherenet9 4/4/4 b2', 'plain', 'step'],
    ['step spherenet9 4/4/4 b2', 'cosine', 'step'],
  ]);
});

test('bench --network resnet18 --image-size names the size of the images', async () => {
  const { rows } = await bench('--network', 'resnet18', '--image-size', '8', ...tinyStep, '--widths', '4,4,4,4');
  expect(rows.map((row) => row.case)).toEqual(Array(2).fill('step sphereresnet18@8 4/4/4/4 b2'));
});

test('--profile tells where the time of a step of each network goes', async () => {
  const { rows, profile } = await bench('--network', 'cnn3', '--profile', ...tinyStep);
  expect(rows.map((row) => row.case)).toEqual(Array(2).fill('step spherenet3 4/4/4 b2'));
  expect(profile!.map((each) => [each.case, each.operator])).toEqual([
    ['step spherenet3 4/4/4 b2', 'plain'],
    ['step spherenet3 4/4/4 b2', 'cosine'],
  ]);
  for (const { ms, operators, rest } of profile!) {
    expect(operators.reduce((sum, each) => sum + each.ms, rest.ms)).toBeCloseTo(ms, 6);
  }
});

test('--compare gives a verdict on each row that the earlier run has too', async () => {
  await runCli(['bench', ...tiny, '--output', folder]);
  const file = join(folder, 'benchmark.json');
  const refused = await runCli(['bench', ...tiny, '--output', folder]);
  expect(refused.code).toBe(2);
  expect(refused.stderr).toMatch(/error: --output: .* holds a benchmark already: replace it with --overwrite/);
  const lock = (await FolderLock.take(folder))!;
  expect((await runCli(['bench', ...tiny, '--output', folder])).stderr).toContain(`${folder} is in use`);
  await lock.release();
  const { rows, comparison } = await bench(...tiny, '--shapes', '3:8@8,3:4@8', '--compare', file);
  expect(comparison).toMatchObject({ file, normalised: false });
  expect(comparison!.rows.map((row) => row.case)).toEqual(rows.map((row) => row.case).filter((name) => name === 'conv3x3 3->8 8x8 b2'));
  for (const { before, now, ratio, verdict } of comparison!.rows) {
    expect(ratio).toBeCloseTo(now / before, 10);
    expect(['faster', 'slower', 'same']).toContain(verdict);
  }
});

// The memory of a process is what /proc tells.
const onLinux = process.platform === 'linux' && testDevice === 'cpu' ? test : test.skip;

onLinux('--resident adds the memory of a process for each contender of ours', async () => {
  const args = ['--shapes', '3:4@8', '--batch-size', '1', '--operators', 'cosine', '--repeats', '7', '--no-overhead', ...onTestDevice];
  const { rows } = await bench(...args, '--resident');
  const measured = rows.filter(({ residentBytes }) => residentBytes !== undefined);
  expect(measured.map(({ engine, operator, pass }) => [engine, operator, pass])).toEqual([
    ['spherenet', 'plain', 'both'],
    ['spherenet', 'cosine', 'both'],
  ]);
  // What is added is beyond a test from sources: the compiler's heap shrinks meanwhile.
  for (const { residentBytes, residentBaseBytes } of measured) {
    expect(Math.min(residentBytes!, residentBaseBytes!)).toBeGreaterThan(10 * 2 ** 20);
  }
});

describe('what is wrong is told in one sentence before anything is measured', () => {
  const cases: [complaint: string, args: string[], env?: NodeJS.ProcessEnv][] = [
    ['--shapes must list layers as CHANNELS:FILTERS@PIXELS', ['--shapes', '3:8@8/q3']],
    ['--shapes: the filters of 3:8@4/k7/p0 are larger', ['--shapes', '3:8@4/k7/p0']],
    ['--widths of resnet18 must be 4 numbers', ['--layers', 'resnet18', '--widths', '4,4,4']],
    ['--network must be one of "cnn3"', ['--network', 'cnn10']],
    ['--widths of cnn9 must be 3 numbers', ['--step', '--widths', '4,4']],
    ['--peer tfjs needs TensorFlow.js', ['--peer', 'tfjs']],
    ['/nowhere/python (not found)', ['--peer', 'pytorch'], { SPHERENET_PYTHON: '/nowhere/python' }],
    ['--compare /nowhere.json: cannot be read', ['--compare', '/nowhere.json']],
  ];

  test.concurrent.each(cases)('%s', async (complaint, args, env) => {
    const { code, stdout, stderr } = await runCli(['bench', ...args, '--device', 'cpu'], env);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^error: [^\n]+\n$/);
    expect(stderr).toContain(complaint);
  });
});
