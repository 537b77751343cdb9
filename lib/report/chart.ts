import type { TopLevelSpec } from 'vega-lite';
import type { LayerSpec, UnitSpec } from 'vega-lite/build/src/spec';
import type { Field } from 'vega-lite/build/src/channeldef';
import { OptionError, requireKnownKeys, requireNumber, requireOneOf, ShapeError } from '../errors';
import { formatNumber } from './format';
import { FONT, textMeasurer, type MeasureText } from './image';

/** One point of a curve. A `y` that is not finite leaves a gap. */
export type Point = readonly [x: number, y: number];

/** What every chart has. */
interface ChartOptions {
  title: string;
  /** What the vertical axis shows, with its unit: "Accuracy (%)". */
  yLabel: string;
  /** Width of the plotting area in pixels. Default: 440. A bar chart grows where its bars need more. */
  width?: number;
  /** Height of the plotting area in pixels. Default: 280. */
  height?: number;
}

/** Options of {@link lineChart}. */
export interface LineChartOptions extends ChartOptions {
  xLabel: string;
  series: readonly {
    name: string;
    points: readonly Point[];
    /** Draws the line dashed (`true`) or solid (`false`). Default: a pattern by position, the first one solid. */
    dash?: boolean;
  }[];
  /** Limits of the vertical axis; lines beyond are clipped. Default: those of the data. */
  yRange?: readonly [low: number, high: number];
  /** Logarithmic vertical axis; values that are not positive leave a gap. */
  logY?: boolean;
}

/** Options of {@link barChart}. */
export interface BarChartOptions extends ChartOptions {
  xLabel?: string;
  groups: readonly {
    name: string;
    /** Bars of the same name share a colour over all groups. `low` and `high` come together and draw an error bar. */
    bars: readonly { name: string; value: number; low?: number; high?: number }[];
  }[];
}

/** Options of {@link histogram}. */
export interface HistogramOptions extends Omit<ChartOptions, 'yLabel'> {
  xLabel: string;
  /** Values that are not finite are left out. */
  series: readonly { name: string; values: ArrayLike<number> }[];
  /** Number of bins between the smallest and the largest value of all series. */
  bins: number;
}

/** One chart of {@link panels}: the options of the chart function that `kind` names. */
export type Panel =
  | ({ kind: 'line' } & LineChartOptions)
  | ({ kind: 'bar' } & BarChartOptions)
  | ({ kind: 'histogram' } & HistogramOptions);

type PanelSpec = LayerSpec<Field> | UnitSpec<Field>;

// Okabe and Ito's palette, told apart under every common colour blindness, less its yellow, too pale on white.
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#404040'];
const SOLID = [1, 0];
const DASHED = [7, 4];
const DASHES = [SOLID, DASHED, [2, 3], [9, 3, 2, 3]];
// Beyond this many lines, a pair of colour and dash would come again.
const MAX_LINES = COLOURS.length * DASHES.length;

const INK = '#222222';
const FAINT_INK = '#555555';
const TITLE_SIZE = 14;
const LABEL_SIZE = 11;
const LEGEND_SIZE = 12;
const VALUE_SIZE = 10;

/** Draws curves, such as the loss over the iterations, as an SVG. */
export async function lineChart(options: LineChartOptions): Promise<string> {
  return panels([{ kind: 'line', ...options }]);
}

/** Draws groups of bars, each with its value written on it, as an SVG. */
export async function barChart(options: BarChartOptions): Promise<string> {
  return panels([{ kind: 'bar', ...options }]);
}

/** Draws the distributions of several sets of values, each as shares of its own total, as an SVG. */
export async function histogram(options: HistogramOptions): Promise<string> {
  return panels([{ kind: 'histogram', ...options }]);
}

/** Draws several charts as one SVG, two in a row. */
export async function panels(charts: readonly Panel[]): Promise<string> {
  if (charts.length === 0) throw new OptionError('charts', 'charts must hold at least one chart, but is empty');
  const measure = await textMeasurer();
  return render(charts.map((chart) => panelSpec(chart, measure)), measure);
}

function panelSpec(chart: Panel, measure: MeasureText): PanelSpec {
  const { width = 440, height = 280 } = chart;
  requireOneOf('kind', chart.kind, ['line', 'bar', 'histogram']);
  requireNumber('width', width, { min: 100 });
  requireNumber('height', height, { min: 50 });
  switch (chart.kind) {
    case 'line':
      return lineSpec(chart, width, height, measure);
    case 'bar':
      return barSpec(chart, width, height, measure);
    case 'histogram':
      return histogramSpec(chart, width, height, measure);
  }
}

const COMMON_KEYS = ['kind', 'title', 'xLabel', 'width', 'height'];

function lineSpec(chart: LineChartOptions, width: number, height: number, measure: MeasureText): PanelSpec {
  requireKnownKeys('lineChart', chart, [...COMMON_KEYS, 'yLabel', 'series', 'yRange', 'logY']);
  const { series, yRange, logY = false } = chart;
  const names = distinctNames('series', series, MAX_LINES);
  if (yRange) {
    requireNumber('yRange[0]', yRange[0], logY ? { above: 0 } : {});
    requireNumber('yRange[1]', yRange[1], { above: yRange[0] });
  }
  const drawable = (y: number): boolean => Number.isFinite(y) && (!logY || y > 0);
  const inRange = (y: number): boolean => !yRange || (y >= yRange[0] && y <= yRange[1]);
  const rows = series.flatMap(({ name, points }) =>
    // A single point, or the few evaluations of a short run, would hardly be seen as a line alone.
    points.map(([x, y]) => ({
      series: name,
      x,
      y: drawable(y) ? y : null,
      marked: points.length <= 20 && drawable(y) && inRange(y),
    })),
  );
  // A run that has only just begun, or has diverged at once, gets empty axes: Vega would label them NaN.
  const xDomain = rows.length > 0 ? undefined : [0, 1];
  const yDomain = yRange ?? (rows.some(({ y }) => y !== null) ? undefined : [0.1, 1]);
  const dashes = series.map(({ dash }, index) =>
    dash === undefined ? DASHES[index % DASHES.length] : dash ? DASHED : SOLID,
  );
  const { color, strokeDash } = seriesEncoding(names, dashes, width, measure);
  return {
    ...frame(chart.title, width, height, measure),
    data: { values: rows },
    encoding: {
      x: { field: 'x', type: 'quantitative', title: chart.xLabel, scale: { zero: false, ...(xDomain && { domain: xDomain }) } },
      y: {
        field: 'y',
        type: 'quantitative',
        title: chart.yLabel,
        scale: { ...(logY ? { type: 'log' } : { zero: false }), ...(yDomain && { domain: [...yDomain], nice: false }) },
        ...(logY && { axis: { gridOpacity: { condition: { test: IS_POWER_OF_TEN, value: 1 }, value: 0.4 } } }),
      },
      color,
    },
    layer: [
      { mark: { type: 'line', clip: yRange !== undefined }, encoding: { strokeDash } },
      {
        transform: [{ filter: 'datum.marked' }],
        mark: { type: 'point', filled: true, size: 26, opacity: 1 },
      },
    ],
  };
}

const IS_POWER_OF_TEN = 'abs(log(datum.value) / LN10 - round(log(datum.value) / LN10)) < 1e-9';

function barSpec(chart: BarChartOptions, minWidth: number, height: number, measure: MeasureText): PanelSpec {
  requireKnownKeys('barChart', chart, [...COMMON_KEYS, 'yLabel', 'groups']);
  const { groups } = chart;
  distinctNames('groups', groups, Infinity);
  const bars = groups.flatMap((group) => {
    distinctNames(`bars of ${group.name}`, group.bars, COLOURS.length);
    return group.bars.map((bar) => {
      requireNumber(bar.name, bar.value);
      if ((bar.low === undefined) !== (bar.high === undefined)) {
        throw new OptionError(bar.name, `${bar.name} must have both low and high, or neither`);
      }
      return { group: group.name, ...bar, label: formatNumber(bar.value), top: Math.max(0, bar.value, bar.high ?? 0) };
    });
  });
  const names = [...new Set(bars.map(({ name }) => name))];
  distinctNames('bars', names.map((name) => ({ name })), COLOURS.length);

  const barWidth = Math.max(26, ...bars.map(({ label }) => measure(label, VALUE_SIZE) + 6));
  const longestWord = Math.max(...groups.flatMap(({ name }) => name.split(' ')).map((word) => measure(word, LABEL_SIZE)));
  const groupWidth = Math.max(minWidth / groups.length, (names.length * barWidth) / (1 - GROUP_PADDING), longestWord + 10);
  const width = groupWidth * groups.length;
  const padding = Math.max(GROUP_PADDING, 1 - (names.length * MAX_BAR_WIDTH) / groupWidth);
  const wrapped = new Map(groups.map(({ name }) => [name, wrap(name, groupWidth - 8, LABEL_SIZE, false, measure).join('\n')]));
  const color = {
    field: 'name',
    type: 'nominal' as const,
    scale: { domain: names, range: COLOURS.slice(0, names.length) },
    legend: names.length > 1 ? { ...legendColumns(names, width, measure), symbolType: 'square', symbolSize: 110 } : null,
  };
  const xOffset = { field: 'name', type: 'nominal' as const, sort: names, scale: { paddingInner: 0.06 } };
  // Room for the label of the highest bar, which would else run into the legend.
  const highest = Math.max(...bars.map(({ top }) => top));
  const scale = { nice: false, ...(highest > 0 && { domainMax: 1.08 * highest }) };
  return {
    ...frame(chart.title, width, height, measure),
    data: { values: bars.map((bar) => ({ ...bar, group: wrapped.get(bar.group) })) },
    encoding: {
      x: {
        field: 'group',
        type: 'nominal',
        title: chart.xLabel ?? null,
        sort: [...wrapped.values()],
        scale: { paddingInner: padding, paddingOuter: padding / 2 },
        axis: { labelAngle: 0, labelExpr: "split(datum.label, '\\n')", grid: false, labelPadding: 6 },
      },
      xOffset,
    },
    layer: [
      {
        mark: { type: 'bar', cornerRadiusEnd: 2 },
        encoding: { y: { field: 'value', type: 'quantitative', title: chart.yLabel, scale }, color },
      },
      {
        transform: [{ filter: 'isValid(datum.low)' }],
        mark: { type: 'rule', color: INK, strokeWidth: 1.3 },
        encoding: { y: { field: 'low', type: 'quantitative' }, y2: { field: 'high' } },
      },
      {
        mark: { type: 'text', baseline: 'bottom', dy: -3, fontSize: VALUE_SIZE, color: INK },
        encoding: { y: { field: 'top', type: 'quantitative' }, text: { field: 'label' } },
      },
    ],
  };
}

/** The share of a group's width that is left free, at least. */
const GROUP_PADDING = 0.2;
const MAX_BAR_WIDTH = 72;

function histogramSpec(chart: HistogramOptions, width: number, height: number, measure: MeasureText): PanelSpec {
  requireKnownKeys('histogram', chart, [...COMMON_KEYS, 'series', 'bins']);
  const bins = requireNumber('bins', chart.bins, { min: 1, integer: true });
  const names = distinctNames('series', chart.series, COLOURS.length);
  const finite = chart.series.map(({ values }) => Array.from(values).filter(Number.isFinite));
  let [low, high] = [Infinity, -Infinity];
  for (const value of finite.flat()) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const empty = finite.findIndex((values) => values.length === 0);
  if (empty >= 0) throw new ShapeError('series', `series ${names[empty]} must hold at least one finite value, but holds none`);
  // All values alike: one bin of width 1 around them is as good as any.
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const edge = (bin: number): number => low + ((high - low) * bin) / bins;

  const rows = names.flatMap((name, index) => {
    const shares = sharesPerBin(finite[index], low, high, bins);
    const first = shares.findIndex((share) => share > 0);
    const last = shares.findLastIndex((share) => share > 0);
    // The outline starts and ends on the axis, and does not run along it where the series has no values.
    const outline = [
      { x: edge(first), y: 0 },
      ...shares.slice(first, last + 1).map((y, index) => ({ x: edge(first + index), y })),
      { x: edge(last + 1), y: 0 },
    ];
    return outline.map((point) => ({ series: name, ...point }));
  });
  const dashes = names.map((_, index) => DASHES[index % DASHES.length]);
  const { color, strokeDash } = seriesEncoding(names, dashes, width, measure);
  return {
    ...frame(chart.title, width, height, measure),
    data: { values: rows },
    encoding: {
      x: { field: 'x', type: 'quantitative', title: chart.xLabel, scale: { zero: false, nice: false } },
      y: { field: 'y', type: 'quantitative', title: 'Share of values (%)', stack: null },
      color,
    },
    layer: [
      { mark: { type: 'area', interpolate: 'step-after', fillOpacity: 0.2 } },
      { mark: { type: 'line', interpolate: 'step-after' }, encoding: { strokeDash } },
    ],
  };
}

/** The percentage of the values that falls into each of `bins` equal bins from `low` to `high`. */
function sharesPerBin(values: readonly number[], low: number, high: number, bins: number): number[] {
  const counts = new Array<number>(bins).fill(0);
  // The largest value belongs to the last bin, not to one after it.
  for (const value of values) counts[Math.min(bins - 1, Math.floor(((value - low) / (high - low)) * bins))]++;
  return counts.map((count) => (100 * count) / values.length);
}

function distinctNames(argument: string, items: readonly { name: string }[], max: number): string[] {
  const names = items.map(({ name }) => name);
  if (names.length === 0) throw new OptionError(argument, `${argument} must not be empty`);
  if (names.length > max) {
    throw new OptionError(argument, `${argument} must have at most ${max} names to be told apart, but has ${names.length}`);
  }
  const repeated = names.find((name, index) => names.indexOf(name) !== index);
  if (repeated !== undefined) {
    throw new OptionError(argument, `${argument} must have distinct names, but ${repeated} comes twice`);
  }
  return names;
}

function frame(title: string, width: number, height: number, measure: MeasureText) {
  return { title: { text: wrap(title, width, TITLE_SIZE, true, measure) }, width, height };
}

/** Colour and dash by series; both have the same legend, so that Vega-Lite draws it once. */
function seriesEncoding(names: string[], dashes: number[][], width: number, measure: MeasureText) {
  const legend = { ...legendColumns(names, width, measure), symbolType: 'stroke', symbolSize: 700, clipHeight: 14 };
  const base = { field: 'series', type: 'nominal' as const, legend };
  const colours = names.map((_, index) => COLOURS[index % COLOURS.length]);
  return {
    color: { ...base, scale: { domain: names, range: colours } },
    strokeDash: { ...base, scale: { domain: names, range: dashes } },
  };
}

/** As many legend columns as fit above the plot. */
function legendColumns(names: string[], width: number, measure: MeasureText): { columns: number } {
  const widest = Math.max(...names.map((name) => measure(name, LEGEND_SIZE))) + LEGEND_SYMBOL_WIDTH;
  return { columns: Math.min(names.length, Math.max(1, Math.floor(width / widest))) };
}

/** Room for a legend's symbol and the gap to the next entry. */
const LEGEND_SYMBOL_WIDTH = 50;

/** Breaks text between words into lines that fit. */
function wrap(text: string, width: number, fontSize: number, bold: boolean, measure: MeasureText): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const longer = lines.length > 0 ? `${lines.at(-1)!} ${word}` : word;
    if (lines.length > 0 && measure(longer, fontSize, bold) <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

const FAMILY = `${FONT}, sans-serif`;

const CONFIG: TopLevelSpec['config'] = {
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

async function render(charts: PanelSpec[], measure: MeasureText): Promise<string> {
  const [vega, vegaLite] = await Promise.all([import('vega'), import('vega-lite')]);
  useExactTextWidths(vega, measure);
  const spec: TopLevelSpec = {
    background: 'white',
    padding: 16,
    config: CONFIG,
    concat: charts,
    columns: 2,
    spacing: 36,
    resolve: { scale: { color: 'independent', strokeDash: 'independent' } },
  };
  const view = new vega.View(vega.parse(vegaLite.compile(spec).spec), { renderer: 'none' });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}

interface TextMetrics {
  width: (item: TextItem, text: unknown) => number;
}

interface TextItem {
  font?: string;
  fontSize?: number;
  fontWeight?: string | number;
}

const measured = new WeakSet<TextMetrics>();

/**
 * Without a canvas, Vega takes every letter to be 0.8 em wide, which is half as much again as it is: wide margins,
 * legends full of holes. Text in our font is measured instead; a host application's own charts keep what they had.
 */
function useExactTextWidths(vega: object, measure: MeasureText): void {
  const { textMetrics } = vega as { textMetrics: TextMetrics };
  if (measured.has(textMetrics)) return;
  measured.add(textMetrics);
  const original = textMetrics.width;
  textMetrics.width = (item, text) =>
    item.font === FAMILY
      ? measure(String(text), item.fontSize ?? LABEL_SIZE, item.fontWeight === 'bold')
      : original(item, text);
}
