import { contest, type Contender, fastestLayouts, measure, type MemoryLayout, quartiles } from '../../lib/bench/measure';

test('quartiles interpolate between the nearest samples', () => {
  expect(quartiles([4, 1, 3, 2])).toEqual({ ms: 2.5, p25: 1.75, p75: 3.25 });
  expect(quartiles([7])).toEqual({ ms: 7, p25: 7, p75: 7 });
});

test('contenders run in turn, and the rounds of warm-up do not count', async () => {
  const calls: string[] = [];
  const contender = (operator: 'plain' | 'cosine'): Contender => ({
    operator,
    engine: 'spherenet',
    run: () => {
      calls.push(operator);
      // The first two rounds are slow.
      return { step: calls.length <= 4 ? 1000 : calls.length };
    },
  });
  const rows = await measure('toy', [contender('plain'), contender('cosine')], { repeats: 3 });
  expect(calls).toEqual(Array(5).fill(['plain', 'cosine']).flat());
  expect(rows).toMatchObject([
    { case: 'toy', operator: 'plain', pass: 'step', ms: 7, repeats: 3 },
    { case: 'toy', operator: 'cosine', pass: 'step', ms: 8, repeats: 3 },
  ]);
});

test('a contender may take its time, and knows its own memory where ours cannot', async () => {
  const contender: Contender = {
    operator: 'plain',
    engine: 'pytorch',
    peakBytes: () => 12345,
    run: () => Promise.resolve({ forward: 1, backward: 2, both: 3 }),
  };
  const cost = { both: { flops: 6e6, bytes: null } };
  const rows = await measure('toy', [contender], { repeats: 2, cost });
  expect(rows.map(({ pass, ms, peakBytes, gflops }) => [pass, ms, peakBytes, gflops])).toEqual([
    ['forward', 1, 12345, undefined],
    ['backward', 2, 12345, undefined],
    ['both', 3, 12345, 2],
  ]);
});

describe('contenders that differ in their layout', () => {
  const times: Record<MemoryLayout, number> = { 'channels-last': 3, 'contiguous': 2 };
  const entrant = (layout: MemoryLayout, disposed: string[] = []): Contender => ({
    operator: 'plain',
    engine: 'pytorch',
    layout,
    // The faster one forward is the slower one in all.
    run: () => ({ forward: 1 / times[layout], both: times[layout] }),
    resident: () => Promise.resolve({ residentBytes: times[layout], residentBaseBytes: 1 }),
    dispose: () => { disposed.push(layout); },
  });
  const other: Contender = { operator: 'plain', engine: 'spherenet', run: () => ({ both: 1 }) };

  test('leave the one with the shortest whole pass', async () => {
    const rows = await measure('toy', [other, entrant('channels-last'), entrant('contiguous')], { repeats: 1 });
    expect(fastestLayouts(rows).map(({ engine, pass, layout }) => [engine, pass, layout])).toEqual([
      ['spherenet', 'both', undefined],
      ['pytorch', 'forward', 'contiguous'],
      ['pytorch', 'both', 'contiguous'],
    ]);
  });

  test('are disposed of after a contest, which asks for the memory of those that are left', async () => {
    const disposed: string[] = [];
    const rows = await contest('toy', [other, entrant('channels-last', disposed), entrant('contiguous', disposed)], { repeats: 1, resident: true });
    expect(rows.map(({ engine, pass, residentBytes }) => [engine, pass, residentBytes])).toEqual([
      ['spherenet', 'both', undefined],
      ['pytorch', 'forward', undefined],
      ['pytorch', 'both', 2],
    ]);
    expect(disposed).toEqual(['channels-last', 'contiguous']);
  });

  test('are disposed of when one fails', async () => {
    const disposed: string[] = [];
    const failing: Contender = { ...other, run: () => { throw new Error('broken'); } };
    await expect(contest('toy', [entrant('contiguous', disposed), failing], { repeats: 1 })).rejects.toThrow('broken');
    expect(disposed).toEqual(['contiguous']);
  });
});
