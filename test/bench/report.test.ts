import { type BenchmarkDocument, benchmarkText } from '../../lib/bench/report';
import type { BenchmarkRow } from '../../lib/bench/measure';

const machine: BenchmarkDocument['machine'] = {
  processor: 'AMD EPYC 9654 96-Core Processor', cores: 192, threads: 192, instructionSet: 'avx512', memoryBytes: 2 ** 40,
  system: 'Linux', node: '20.20.2', onednn: '2.6.3',
  roofs: [{ device: 'cpu', precision: 'fp32', gflops: 412.3, gbps: 21.6 }],
};

function row(fields: Partial<BenchmarkRow>): BenchmarkRow {
  return {
    case: 'conv7x7 512->1,024 224x224 s2 p0 b128', operator: 'sigmoid', engine: 'spherenet', device: 'cpu', precision: 'fp32', pass: 'both',
    ms: 12345.6, p25: 12222.2, p75: 12666.6, repeats: 9, peakBytes: 1023 * 2 ** 20, gflops: 1234.5, gbps: 1234.5, roofShare: 1.234,
    ...fields,
  };
}

const passes = ['forward', 'backward', 'both'] as const;
const contenders: Partial<BenchmarkRow>[] = [
  { engine: 'onednn', operator: 'plain', peakBytes: null },
  { engine: 'spherenet', operator: 'plain' },
  { engine: 'spherenet', operator: 'sigmoid' },
  { engine: 'pytorch-compile', operator: 'sigmoid', layout: 'channels-last', residentBytes: 2 ** 30, residentBaseBytes: 2 ** 28 },
];
const layerRows = contenders.flatMap((fields) => passes.map((pass) => row({ ...fields, pass })));
const overhead: BenchmarkRow[] = [
  row({ case: 'call ops.add', operator: 'plain', pass: 'forward', ms: 0.0031, p25: 0.003, p75: 0.0032, overheadMicroseconds: 3.1 }),
];

test('the tables of the largest numbers are narrower than 110 columns', () => {
  const step = row({ case: 'step spherenet69 256/384/512 b128', pass: 'step' });
  const comparison = {
    file: '/tmp/benchmark.json', normalised: false,
    rows: [{ ...step, engine: 'pytorch-compile' as const, before: 12345.6, now: 12345.6, ratio: 1, noise: 0.12, verdict: 'slower' as const }],
  };
  const profile = [{
    case: step.case, operator: 'sigmoid' as const, device: 'cpu' as const, precision: 'fp32' as const, steps: 5, ms: 12345.6,
    phases: [{ phase: 'backward' as const, ms: 12345.6, share: 1 }],
    operators: [{ operator: 'conv2dBackwardWeights', calls: 1234, ms: 12345.6, share: 1 }],
    rest: { ms: 0, share: 0 },
  }];
  const text = benchmarkText({ machine, rows: [...layerRows, step, ...overhead], notes: ['PyTorch 2.9.0'], comparison, profile });
  expect(text.split('\n').filter((line) => line.length >= 110)).toEqual([]);
  for (const part of ['torch.compile sigmoid NHWC', 'PyTorch 2.9.0', 'resident memory', 'call ops.add', 'profile of', 'against benchmark.json', 'slower']) {
    expect(text).toContain(part);
  }
});

test('ratios are to the first line, and rates those of both passes', () => {
  const rows = [
    row({ engine: 'onednn', operator: 'plain', ms: 10 }),
    row({ ms: 12, gflops: 345, gbps: 6.78, roofShare: 0.83 }),
  ];
  expect(benchmarkText({ machine, rows })).toMatch(/^SphereConv sigmoid +– +– +12\.0 \(.*\) +1\.20 +345 +6\.78 +83% /m);
});

test('a contender without backward is held against the forward pass', () => {
  const rows = [
    ...passes.map((pass) => row({ engine: 'onednn', operator: 'plain', pass, ms: pass === 'forward' ? 10 : 100 })),
    row({ engine: 'tfjs', operator: 'plain', pass: 'forward', ms: 50, peakBytes: null }),
  ];
  const text = benchmarkText({ machine, rows });
  expect(text).toMatch(/^TensorFlow\.js plain +50\.0 +– +– +5\.00 /m);
  expect(text).toContain('of the forward pass where there is no backward');
});

test('the title of a case tells device and precision where there are several', () => {
  const gpu = { name: 'NVIDIA H100', computeCapability: '9.0', memoryBytes: 80e9, cublas: 'x', precision: 'fp32' as const };
  const roofs = [
    machine.roofs![0],
    { device: 'cuda' as const, precision: 'fp32' as const, gflops: 5e4, gbps: 3e3 },
    { device: 'cuda' as const, precision: 'tf32' as const, gflops: 4e5, gbps: 3e3 },
  ];
  const rows = [row({}), row({ device: 'cuda' }), row({ device: 'cuda', precision: 'tf32' })];
  const text = benchmarkText({ machine: { ...machine, gpu, roofs }, rows });
  for (const setting of ['cpu', 'cuda fp32', 'cuda tf32']) expect(text).toContain(`${rows[0].case}, ${setting}\n`);
  expect(text).toMatch(/^NVIDIA H100 and AMD EPYC/);
});
