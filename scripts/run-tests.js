// Lint, format, architecture, types, native tests, jest, and what can be tested of the CUDA device without one; one
// after the other, also when one fails; then the sum of all.
const { spawnSync } = require('node:child_process');
const { availableParallelism } = require('node:os');
const path = require('node:path');
const { run, runJest } = require('./lib/run');
const { onCuda, underSanitizers } = require('./lib/testDevices');

const usage = `Usage: scripts/test [--emulated] [--sanitized] [what jest takes]
Without arguments every test runs: on the cpu, on the emulated CUDA device, and there under the sanitizers.
With arguments they go to jest, and it runs on the cpu alone but for
  --emulated     on the emulated CUDA device as well
  --sanitized    there under the address and undefined behaviour sanitizers as well
Examples:
  scripts/test
  scripts/test test/ops -t sphere
  scripts/test --emulated test/ops`;

const root = path.resolve(__dirname, '..');
// What computes: the operators, and all that is made of them.
const onCudaDevice = [
  'test/ops', 'test/nn', 'test/losses', 'test/optim', 'test/models', 'test/train', 'test/devices',
  'test/autograd.test.ts', 'test/tensor.test.ts', 'test/device.test.ts',
];

// Threads that wait asleep: the many small operators of the tests must not slow down with what else the machine does.
const env = { OMP_WAIT_POLICY: 'passive', ...process.env };
const minutes = 20;
const results = [];

function bin(name) {
  return path.join(root, 'node_modules', '.bin', name);
}

function title(name) {
  console.log(`\n> ${name}`);
}

function record(name, { passed, failed, seconds, why }) {
  results.push({ name, passed, failed, seconds });
  if (why) console.log(`${name}: ${why}`);
}

async function step(name, [command, ...args], passed) {
  title(name);
  const outcome = await run(command, args, { cwd: root, env, minutes });
  record(name, { ...outcome, passed: outcome.ok ? passed : 0, failed: outcome.ok ? 0 : 1 });
  return outcome.ok;
}

/** A step that counts as one test. */
function check(name, command) {
  return step(name, command, 1);
}

function checkScript(name, script, ...args) {
  return check(name, [process.execPath, path.join('scripts', script), ...args]);
}

/** A step that others need: it counts only when it fails. */
function build(name, command) {
  return step(name, command, 0);
}

async function jest(name, args, extraEnv = {}, limit = minutes) {
  title(name);
  record(name, await runJest(root, [process.execPath], args, { env: { ...env, ...extraEnv }, minutes: limit }));
}

function kernelReport() {
  return checkScript('kernel report', 'kernel-report.js', '--top', '10');
}

async function nativeTests() {
  const folder = path.join('build', 'native-tests');
  const built =
    (await build('cmake', ['cmake', '-S', '.', '-B', folder, '-DSPHERENET_TESTS=ON', '-DSPHERENET_STRICT=ON', '-DCMAKE_BUILD_TYPE=Release'])) &&
    (await build('build of the native tests', ['cmake', '--build', folder, '--parallel', String(availableParallelism())]));
  if (!built) return;
  runNativeTests('native tests', folder);
  // Other layouts and algorithms of oneDNN, which a processor with AVX-512 would never run.
  runNativeTests('native tests with AVX2', folder, { DNNL_MAX_CPU_ISA: 'AVX2', SPHERENET_ISA: 'avx2' });
}

function runNativeTests(name, folder, extraEnv = {}) {
  title(name);
  const start = Date.now();
  const options = { encoding: 'utf8', env: { ...env, ...extraEnv }, timeout: minutes * 60_000 };
  const { stdout, status } = spawnSync(path.join(root, folder, 'native_tests'), options);
  console.log(stdout);
  const [passed, failed] = /native: (\d+) passed, (\d+) failed/.exec(stdout ?? '')?.slice(1).map(Number) ?? [0, 0];
  // A crash prints no counts.
  record(name, { passed, failed: failed || (status === 0 ? 0 : 1), seconds: (Date.now() - start) / 1000 });
}

function buildAddon(name, variant) {
  return build(name, [process.execPath, path.join('scripts', 'build-addon.js'), variant]);
}

async function emulatedTests(args) {
  if (!(await buildAddon('build of the emulated device', '--emulated'))) return;
  await jest('jest on the emulated device', args, onCuda(path.join(root, 'build', 'emulated')));
}

async function sanitizedTests(args) {
  if (!(await buildAddon('build with sanitizers', '--sanitized'))) return;
  const sanitized = { ...onCuda(path.join(root, 'build', 'sanitized')), ...underSanitizers() };
  await jest('jest under the sanitizers', ['--runInBand', '--testTimeout=600000', ...args], sanitized, 50);
}

function printSum() {
  const sum = (key) => results.reduce((total, result) => total + result[key], 0);
  console.log('');
  for (const { name, passed, failed, seconds } of results) {
    console.log(`${name.padEnd(32)}${String(passed).padStart(6)} passed, ${failed} failed${seconds.toFixed(0).padStart(7)} s`);
  }
  console.log(`\n${sum('passed')} passed, ${sum('failed')} failed`);
  process.exitCode = sum('failed') === 0 && sum('passed') > 0 ? 0 : 1;
}

async function main() {
  const given = process.argv.slice(2);
  if (given.includes('--help')) return console.log(usage);
  const everything = given.length === 0;
  const args = given.filter((argument) => !['--emulated', '--sanitized'].includes(argument));
  await check('lint', [bin('eslint'), '.']);
  await checkScript('format of C++', 'format.js', '--check', 'cpp');
  await checkScript('format of TypeScript', 'format.js', '--check', 'typescript');
  await checkScript('picture of the architecture', 'architecture.js', '--check');
  await check('types', [bin('tsc'), '--noEmit']);
  await nativeTests();
  await jest('jest on the cpu', args);
  if (everything) await kernelReport();
  const cudaArgs = args.length > 0 ? args : onCudaDevice;
  if (everything || given.includes('--emulated')) await emulatedTests(cudaArgs);
  if (everything || given.includes('--sanitized')) await sanitizedTests(cudaArgs);
  printSum();
}

void main();
