import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataError } from '../../lib/errors';
import { type ComparedRow, compareBenchmarks, type EarlierDocument, readBenchmark } from '../../lib/bench/comparison';

type Row = EarlierDocument['rows'][number];

const machine = { processor: 'EPYC', threads: 2, instructionSet: 'avx512', onednn: '2.6.3' };

/** A row whose quartiles are 1 % from its median. */
function row(ms: number, fields: Partial<Row> = {}): Row {
  const base = { case: 'conv', operator: 'sigmoid', engine: 'spherenet', device: 'cpu', precision: 'fp32', pass: 'both' } as const;
  return { ...base, ms, p25: 0.99 * ms, p75: 1.01 * ms, ...fields };
}
const bare = (ms: number, fields: Partial<Row> = {}) => row(ms, { engine: 'onednn', operator: 'plain', ...fields });

function compare(before: Row[], now: Row[], nowOn: EarlierDocument['machine'] = machine) {
  const { rows, normalised } = compareBenchmarks('then.json', { machine, rows: before }, { machine: nowOn, rows: now });
  const of = (engine: string) => rows.find((each) => each.engine === engine)!;
  return { normalised, rows, verdicts: rows.map(({ verdict }) => verdict), of };
}

describe('on the same machine', () => {
  test('a time beyond noise and quartiles is faster or slower, and any other the same', () => {
    const before = [bare(10), row(20)];
    const verdictAt = (ms: number): ComparedRow['verdict'] => compare(before, [bare(10), row(ms)]).of('spherenet').verdict;
    expect([15, 19.9, 20, 20.1, 26].map(verdictAt)).toEqual(['faster', 'same', 'same', 'same', 'slower']);
  });

  test('quartiles that overlap are no difference, however far the medians are apart', () => {
    const wide = row(30, { p25: 15, p75: 40 });
    expect(compare([bare(10), row(20)], [bare(10), wide]).of('spherenet')).toMatchObject({ ratio: 1.5, verdict: 'same' });
  });

  test('what is no more than the move of bare oneDNN is noise', () => {
    const { of } = compare([bare(10), row(20)], [bare(12), row(23)]);
    expect(of('spherenet')).toMatchObject({ before: 20, now: 23, verdict: 'same' });
    expect(of('spherenet').noise).toBeCloseTo(Math.log(1.2), 10);
    expect(compare([bare(10), row(20)], [bare(12), row(30)]).of('spherenet').verdict).toBe('slower');
  });

  test('a case without a reference has the noise of the others', () => {
    const step = { case: 'step', pass: 'step' } as const;
    const { rows } = compare([bare(10), row(100, step)], [bare(12), row(115, step)]);
    expect(rows.find(({ case: name }) => name === 'step')).toMatchObject({ verdict: 'same' });
  });

  test('without any reference, the roof of matrix products is one', () => {
    const step = (ms: number) => row(ms, { case: 'step', pass: 'step' });
    const withRoof = (gflops: number) => ({ ...machine, roofs: [{ device: 'cpu' as const, precision: 'fp32' as const, gflops }] });
    const verdictWith = (gflops: number) =>
      compareBenchmarks('x', { machine: withRoof(200), rows: [step(10)] }, { machine: withRoof(gflops), rows: [step(15)] }).rows[0].verdict;
    expect([200, 190, 100].map(verdictWith)).toEqual(['slower', 'slower', 'same']);
  });

  test('a change of our own plain convolution is told, since it is no reference', () => {
    const plain = (ms: number) => row(ms, { operator: 'plain', device: 'cuda', precision: 'tf32' });
    expect(compare([plain(10)], [plain(5)]).rows[0]).toMatchObject({ ratio: 0.5, verdict: 'faster' });
  });
});

describe('on another machine', () => {
  const other = { ...machine, processor: 'Xeon' };

  test('ratios are to the reference', () => {
    const { normalised, of } = compare([bare(10), row(20)], [bare(5), row(10)], other);
    expect(normalised).toBe(true);
    expect(of('spherenet')).toMatchObject({ before: 20, now: 10, verdict: 'same' });
    expect(of('spherenet').ratio).toBeCloseTo(1, 10);
    expect(of('onednn').ratio).toBeCloseTo(1, 10);
    expect(compare([bare(10), row(20)], [bare(5), row(15)], other).of('spherenet').verdict).toBe('slower');
  });

  test('where nothing else is, to our own plain one', () => {
    const plain = (ms: number) => row(ms, { operator: 'plain' });
    const { rows } = compare([plain(10), row(20)], [plain(5), row(6)], other);
    expect(rows.map(({ operator, verdict }) => [operator, verdict])).toEqual([['plain', 'same'], ['sigmoid', 'faster']]);
  });
});

test('rows that only one of the two has are left out, and so are those of another precision', () => {
  const cuda = { device: 'cuda', precision: 'tf32' } as const;
  const { rows } = compare([bare(10), row(20), row(5, cuda)], [row(20), row(5, { ...cuda, precision: 'fp32' }), row(1, { case: 'new' })]);
  expect(rows.map(({ case: name, engine, device }) => [name, engine, device])).toEqual([['conv', 'spherenet', 'cpu']]);
});

describe('an earlier document', () => {
  let folder: string;
  let file: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
    file = join(folder, 'benchmark.json');
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  test('may be older than the precision of a row', async () => {
    const rows = [{ ...row(1), precision: undefined }, { ...row(1), device: 'cuda', precision: undefined }];
    await writeFile(file, JSON.stringify({ machine: { ...machine, gpu: { name: 'H100', precision: 'bf16' } }, rows }));
    expect((await readBenchmark(file)).rows.map(({ precision }) => precision)).toEqual(['fp32', 'bf16']);
  });

  test.each([
    ['no JSON', '{', 'is no JSON'],
    ['something else', '{"machine":{}}', 'is no document of spherenet bench: machine'],
    ['a row that is none', JSON.stringify({ machine, rows: [{ ...row(1), ms: 'x' }] }), 'rows.0.ms'],
  ])('that is %s is an error of one sentence', async (_, text, complaint) => {
    await writeFile(file, text);
    const error = await readBenchmark(file).catch((reason: unknown) => reason as DataError);
    expect(error).toBeInstanceOf(DataError);
    expect((error as DataError).message).toContain(complaint);
    expect((error as DataError).message).toMatch(/^--compare [^\n]+$/);
  });

  test('that is not there is one too', async () => {
    await expect(readBenchmark(file)).rejects.toThrow(/^--compare .*benchmark\.json: cannot be read: ENOENT/);
  });
});
