// The steps of scripts/device-check. Each gets { root, addon, result, options } and returns an outcome: `ok` or `state`,
// `why`, `seconds`, and counts where there are any. Without a vital one, the others have nothing to stand on.
const { spawnSync } = require('node:child_process');
const { closeSync, existsSync, openSync, readFileSync, rmSync } = require('node:fs');
const { availableParallelism, tmpdir } = require('node:os');
const path = require('node:path');
const { run, runJest } = require('./run');

const precisions = ['fp32', 'tf32', 'bf16'];
const cli = path.join('dist', 'cli', 'main.js');
// Every worker of jest has a context of its own on the GPU.
const workers = Math.min(4, availableParallelism());

// It fills the GPU, so nothing else may be there.
const memory = 'test/devices/memory';
const parity = 'test/devices/(parity|precision)';

const steps = [
  { name: 'build', minutes: 25, act: build, vital: true },
  { name: 'doctor', minutes: 2, act: doctor, vital: true },
  { name: 'parity', minutes: 5, act: jest([parity]) },
  { name: 'training', minutes: 5, act: jest(['test/devices/training']) },
  { name: 'memory', minutes: 3, act: jest([memory]) },
  ...precisions.flatMap((precision) => [
    { name: `bench layers ${precision}`, minutes: 6, act: bench('layers', precision) },
    { name: `bench step ${precision}`, minutes: 6, act: bench('step', precision) },
  ]),
  { name: 'suite', minutes: 10, act: jest([`--maxWorkers=${workers}`, '--testPathIgnorePatterns', memory]) },
  { name: 'memcheck parity', minutes: 8, act: sanitizer('memcheck', [], [parity]) },
  { name: 'memcheck graph', minutes: 4, act: sanitizer('memcheck', [], ['test/devices/graph', '-t', 'a captured graph']) },
  // cuBLAS answers for its own kernels.
  { name: 'racecheck', minutes: 8, act: sanitizer('racecheck', ['--kernel-name-exclude', 'kns=gemm,kns=cutlass,kns=cublas'], [parity]) },
];

/** Threads for the cpu's share of the tests, so that the workers do not get into each other's way. */
function threads() {
  return Math.max(1, Math.floor(availableParallelism() / workers));
}

function skipped(why) {
  return { state: 'skipped', why };
}

/** Where there are sources: the JavaScript of the command line, and the addon unless one was named. */
async function build({ root, addon, options }) {
  if (!existsSync(path.join(root, 'CMakeLists.txt'))) return skipped('a bundle brings its addon');
  const tsc = path.join('node_modules', 'typescript', 'bin', 'tsc');
  const compiled = await run(process.execPath, [tsc, '--project', 'tsconfig.build.json'], options);
  if (!compiled.ok || addon !== root) return compiled;
  const built = await run(process.execPath, [path.join('scripts', 'build-addon.js')], options);
  return { ...built, seconds: compiled.seconds + built.seconds };
}

async function doctor({ result, options }) {
  const outcome = await spherenet(['doctor'], options);
  if (!outcome.ok) return outcome;
  const { cuda, processor, system, node } = outcome.document;
  Object.assign(result, { device: { ...cuda, driverVersion: driverVersion() }, host: { processor, system, node } });
  return cuda.available ? outcome : { ...outcome, ok: false, why: cuda.reason };
}

function driverVersion() {
  const { stdout, status } = spawnSync('nvidia-smi', ['--query-gpu=driver_version', '--format=csv,noheader', '--id=0'], { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : null;
}

/** Tests that skip themselves prove nothing. */
function proven(outcome) {
  return outcome.ok && outcome.passed === 0 ? { ...outcome, ok: false, why: 'no test ran' } : outcome;
}

function jest(args) {
  return async ({ root, options }) => proven(await runJest(root, [process.execPath], ['--ci', ...args], options));
}

function sanitizer(tool, filter, tests) {
  return async ({ root, result, options }) => {
    if (result.device.emulated) return skipped('the device is emulated');
    const program = findSanitizer();
    if (!program) return skipped('compute-sanitizer is not there');
    const runner = [program, '--tool', tool, '--error-exitcode', '99', '--print-limit', '20', ...filter, process.execPath];
    return proven(await runJest(root, runner, ['--ci', '--runInBand', '--testTimeout=600000', ...tests], options));
  };
}

function findSanitizer() {
  const toolkit = process.env.CUDA_HOME ?? '/usr/local/cuda';
  const folders = [...(process.env.PATH ?? '').split(path.delimiter), path.join(toolkit, 'bin')];
  return folders.map((folder) => path.join(folder, 'compute-sanitizer')).find((file) => existsSync(file));
}

/** Whether the Python that `spherenet bench --peer pytorch` takes has a torch for this GPU. */
function hasTorch() {
  const named = process.env.SPHERENET_PYTHON;
  const check = ['-c', 'import torch; print(torch.cuda.is_available())'];
  const answers = (named ? [named] : ['python3', '/usr/bin/python3']).map((python) => spawnSync(python, check, { encoding: 'utf8', timeout: 60_000 }));
  return answers.find(({ status }) => status === 0)?.stdout.trim() === 'True';
}

function bench(what, precision) {
  return async ({ result, options }) => {
    const args = ['bench', '--device', 'cuda', '--precision', precision, ...(what === 'step' ? ['--step'] : [])];
    // What a call costs does not depend on the case: once is enough.
    if (what !== 'step' || precision !== precisions[0]) args.push('--no-overhead');
    if (!result.device.emulated && hasTorch()) args.push('--peer', 'pytorch', '--no-resident');
    // The emulated device is for tests: it has to run, not to be fast.
    if (result.device.emulated) args.push('--batch-size', '2', ...(what === 'step' ? ['--widths', '4,4,4'] : ['--shapes', '3:8@8']));
    const outcome = await spherenet(args, options);
    if (outcome.document) result.benchmarks.push({ what, precision, ...outcome.document });
    return outcome;
  };
}

/** Runs a subcommand of the command line that prints one JSON document. */
async function spherenet(args, options) {
  const file = path.join(tmpdir(), `device-check-${process.pid}.json`);
  const output = openSync(file, 'w');
  try {
    const outcome = await run(process.execPath, [cli, ...args, '--json'], { ...options, stdio: ['ignore', output, options.stdio[2]] });
    return { ...outcome, document: outcome.ok ? JSON.parse(readFileSync(file, 'utf8')) : undefined };
  } finally {
    closeSync(output);
    rmSync(file, { force: true });
  }
}

module.exports = { steps, threads };
