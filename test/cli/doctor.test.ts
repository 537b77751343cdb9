import { existsSync } from 'node:fs';
import { deviceInfo } from '../../lib/device';
import { runCli } from './cli';

test('doctor --json prints one document and nothing else', async () => {
  const { code, stdout, stderr } = await runCli(['doctor', '--json'], { OMP_NUM_THREADS: '1' });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const report = JSON.parse(stdout) as Record<string, unknown> & { addon: string; devices: { name: string; state: string }[] };
  expect(report).toMatchObject({ threads: 1, ompNumThreads: '1', node: process.versions.node });
  expect(report['onednn']).toMatch(/^\d+\.\d+/);
  expect(['baseline', 'avx2', 'avx512']).toContain(report['instructionSet']);
  expect(existsSync(report.addon)).toBe(true);
  expect(report.devices.map(({ name }) => name)).toEqual(['cpu', 'cuda']);
  expect(report.devices[0].state).toBe('available');
  expect(report['cuda']).toEqual(deviceInfo().cuda);
});

test('doctor says what set the number of threads', async () => {
  const { stdout } = await runCli(['doctor'], { OMP_NUM_THREADS: '50' });
  expect(stdout).toMatch(/^ {2}threads +50 of \d+ \(OMP_NUM_THREADS=50; affinity and cgroup quota leave \d+: more threads wait for each other\)$/m);
});

// libgomp prints its settings, on stderr.
test.each([[{}, '300'], [{ GOMP_SPINCOUNT: '77' }, '77']])('threads without work spin briefly, or as the user says: %p', async (given, count) => {
  // scripts/test has a policy of its own.
  const { stderr } = await runCli(['doctor'], { OMP_WAIT_POLICY: undefined, OMP_DISPLAY_ENV: 'verbose', ...given });
  expect(stderr).toContain(`GOMP_SPINCOUNT = '${count}'`);
});

test('doctor says for every device whether it can be used, and why not', async () => {
  const { code, stdout } = await runCli(['doctor']);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^ {2}cpu +available: /m);
  expect(stdout).toMatch(/^ {2}cuda +(available:|detected but unusable, because|not there:) .+/m);
  const { cuda } = deviceInfo();
  expect(stdout).toContain(cuda.available ? cuda.name : cuda.reason);
});

test('a slip in SPHERENET_ISA is named, with what it may be', async () => {
  const { code, stderr } = await runCli(['doctor'], { SPHERENET_ISA: 'avx3' });
  expect({ code, stderr }).toEqual({ code: 2, stderr: 'error: SPHERENET_ISA must be baseline, avx2 or avx512, but is avx3\n' });
});

test('a slip in OMP_NUM_THREADS ends nothing', async () => {
  const { code, stdout } = await runCli(['doctor', '--json'], { OMP_NUM_THREADS: '100000' });
  expect(code).toBe(0);
  expect((JSON.parse(stdout) as { threads: number }).threads).toBeLessThan(100_000);
});
