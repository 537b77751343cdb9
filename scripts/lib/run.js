// Commands with a time limit, and what jest says of a run.
const { spawn } = require('node:child_process');
const { existsSync, mkdtempSync, readFileSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const path = require('node:path');
const { clearTimeout, setTimeout } = require('node:timers');

/**
 * Runs a command to its end. What it started goes with it when time is up, or when this process is told to stop.
 * @returns `ok`, `why` not, and the `seconds` it took.
 */
function run(command, args, { cwd, env, stdio = ['ignore', 'inherit', 'inherit'], minutes }) {
  const start = Date.now();
  // A process group of its own, so that no grandchild outlives it.
  const child = spawn(command, args, { cwd, env, stdio, detached: true });
  const stop = () => {
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  };
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    stop();
  }, minutes * 60_000);
  const stopAll = () => {
    stop();
    process.exit(130);
  };
  process.once('SIGINT', stopAll).once('SIGTERM', stopAll);
  return new Promise((settle) => {
    const end = (ok, why) => {
      clearTimeout(timer);
      process.off('SIGINT', stopAll).off('SIGTERM', stopAll);
      settle({ ok, why: ok ? '' : why, seconds: (Date.now() - start) / 1000 });
    };
    child.once('error', (error) => { end(false, error.message); });
    child.once('close', (code, signal) => {
      if (timedOut) end(false, `not done after ${minutes} minutes`);
      else end(code === 0, signal ? `ended by ${signal}` : `exit code ${code}`);
    });
  });
}

/**
 * Runs jest and counts. A run that crashes, ends without a report or fails for no test counts as one failure.
 * @param runner what starts it: node and its options, or a tool before them
 * @returns what `run` returns, with `passed`, `failed`, `skipped` and the names of the `failures`.
 */
async function runJest(root, runner, args, options) {
  const scratch = mkdtempSync(path.join(tmpdir(), 'spherenet-test-'));
  const report = path.join(scratch, 'jest.json');
  const jest = path.join(root, 'node_modules', 'jest', 'bin', 'jest.js');
  const [command, ...before] = runner;
  try {
    const outcome = await run(command, [...before, jest, '--json', `--outputFile=${report}`, ...args], { cwd: root, ...options });
    const counts = existsSync(report) ? countsOf(JSON.parse(readFileSync(report, 'utf8'))) : noCounts;
    return { ...outcome, ...counts, failed: counts.failed || (outcome.ok ? 0 : 1) };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const noCounts = { passed: 0, failed: 0, skipped: 0, failures: [] };

function countsOf({ numPassedTests, numFailedTests, numPendingTests, numRuntimeErrorTestSuites, testResults }) {
  const suites = testResults.filter(({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0);
  const tests = testResults.flatMap(({ assertionResults }) => assertionResults).filter(({ status }) => status === 'failed');
  return {
    passed: numPassedTests,
    failed: numFailedTests + numRuntimeErrorTestSuites,
    skipped: numPendingTests,
    failures: [...suites.map(({ name }) => name), ...tests.map(({ fullName }) => fullName)],
  };
}

module.exports = { run, runJest };
