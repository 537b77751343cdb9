// Tests and measures the CUDA device where there is a GPU: one result.json and one result.md, written after each step.
const { spawnSync } = require('node:child_process');
const { existsSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } = require('node:fs');
const path = require('node:path');
const { resultText } = require('./lib/deviceResult');
const { steps, threads } = require('./lib/deviceSteps');
const { readOptions } = require('./lib/options');
const { onCuda } = require('./lib/testDevices');

// "bench layers fp32" is asked for as "bench".
const kindOf = ({ name }) => name.split(' ')[0];
const kinds = [...new Set(steps.map(kindOf))];

const usage = `Usage: scripts/device-check [options]
Builds the addon, runs the tests on the CUDA device, some of them under compute-sanitizer, and times layers and
training steps. Each step has a time limit, and the failure of one does not stop the others.
  --output <folder>  for result.json, result.md and device-check.log (default: bench/results/GPU-DATE)
  --addon <folder>   take the addon in its build/Release in place of building one, such as build/emulated
  --only <list>      of ${kinds.join(', ')}`;

const root = path.resolve(__dirname, '..');

function textOf(command, args) {
  const { stdout, status } = spawnSync(command, args, { cwd: root, encoding: 'utf8' });
  return status === 0 ? stdout.trim() : null;
}

/** Of the sources; a bundle has it written down. */
function commit() {
  const bundle = path.join(root, 'bundle.json');
  if (existsSync(bundle)) return JSON.parse(readFileSync(bundle, 'utf8')).commit;
  const head = textOf('git', ['rev-parse', 'HEAD']);
  return head && textOf('git', ['status', '--porcelain']) ? `${head}, changed` : head;
}

function defaultOutput(date) {
  const gpu = textOf('nvidia-smi', ['--query-gpu=name', '--format=csv,noheader', '--id=0']) ?? 'no gpu';
  return path.join(root, 'bench', 'results', `${gpu.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}-${date.slice(0, 10)}`);
}

function chosenSteps(only) {
  const asked = only.split(',');
  const unknown = asked.find((kind) => !kinds.includes(kind));
  if (unknown !== undefined) {
    console.error(`--only knows no step "${unknown}"\n\n${usage}`);
    process.exit(2);
  }
  return steps.filter((step) => step.name === 'doctor' || asked.includes(kindOf(step)));
}

/** Runs a step and writes down all there is so far. Returns whether it did not fail. */
async function take({ name, minutes, act }, context) {
  process.stderr.write(`  ${name.padEnd(20)}`);
  writeSync(context.log, `\n> ${name}\n`);
  const options = { cwd: root, env: context.env, minutes, stdio: ['ignore', context.log, context.log] };
  const outcome = await act({ ...context, options }).catch((error) => ({ ok: false, why: error.message }));
  const { ok, state = ok ? 'passed' : 'failed', why, seconds = 0, passed, failed, skipped, failures } = outcome;
  process.stderr.write(`${seconds.toFixed(1).padStart(7)} s  ${state}${why ? `: ${why}` : ''}\n`);
  context.result.steps.push({ name, state, why, seconds, passed, failed, skipped, failures });
  save(context);
  return state !== 'failed';
}

function save({ result, output }) {
  writeFileSync(path.join(output, 'result.json'), `${JSON.stringify(result, null, 2)}\n`);
  writeFileSync(path.join(output, 'result.md'), resultText(result));
}

async function main() {
  const text = (value) => ({ type: 'string', default: value });
  const { values } = readOptions(usage, { output: text(), addon: text(root), only: text(kinds.join(',')) });
  const chosen = chosenSteps(values.only);
  const result = { date: new Date().toISOString(), commit: commit(), device: null, host: null, steps: [], benchmarks: [] };
  const [output, addon] = [path.resolve(values.output ?? defaultOutput(result.date)), path.resolve(values.addon)];
  mkdirSync(output, { recursive: true });
  const log = openSync(path.join(output, 'device-check.log'), 'w');
  const env = { OMP_WAIT_POLICY: 'passive', OMP_NUM_THREADS: String(threads()), ...process.env, ...onCuda(addon) };
  for (const step of chosen) {
    const passed = await take(step, { root, addon, result, output, log, env });
    if (!passed) process.exitCode = 1;
    if (!passed && step.vital) break;
  }
  process.stderr.write(`Results: ${output}\n`);
}

void main();
