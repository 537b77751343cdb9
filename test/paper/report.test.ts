import type { TrainedExperiment } from '../../lib/paper/experiment';
import { overSeeds, type PaperSummary, paperText } from '../../lib/paper/report';
import type { RunResult } from '../../lib/paper/results';

const run = (seed: number, last: number, changes: Partial<RunResult> = {}): RunResult => ({
  seed, iteration: 100, finished: true, diverged: null, best: last, last, lastTop5: null, seconds: 1, ...changes,
});

const cells = [{ name: 'plain', labels: { network: 'plain' }, model: { network: 'cnn', depth: 3 } }] as const;
const preset = { cells, iterations: 100, seeds: [0, 1] };
const experiment: TrainedExperiment = {
  kind: 'trained', name: 'toy', title: 'A toy', shows: 'Nothing.', presets: { mini: preset, paper: preset },
};

/** The row of the network `own`, its cells by the heads of the table. */
function rowOf(own: RunResult[], baseline: RunResult[], setting: Partial<PaperSummary['setting']> = {}): Record<string, string> {
  const summary: PaperSummary = {
    machine: {
      processor: 'a processor', cores: 1, threads: 1, instructionSet: 'none', memoryBytes: 0, system: '', node: '', onednn: '',
    },
    title: 'A toy',
    setting: {
      experiment: 'toy', preset: 'paper', data: null, widths: null, iterations: 100, batchSize: 128, recipe: 'paper', images: null, testImages: null,
      device: 'cpu', precision: 'fp32', ...setting,
    },
    cells: [
      { name: 'plain', labels: { network: 'plain' }, paper: 80, runs: baseline },
      { name: 'own', labels: { network: 'own' }, paper: 85, baseline: 'plain', runs: own },
    ],
  };
  const lines = paperText(experiment, summary).split('\n');
  const cellsOf = (line: string) => line.trim().split(/ {2,}/);
  return Object.fromEntries(cellsOf(lines.find((line) => line.startsWith('network'))!).map((head, i) => [
    head, cellsOf(lines.find((line) => line.startsWith('own'))!)[i],
  ]));
}

test('gain is over the seeds that both have completed', () => {
  expect(rowOf([run(0, 0.9), run(1, 0.96)], [run(0, 0.85), run(1, 0.1, { finished: false })])).toMatchObject({
    'seeds': '2/2', 'last': '93.00 ± 4.24', 'difference': '+8.00', 'gain': '+5.00', "paper's gain": '+5.00',
  });
});

test('a run that diverged is no result, late or early', () => {
  const diverged = { diverged: 'loss is NaN', iteration: 30 };
  for (const broken of [run(1, 0.3, diverged), run(1, 0, { ...diverged, best: null, last: null })]) {
    expect(rowOf([run(0, 0.9), broken], [run(0, 0.85), run(1, 0.85)])).toMatchObject({ seeds: '1/2', last: '90.00', gain: '+5.00' });
  }
});

test('what is half trained has no difference and no gain', () => {
  const half = { finished: false, iteration: 50 };
  expect(rowOf([run(0, 0.4, half)], [run(0, 0.85)])).toMatchObject({ last: '40.00', difference: '–' });
  expect(rowOf([run(0, 0.4, half)], [run(0, 0.85)])).not.toHaveProperty('gain');
});

test('numbers of the paper stand beside its own data, and differences beside its own setting', () => {
  const heads = (setting: Partial<PaperSummary['setting']>) => Object.keys(rowOf([run(0, 0.9)], [run(0, 0.85)], setting));
  expect(heads({})).toEqual(['network', 'iterations', 'best', 'last', 'paper', 'difference', 'gain', "paper's gain", 'training']);
  expect(heads({ preset: 'mini' })).toEqual(['network', 'iterations', 'best', 'last', 'paper', 'gain', "paper's gain", 'training']);
  expect(heads({ data: 'mnist' })).toEqual(['network', 'iterations', 'best', 'last', 'gain', 'training']);
});

test('curves of several seeds meet at the same iterations', () => {
  const line = (length: number, slope: number) => Array.from({ length }, (_, i): [number, number] => [50 * (i + 1), slope * (i + 1)]);
  const { points, band } = overSeeds([line(4, 1), line(2, 3)]);
  expect(points).toEqual([[50, 2], [100, 4]]);
  expect(band).toEqual([[50, 1, 3], [100, 2, 6]]);
});
