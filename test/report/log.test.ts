import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { binnedMean, logCurve, readLog, type Point } from '../../lib/report';
import { DataError, OptionError } from '../../lib/errors';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'spherenet-log-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function log(text: string): Promise<string> {
  const path = join(folder, 'log.jsonl');
  await writeFile(path, text);
  return path;
}

const FIRST = '{"event":"train","iteration":20,"loss":2.1,"accuracy":0.31}';
const SECOND = '{"event":"eval","iteration":20,"loss":null,"accuracy":0.3}';
const THIRD = '{"event":"train","iteration":40,"loss":1.9,"accuracy":0.4}';

describe('readLog', () => {
  test('reads every line, with or without a newline at the end', async () => {
    const expected = [FIRST, SECOND, THIRD].map((line) => JSON.parse(line) as unknown);
    expect(await readLog(await log([FIRST, SECOND, THIRD, ''].join('\n')))).toEqual(expected);
    expect(await readLog(await log([FIRST, SECOND, THIRD].join('\n')))).toEqual(expected);
    expect(await readLog(await log(''))).toEqual([]);
  });

  test('leaves out a last line cut at any place', async () => {
    for (let length = 0; length < THIRD.length; length++) {
      expect(await readLog(await log(`${FIRST}\n${SECOND}\n${THIRD.slice(0, length)}`))).toHaveLength(2);
    }
  });

  test.each([
    ['a cut inner line', [FIRST, SECOND.slice(0, 30), THIRD, ''], 2],
    ['a damaged last line that was finished', [FIRST, '{"event":', ''], 2],
    ['a line without an event', ['{"iteration":1}', FIRST, ''], 1],
    ['a line that is no object', [FIRST, SECOND, 'null', THIRD], 3],
  ])('names file and line of %s', async (_, lines, number) => {
    const path = await log(lines.join('\n'));
    await expect(readLog(path)).rejects.toThrow(DataError);
    await expect(readLog(path)).rejects.toThrow(`${path}:${number} is damaged`);
  });

  test('names a missing file', async () => {
    await expect(readLog(join(folder, 'none.jsonl'))).rejects.toThrow(DataError);
    await expect(readLog(join(folder, 'none.jsonl'))).rejects.toThrow(/none\.jsonl.*ENOENT/);
  });
});

test('logCurve picks one field of one event and shows what is not a number as a gap', async () => {
  const entries = await readLog(await log([FIRST, SECOND, THIRD, '{"event":"train","iteration":60}', ''].join('\n')));
  expect(logCurve(entries, 'train', 'loss')).toEqual([[20, 2.1], [40, 1.9]]);
  expect(logCurve(entries, 'eval', 'loss')).toEqual([[20, NaN]]);
  expect(logCurve(entries, 'train', 'speed')).toEqual([]);
});

describe('binnedMean', () => {
  test('averages consecutive points, every point once', () => {
    const points = Array.from({ length: 10 }, (_, i): Point => [i, i % 2 === 0 ? 1 : 3]);
    expect(binnedMean(points, 5)).toEqual([[0.5, 2], [2.5, 2], [4.5, 2], [6.5, 2], [8.5, 2]]);
    const uneven = binnedMean(points, 3);
    expect(uneven.map(([x]) => x)).toEqual([1, 4, 7.5]);
  });

  test('leaves a short curve as it is, an empty one empty, and keeps a NaN visible', () => {
    const points: Point[] = [[0, 1], [1, NaN], [2, 5], [3, 7]];
    expect(binnedMean(points, 10)).toEqual(points);
    expect(binnedMean([], 10)).toEqual([]);
    expect(binnedMean(points, 2)).toEqual([[0.5, NaN], [2.5, 6]]);
    expect(() => binnedMean(points, 0)).toThrow(OptionError);
  });
});
