import CliTable from 'cli-table3';
import { requireKnownKeys, ShapeError } from '../errors';
import { formatNumber } from './format';

/** How a column is aligned. */
export type Alignment = 'left' | 'center' | 'right';

/** A table: its headings and rows of the same length. */
export interface Table {
  head: readonly string[];
  /** Numbers are written by {@link formatNumber}; format them beforehand where that does not suit. */
  rows: readonly (readonly (string | number)[])[];
  /** Alignment by column. Default: right where every cell begins like a number, else left. */
  align?: readonly Alignment[];
}

interface PreparedTable {
  rows: string[][];
  align: Alignment[];
}

const NUMBER_LIKE = /^[-+±<>≈~]?\s?(\d|∞|NaN)/;
const MISSING = /^[-–—]?$/;

function prepare(table: Table): PreparedTable {
  requireKnownKeys('table', table, ['head', 'rows', 'align']);
  const columns = table.head.length;
  const rows = table.rows.map((row, index) => {
    if (row.length !== columns) {
      throw new ShapeError('rows', `rows[${index}] has ${row.length} cells, but the table has ${columns} columns`);
    }
    return row.map((cell) => (typeof cell === 'number' ? formatNumber(cell) : cell));
  });
  if (table.align && table.align.length !== columns) {
    throw new ShapeError('align', `align has ${table.align.length} entries, but the table has ${columns} columns`);
  }
  const align = table.head.map((_, column): Alignment => {
    if (table.align) return table.align[column];
    const present = rows.map((row) => row[column]).filter((cell) => !MISSING.test(cell));
    return present.length > 0 && present.every((cell) => NUMBER_LIKE.test(cell)) ? 'right' : 'left';
  });
  return { rows, align };
}

/** The table for a terminal: aligned columns with one rule below the headings, no colours. */
export function textTable(table: Table): string {
  const { rows, align } = prepare(table);
  const text = new CliTable({
    head: [...table.head],
    colAligns: align,
    chars: {
      'top': '', 'top-mid': '', 'top-left': '', 'top-right': '',
      'bottom': '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '',
      'left': '', 'left-mid': '', 'right': '', 'right-mid': '',
      'mid': '─', 'mid-mid': '──', 'middle': '  ',
    },
    style: { 'padding-left': 0, 'padding-right': 0, 'head': [], 'border': [], 'compact': true },
  });
  text.push(...rows);
  return text.toString().split('\n').map((line) => line.trimEnd()).join('\n');
}

const MARKDOWN_RULES: Record<Alignment, string> = { left: '---', center: ':---:', right: '---:' };

/** The table in GitHub Markdown. */
export function markdownTable(table: Table): string {
  const { rows, align } = prepare(table);
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const escape = (cell: string): string => cell.replaceAll('|', '\\|').replaceAll('\n', '<br>');
  return [
    line(table.head.map(escape)),
    line(align.map((side) => MARKDOWN_RULES[side])),
    ...rows.map((row) => line(row.map(escape))),
  ].join('\n');
}
