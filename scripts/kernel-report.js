// What the CUDA compiler made of each kernel, worst first: registers, spills, shared memory and stack by architecture.
// Fails when a kernel spills, and when there is a CUDA compiler but no report.
const { spawnSync } = require('node:child_process');
const path = require('node:path');
const { readKernels, worstOf } = require('./lib/kernels');
const { readOptions } = require('./lib/options');

const root = path.resolve(__dirname, '..');
const usage = `Usage: node scripts/kernel-report.js [options]
  --json         the figures as JSON
  --top <count>  only so many rows, and all that spill`;

function hasNvcc() {
  return spawnSync(process.env.CUDACXX ?? 'nvcc', ['--version']).status === 0;
}

function table(kernels, architectures) {
  const rows = kernels.map(({ name, source, usage }) => [
    ...architectures.map((architecture) => cell(usage[architecture])),
    `${name}  (${path.basename(source)})`,
  ]);
  const lines = [[...architectures, 'kernel'], ...rows];
  const widths = architectures.map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines.map((line) => line.map((text, column) => text.padEnd(widths[column] ?? 0)).join('  ')).join('\n');
}

function cell(usage) {
  if (!usage) return '-';
  const { registers, spillStores, spillLoads, shared, stack } = usage;
  return `${registers} / ${spillStores}+${spillLoads} / ${shared} / ${stack}`;
}

function summary(kernels, spilling, architectures) {
  const most = Math.max(...kernels.map((kernel) => worstOf(kernel).registers));
  const spills = spilling.length === 0 ? 'none spilling' : `${spilling.length} spilling`;
  return `${kernels.length} kernels for ${architectures.join(', ')}: ${spills}, at most ${most} registers`;
}

function printReport(kernels, spilling, top) {
  const architectures = [...new Set(kernels.flatMap(({ usage }) => Object.keys(usage)))].sort();
  // What fails is always shown.
  const shown = kernels.slice(0, Math.max(top, spilling.length));
  console.log('registers / bytes of spill stores + loads / of static shared memory / of stack\n');
  console.log(table(shown, architectures));
  if (shown.length < kernels.length) console.log(`... and ${kernels.length - shown.length} more`);
  console.log(`\n${summary(kernels, spilling, architectures)}`);
}

function noReports(json) {
  if (!hasNvcc()) {
    console.log(json ? '[]' : 'kernel report: skipped, there is no CUDA compiler (nvcc) here');
    return 0;
  }
  console.error('kernel report: nvcc is here, but build/cmake holds no report of a kernel.');
  console.error('Build the addon: npm run build:native. If nvcc came after the first build, delete build/cmake before.');
  return 1;
}

function main() {
  const { json, top } = readOptions(usage, { json: { type: 'boolean', default: false }, top: { type: 'string', default: 'Infinity' } }).values;
  const kernels = readKernels(path.join(root, 'build', 'cmake'), root);
  if (kernels.length === 0) return noReports(json);
  const spilling = kernels.filter((kernel) => worstOf(kernel).spills > 0);
  if (json) console.log(JSON.stringify(kernels.map(({ name, source, symbol, usage }) => ({ name, source, symbol, usage })), null, 2));
  else printReport(kernels, spilling, Number(top));
  return spilling.length === 0 ? 0 : 1;
}

process.exitCode = main();
