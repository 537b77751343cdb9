import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { experiments } from '../../lib/paper/experiments';
import type { PaperSummary } from '../../lib/paper/report';
import { onTestDevice, runCli } from './cli';
import { writeTinyMnist } from './idx';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
  await writeTinyMnist(folder, { train: 130, test: 20 });
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const env = { OMP_NUM_THREADS: '1' };
const paper = (...options: string[]) => runCli([
  'paper', 'table1', '--data', 'mnist', '--source', folder, ...onTestDevice, '--cells', 'cosine/cosine-w-softmax,original/a-softmax',
  '--seeds', '0', '--widths', '4,4,4', '--iterations', '3', '--output', join(folder, 'run'), ...options,
], env);

test('a run that is out of time is gone on with by the same command', async () => {
  const stopped = await paper('--minutes', '0.01', '--json');
  expect(stopped.code).toBe(0);
  const progress = ({ stdout }: typeof stopped) =>
    (JSON.parse(stdout) as PaperSummary).cells.flatMap(({ runs }) => runs.map(({ iteration }) => iteration));
  expect(progress(stopped)).toEqual([1, 0]);
  expect(stopped.stderr).toContain('To go on, run the same command again.');

  const resumed = await paper('--json');
  expect(resumed.code).toBe(0);
  expect(progress(resumed)).toEqual([3, 3]);
  expect(resumed.stderr).toMatch(/^original\/a-softmax, step 3: accuracy [\d.]+%, loss [\d.]+ on 20 test images; /m);
  expect(resumed.stderr).not.toContain('To go on');
});

test('the table is for people, the same one as in the report', async () => {
  const { code, stdout } = await paper();
  expect(code).toBe(0);
  const [, last] = /^Cosine +Cosine W-Softmax +3 +[\d.]+ +([\d.]+) /m.exec(stdout)!;
  expect(await readFile(join(folder, 'run', 'report.md'), 'utf8')).toContain(`| ${last} |`);
});

test('another setting for the same folder is one sentence', async () => {
  const { code, stderr } = await paper('--iterations', '4');
  expect({ code, stderr: stderr.replace(/^Using .*\n/, '') }).toEqual({
    code: 2,
    stderr: `error: --iterations is 3 in ${join(folder, 'run', 'setting.json')}, but 4 in this run; it needs another output folder\n`,
  });
});

test('without a name, the experiments are listed with what they show and cost', async () => {
  const { code, stdout } = await runCli(['paper']);
  expect(code).toBe(0);
  for (const { name, title, shows } of experiments) {
    expect(stdout).toMatch(new RegExp(`^${name} .* ${title.replaceAll(/[()+]/g, '\\$&')}$`, 'm'));
    expect(stdout).toContain(`${name}: ${shows}`);
  }
  expect(stdout).toMatch(/^table1 +8 min +5 × 64,000 steps /m);
});
