// Lint, types, native tests and jest, one after the other, also when one fails; then the sum of all.
const { spawnSync } = require('node:child_process');
const { mkdtempSync, readFileSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const path = require('node:path');

const root = path.resolve(__dirname, '..');
const scratch = mkdtempSync(path.join(tmpdir(), 'spherenet-test-'));
const total = { passed: 0, failed: 0 };

// Threads that wait asleep: the many small operators of the tests must not slow down with what else the machine does.
const env = { OMP_WAIT_POLICY: 'passive', ...process.env };

function run(command, args) {
  console.log(`\n> ${[path.basename(command), ...args].join(' ')}`);
  return spawnSync(command, args, { cwd: root, env, stdio: 'inherit' }).status === 0;
}

function bin(name) {
  return path.join(root, 'node_modules', '.bin', name);
}

/** A step that counts as one test. */
function single(succeeded) {
  total[succeeded ? 'passed' : 'failed'] += 1;
}

function nativeTests() {
  const build = path.join('build', 'native-tests');
  const built =
    run('cmake', ['-S', '.', '-B', build, '-DSPHERENET_TESTS=ON', '-DCMAKE_BUILD_TYPE=Release']) &&
    run('cmake', ['--build', build, '--parallel', '2']);
  if (!built) return single(false);
  console.log('\n> native_tests');
  const { stdout, status } = spawnSync(path.join(root, build, 'native_tests'), { encoding: 'utf8', env });
  console.log(stdout);
  const counts = /native: (\d+) passed, (\d+) failed/.exec(stdout ?? '');
  // A crash prints no counts.
  if (!counts) return single(false);
  total.passed += Number(counts[1]);
  total.failed += Number(counts[2]) || (status === 0 ? 0 : 1);
}

function jestTests(args) {
  const report = path.join(scratch, 'jest.json');
  const succeeded = run(bin('jest'), ['--json', `--outputFile=${report}`, ...args]);
  try {
    const { numPassedTests, numFailedTests, numRuntimeErrorTestSuites } = JSON.parse(readFileSync(report, 'utf8'));
    total.passed += numPassedTests;
    total.failed += numFailedTests + numRuntimeErrorTestSuites;
  } catch {
    single(succeeded);
  }
}

const jestArguments = process.argv.slice(2);
single(run(bin('eslint'), ['.']));
single(run(bin('tsc'), ['--noEmit']));
nativeTests();
jestTests(jestArguments);
rmSync(scratch, { recursive: true, force: true });
console.log(`\n${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
