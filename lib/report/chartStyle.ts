// How charts look: colours, sizes, titles and legends.
import type { TopLevelSpec } from 'vega-lite';
import { FONT, type MeasureText } from './image';

// Okabe and Ito's palette, told apart under every common colour blindness, less its yellow, too pale on white.
export const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#404040'];
export const SOLID = [1, 0];
export const DASHED = [7, 4];
export const DASHES = [SOLID, DASHED, [2, 3], [9, 3, 2, 3]];
// Beyond this many lines, a pair of colour and dash would come again.
export const MAX_LINES = COLOURS.length * DASHES.length;

export const INK = '#222222';
const FAINT_INK = '#555555';
const TITLE_SIZE = 14;
export const LABEL_SIZE = 11;
const LEGEND_SIZE = 12;
export const VALUE_SIZE = 10;

export function frame(title: string, width: number, height: number, measure: MeasureText) {
  return { title: { text: wrap(title, width, TITLE_SIZE, true, measure) }, width, height };
}

/** Colour and dash by series; both have the same legend, so that Vega-Lite draws it once, and not as pale as the bands. */
export function seriesEncoding(names: string[], dashes: number[][], width: number, measure: MeasureText) {
  const legend = { ...legendColumns(names, width, measure), symbolType: 'stroke', symbolSize: 700, clipHeight: 14, symbolOpacity: 1 };
  const base = { field: 'series', type: 'nominal' as const, legend };
  const colours = names.map((_, index) => COLOURS[index % COLOURS.length]);
  return {
    color: { ...base, scale: { domain: names, range: colours } },
    strokeDash: { ...base, scale: { domain: names, range: dashes } },
  };
}

/** As many legend columns as fit above the plot. */
export function legendColumns(names: string[], width: number, measure: MeasureText): { columns: number } {
  const widest = Math.max(...names.map((name) => measure(name, LEGEND_SIZE))) + LEGEND_SYMBOL_WIDTH;
  return { columns: Math.min(names.length, Math.max(1, Math.floor(width / widest))) };
}

/** Room for a legend's symbol and the gap to the next entry. */
const LEGEND_SYMBOL_WIDTH = 50;

/** Breaks text between words into lines that fit. */
export function wrap(text: string, width: number, fontSize: number, bold: boolean, measure: MeasureText): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const longer = lines.length > 0 ? `${lines.at(-1)!} ${word}` : word;
    if (lines.length > 0 && measure(longer, fontSize, bold) <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

export const FAMILY = `${FONT}, sans-serif`;

export const CONFIG: TopLevelSpec['config'] = {
  font: FAMILY,
  view: { stroke: null },
  line: { strokeWidth: 2, strokeCap: 'butt', strokeJoin: 'round' },
  title: { anchor: 'start', frame: 'group', fontSize: TITLE_SIZE, fontWeight: 'bold', color: INK, offset: 12, lineHeight: 19 },
  axis: {
    domainColor: '#888888',
    tickColor: '#888888',
    tickSize: 4,
    gridColor: '#e6e6e6',
    labelColor: FAINT_INK,
    labelFontSize: LABEL_SIZE,
    labelLimit: 0,
    labelPadding: 4,
    titleColor: INK,
    titleFontSize: 12,
    titleFontWeight: 'normal',
    titlePadding: 10,
    labelFlush: false,
  },
  axisX: { tickCount: 6 },
  axisY: { tickCount: 6, domain: false, ticks: false },
  legend: {
    orient: 'top',
    direction: 'horizontal',
    title: null,
    labelColor: INK,
    labelFontSize: LEGEND_SIZE,
    labelLimit: 0,
    columnPadding: 18,
    rowPadding: 4,
    offset: 10,
  },
};
