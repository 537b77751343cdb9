import { markdownTable, textTable, type Table } from '../../lib/report';
import { ShapeError } from '../../lib/errors';

const table: Table = {
  head: ['Network', 'Accuracy', 'Images/s'],
  rows: [
    ['SphereNet-9', '91.23%', 12345],
    ['Plain', '–', 900.5],
  ],
};

test('a text table aligns numbers right and has no colours', () => {
  expect(textTable(table).split('\n')).toEqual([
    'Network      Accuracy  Images/s',
    '───────────────────────────────',
    'SphereNet-9    91.23%    12,345',
    'Plain               –     900.5',
  ]);
});

test('a text table has no rule between rows, however many', () => {
  const lines = textTable({ head: ['a'], rows: [['x'], ['y'], ['z']] }).split('\n');
  expect(lines).toEqual(['a', '─', 'x', 'y', 'z']);
});

test('a table without rows shows its headings', () => {
  expect(textTable({ head: ['a', 'b'], rows: [] })).toContain('a  b');
  expect(markdownTable({ head: ['a', 'b'], rows: [] })).toBe('| a | b |\n| --- | --- |');
});

test('a Markdown table marks the alignment and escapes what would break a row', () => {
  expect(markdownTable({ ...table, rows: [...table.rows, ['a|b\nc', '1.00%', NaN]] }).split('\n')).toEqual([
    '| Network | Accuracy | Images/s |',
    '| --- | ---: | ---: |',
    '| SphereNet-9 | 91.23% | 12,345 |',
    '| Plain | – | 900.5 |',
    '| a\\|b<br>c | 1.00% | NaN |',
  ]);
});

test('a stated alignment wins', () => {
  const stated: Table = { ...table, align: ['right', 'center', 'left'] };
  expect(markdownTable(stated).split('\n')[1]).toBe('| ---: | :---: | --- |');
  expect(textTable(stated).split('\n')[3]).toBe('      Plain     –      900.5');
});

test('rows and alignment must fit the headings', () => {
  expect(() => textTable({ head: ['a', 'b'], rows: [['1', '2'], ['1']] })).toThrow(ShapeError);
  expect(() => textTable({ head: ['a', 'b'], rows: [['1', '2'], ['1']] })).toThrow(/rows\[1\] has 1 cells/);
  expect(() => markdownTable({ ...table, align: ['left'] })).toThrow(ShapeError);
});
