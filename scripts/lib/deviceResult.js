// The result of scripts/device-check for people.

function resultText(result) {
  return [
    `# Device check, ${result.date.slice(0, 10)}`,
    factsTable(result),
    '## Steps',
    stepsTable(result.steps),
    ...result.steps.filter(({ failures }) => failures?.length > 0).map(failuresList),
    ...benchmarkSections(result.benchmarks),
  ].join('\n\n') + '\n';
}

function table(head, rows, leftColumns = 1) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, i) => (i < leftColumns ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

function factsTable({ date, commit, device, host }) {
  const gpu = device ?? {};
  const facts = {
    'device': gpu.emulated ? 'emulated on the host' : gpu.name,
    'compute capability': gpu.computeCapability,
    'memory': gpu.memoryBytes ? `${(gpu.memoryBytes / 2 ** 30).toFixed(1)} GiB` : undefined,
    'driver': gpu.driverVersion,
    'libraries': gpu.library,
    'cuBLAS from': gpu.cublas,
    'host': host ? `${host.processor}, ${host.system}, Node ${host.node}` : undefined,
    commit,
    date,
  };
  return table(['', ''], Object.entries(facts).map(([name, value]) => [name, value ?? 'unknown']), 2);
}

function stepsTable(steps) {
  return table(
    ['step', 'outcome', 'passed', 'failed', 'skipped', 'seconds'],
    steps.map(({ name, state, why, passed = '', failed = '', skipped = '', seconds }) => [
      name, why ? `${state}: ${why}` : state, passed, failed, skipped, seconds.toFixed(1),
    ]),
    2,
  );
}

function failuresList({ name, failures }) {
  return `Failed in ${name}:\n\n${failures.map((failure) => `- ${failure}`).join('\n')}`;
}

function benchmarkSections(benchmarks) {
  const titles = { layers: 'Layers', step: 'Training steps' };
  return Object.entries(titles).flatMap(([what, title]) => {
    const documents = benchmarks.filter((each) => each.what === what);
    if (documents.length === 0) return [];
    const note = 'Milliseconds: median (first to third quartile), and the ratio to our plain one of the same precision.';
    return [`## ${title}`, note, benchmarkTable(documents)];
  });
}

/** One row for each case, contender and pass; the precisions side by side. */
function benchmarkTable(documents) {
  const contenderOf = ({ engine, operator }) => (engine === 'spherenet' ? operator : `${operator} (${engine})`);
  const keyOf = (row) => [row.case, contenderOf(row), row.pass].join(' | ');
  const keys = [...new Set(documents.flatMap(({ rows }) => rows.map(keyOf)))];
  const cell = ({ rows }, key) => {
    const row = rows.find((each) => keyOf(each) === key);
    return row ? timeText(row, rows.find((each) => keyOf(each) === keyOf({ ...row, engine: 'spherenet', operator: 'plain' }))) : '';
  };
  return table(
    ['case', 'contender', 'pass', ...documents.map(({ precision }) => precision)],
    keys.map((key) => [...key.split(' | '), ...documents.map((document) => cell(document, key))]),
    3,
  );
}

function timeText({ ms, p25, p75 }, plain) {
  const short = (value) => String(Number(value.toPrecision(3)));
  const time = `${short(ms)} (${short(p25)} to ${short(p75)})`;
  return plain ? `${time}, ×${(ms / plain.ms).toFixed(2)}` : time;
}

module.exports = { resultText };
