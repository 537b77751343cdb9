// Files in JSON: training logs, and the setting of a folder of results.
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DataError } from '../../../lib/errors';
import { requireExperiment } from '../../../lib/paper/experiments';
import type { TrainedExperiment } from '../../../lib/paper/experiment';
import { runPaper } from '../../../lib/paper/run';
import { binnedMean, logCurve, readLog } from '../../../lib/report';
import { tinyTrainer } from '../../train/tiny';
import { damaged, oneOf } from '../damage';
import { expectRight, type FuzzTarget } from '../harness';

const log = Buffer.from([
  { event: 'start', model: { network: 'cnn', widths: [8, 8, 8] }, data: { images: 64 } },
  ...Array.from({ length: 6 }, (_, i) => ({ event: 'train', iteration: i + 1, loss: 2.3 - i / 10, theta: null })),
  { event: 'eval', iteration: 6, loss: 2, accuracy: 0.25 },
  { event: 'end', iteration: 6, seconds: 1.5 },
].map((entry) => `${JSON.stringify(entry)}\n`).join(''));

export const logs: FuzzTarget = {
  name: 'log',
  async run(random, folder) {
    const path = join(folder, 'log.jsonl');
    await writeFile(path, damaged(log, random));
    const entries = await readLog(path);
    expectRight(entries.every(({ event }) => typeof event === 'string'), 'an entry without an event');
    const points = logCurve(entries, 'train', oneOf(random, ['loss', 'theta']));
    if (points.length > 0) expectRight(binnedMean(points, 3).length === Math.min(3, points.length), 'another number of bins');
  },
};

/** A run that goes on with its checkpoint and a damaged log. */
export const resumedLogs: FuzzTarget = {
  name: 'resumeLog',
  async run(random, folder) {
    const half = join(folder, 'half');
    if (!existsSync(half)) await tinyTrainer({ iterations: 2, logEvery: 1, output: half }).fit();
    const output = join(folder, 'run');
    await mkdir(output, { recursive: true });
    const [resume, path] = [join(output, 'last.safetensors'), join(output, 'log.jsonl')];
    await copyFile(join(half, 'last.safetensors'), resume);
    await writeFile(path, damaged(await readFile(join(half, 'log.jsonl')), random));
    const warnings = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    try {
      const { iterations } = await tinyTrainer({ iterations: 4, logEvery: 1, output, resume }).fit();
      expectRight(iterations === 4, 'another iteration');
    } finally {
      warnings.mockRestore();
    }
    const last = (await readLog(path)).at(-1);
    expectRight(last?.event === 'end' && last['iteration'] === 4, 'a log that does not end');
  },
};

const setting = Buffer.from(JSON.stringify({
  experiment: 'fig3b', preset: 'mini', data: null, widths: [32, 64, 96], iterations: 300, batchSize: 64, recipe: 'paper',
  images: null, testImages: 2000, device: 'cpu', precision: 'fp32',
}, null, 2));

export const settings: FuzzTarget = {
  name: 'setting',
  async run(random, folder) {
    await writeFile(join(folder, 'setting.json'), damaged(setting, random));
    await runPaper({
      experiment: requireExperiment('fig3b') as TrainedExperiment,
      preset: 'mini',
      output: folder,
      load: () => Promise.reject(new DataError('data', 'nobody trains here')),
    });
  },
};
