// Reads what `nvcc --resource-usage` says of each kernel (scripts/nvcc-with-report keeps it beside the object).
const { spawnSync } = require('node:child_process');
const { existsSync, readdirSync, readFileSync } = require('node:fs');
const path = require('node:path');

/** Every kernel of the reports below `folder`, worst first. Sources lie below `root`. */
function readKernels(folder, root) {
  const kernels = reportsOf(folder, root).flatMap(({ file, source }) =>
    parseReport(readFileSync(file, 'utf8')).map((kernel) => ({ ...kernel, source })),
  );
  const names = demangle(kernels.map(({ symbol }) => symbol));
  return kernels.map((kernel, i) => ({ ...kernel, name: names[i] })).sort(worstFirst);
}

/** A report outlives its source: those of sources that are gone do not count. */
function reportsOf(folder, root) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.report'))
    .map((file) => ({ file: path.join(folder, file), source: file.replace(/^.*\.dir\//, '').replace(/\.o\.report$/, '') }))
    .filter(({ source }) => existsSync(path.join(root, source)));
}

/** The kernels of one report, each with its usage by architecture. */
function parseReport(text) {
  const kernels = new Map();
  let architecture = 'unknown';
  let usage;
  const usageOf = (symbol) => {
    if (!kernels.has(symbol)) kernels.set(symbol, { symbol, usage: {} });
    const all = kernels.get(symbol).usage;
    return (all[architecture] ??= { registers: 0, spillStores: 0, spillLoads: 0, shared: 0, stack: 0 });
  };
  for (const line of text.split('\n')) {
    const entry = /Compiling entry function '([^']+)' for '([^']+)'/.exec(line);
    if (entry) architecture = entry[2];
    // Functions that are called and not inlined have lines of their own, without registers.
    const owner = entry?.[1] ?? /Function properties for (\S+)/.exec(line)?.[1];
    if (owner) usage = usageOf(owner);
    if (usage) addFigures(usage, line);
  }
  return [...kernels.values()];
}

function addFigures(usage, line) {
  const frame = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
  if (frame) [usage.stack, usage.spillStores, usage.spillLoads] = frame.slice(1).map(Number);
  const registers = /Used (\d+) registers/.exec(line);
  if (!registers) return;
  usage.registers = Number(registers[1]);
  usage.shared = Number(/(\d+) bytes smem/.exec(line)?.[1] ?? 0);
}

function demangle(symbols) {
  const { stdout, status } = spawnSync('c++filt', { input: symbols.join('\n'), encoding: 'utf8' });
  return status === 0 ? stdout.split('\n').map(tidy) : symbols.map(identifiersOf);
}

/** "void sn::cuda::scan<sn::cuda::(anonymous namespace)::Sum<float> >(float*)" becomes "scan<Sum<float>>". */
function tidy(name) {
  return withoutParameters(name.replaceAll('(anonymous namespace)::', ''))
    .replace(/^void /, '')
    .replaceAll('sn::cuda::', '')
    .replaceAll('sn::', '')
    .replaceAll('> >', '>>')
    .replaceAll('unsigned char', 'uchar');
}

/** Cuts the last pair of parentheses off, with all that is in it. */
function withoutParameters(name) {
  let depth = 0;
  for (let i = name.length - 1; name.endsWith(')') && i >= 0; i--) {
    if (name[i] === ')') depth++;
    if (name[i] === '(' && --depth === 0) return name.slice(0, i);
  }
  return name;
}

/** Without c++filt: the identifiers in a mangled name, "scan Sum". */
function identifiersOf(symbol) {
  const names = [];
  // Numbers that are no lengths: of substitutions and of template arguments.
  let rest = symbol.replaceAll(/S\d*_|L[a-z]\d+E/g, '');
  for (let found = /\d+/.exec(rest); found; found = /\d+/.exec(rest)) {
    const start = found.index + found[0].length;
    names.push(rest.slice(start, start + Number(found[0])));
    rest = rest.slice(start + Number(found[0]));
  }
  return names.filter((name) => !['sn', 'cuda'].includes(name) && !name.startsWith('_GLOBAL_')).join(' ');
}

/** The figures of a kernel at their worst, over all architectures. */
function worstOf({ usage }) {
  const most = (figure) => Math.max(...Object.values(usage).map(figure));
  return {
    spills: most(({ spillStores, spillLoads }) => spillStores + spillLoads),
    stack: most(({ stack }) => stack),
    registers: most(({ registers }) => registers),
    shared: most(({ shared }) => shared),
  };
}

function worstFirst(a, b) {
  const [worstA, worstB] = [worstOf(a), worstOf(b)];
  const difference = ['spills', 'stack', 'registers', 'shared'].map((key) => worstB[key] - worstA[key]).find((value) => value !== 0);
  return difference ?? a.name.localeCompare(b.name);
}

module.exports = { readKernels, worstOf };
