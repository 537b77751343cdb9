import { type Contender, measure, quartiles } from '../../lib/experiments/measure';

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
