import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BenchmarkDocument } from '../../lib/experiments/benchmarkReport';
import { runCli } from './cli';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const tiny = ['--shapes', '3:8@8', '--batch-size', '2', '--operators', 'sigmoid,linear', '--repeats', '7'];

test('bench --json prints one document of machine and rows, and --output writes the same with a chart', async () => {
  const { code, stdout, stderr } = await runCli(['bench', ...tiny, '--json', '--output', folder]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const { machine, rows } = JSON.parse(stdout) as BenchmarkDocument;
  expect(machine).toMatchObject({ threads: expect.any(Number) as number, onednn: expect.any(String) as string });
  expect(rows).toHaveLength(4 * 3);
  expect(new Set(rows.map(({ engine, operator }) => `${engine} ${operator}`))).toEqual(
    new Set(['onednn plain', 'spherenet plain', 'spherenet sigmoid', 'spherenet linear']),
  );
  for (const row of rows) {
    expect(row).toMatchObject({ case: 'conv3x3 3->8 8x8 b2', device: 'cpu', repeats: 7 });
    expect(['forward', 'backward', 'both']).toContain(row.pass);
    expect(row.p25).toBeGreaterThan(0);
    expect(row.p25).toBeLessThanOrEqual(row.ms);
    expect(row.ms).toBeLessThanOrEqual(row.p75);
  }
  expect((await readdir(folder)).sort()).toEqual(['benchmark.json', 'benchmark.png', 'benchmark.svg']);
  expect(JSON.parse(await readFile(join(folder, 'benchmark.json'), 'utf8'))).toEqual({ machine, rows });
});

test('bench prints the ratio to bare oneDNN for people', async () => {
  const { code, stdout } = await runCli(['bench', ...tiny]);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^ +forward +backward +both +× oneDNN, bare +peak memory$/m);
  expect(stdout).toMatch(/^SphereConv sigmoid .* \d+\.\d\d +[\d.]+ KiB$/m);
});

test('bench --step holds SphereNet-9 against plain CNN-9', async () => {
  const { code, stdout } = await runCli(['bench', '--step', '--widths', '4,4,4', '--batch-size', '2', '--operators', 'cosine', '--json']);
  expect(code).toBe(0);
  const { rows } = JSON.parse(stdout) as BenchmarkDocument;
  expect(rows.map(({ case: name, operator, pass }) => [name, operator, pass])).toEqual([
    ['step spherenet9 4/4/4 b2', 'plain', 'step'],
    ['step spherenet9 4/4/4 b2', 'cosine', 'step'],
  ]);
});
