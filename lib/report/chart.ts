import type { TopLevelSpec } from 'vega-lite';
import { OptionError, requireNumber, requireOneOf, requireOptions } from '../errors';
import { barSpec, histogramSpec, lineSpec, type PanelSpec } from './chartSpecs';
import { CONFIG, FAMILY, LABEL_SIZE } from './chartStyle';
import { textMeasurer, type MeasureText } from './image';

/** One point of a curve. A `y` that is not finite leaves a gap. */
export type Point = readonly [x: number, y: number];

/** One point of a band. */
export type BandPoint = readonly [x: number, low: number, high: number];

/** What every chart has. */
interface ChartOptions {
  title: string;
  /** What the vertical axis shows, with its unit: "Accuracy (%)". */
  yLabel: string;
  /** Width of the plotting area in pixels, 100 to 10,000. Default: 440. A bar chart grows where its bars need more. */
  width?: number;
  /** Height of the plotting area in pixels, 50 to 10,000. Default: 280. */
  height?: number;
}

/** Options of {@link lineChart}. */
export interface LineChartOptions extends ChartOptions {
  xLabel: string;
  series: readonly {
    name: string;
    points: readonly Point[];
    /** Shaded between `low` and `high`, such as the spread over several seeds. */
    band?: readonly BandPoint[];
    /** Draws the line dashed (`true`) or solid (`false`). Default: a pattern by position, the first one solid. */
    dash?: boolean;
  }[];
  /** Limits of the vertical axis; lines beyond are clipped. Default: those of the data. */
  yRange?: readonly [low: number, high: number];
  /** Logarithmic vertical axis; values that are not positive leave a gap. */
  logY?: boolean;
  /** Logarithmic horizontal axis; every x must be greater than 0. */
  logX?: boolean;
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
  /** Number of bins, 1 to 10,000, between the smallest and the largest value of all series. */
  bins: number;
}

/** One chart of {@link panels}: the options of the chart function that `kind` names. */
export type Panel =
  | ({ kind: 'line' } & LineChartOptions)
  | ({ kind: 'bar' } & BarChartOptions)
  | ({ kind: 'histogram' } & HistogramOptions);

/** Draws curves, such as the loss over the iterations, as an SVG. */
export async function lineChart(options: LineChartOptions): Promise<string> {
  requireOptions('lineChart', options);
  return panels([{ kind: 'line', ...options }]);
}

/** Draws groups of bars, each with its value written on it, as an SVG. */
export async function barChart(options: BarChartOptions): Promise<string> {
  requireOptions('barChart', options);
  return panels([{ kind: 'bar', ...options }]);
}

/** Draws the distributions of several sets of values, each as shares of its own total, as an SVG. */
export async function histogram(options: HistogramOptions): Promise<string> {
  requireOptions('histogram', options);
  return panels([{ kind: 'histogram', ...options }]);
}

/** Draws several charts as one SVG, two in a row. */
export async function panels(charts: readonly Panel[]): Promise<string> {
  if (charts.length === 0) throw new OptionError('charts', 'charts must hold at least one chart, but is empty');
  const measure = await textMeasurer();
  return render(charts.map((chart) => panelSpec(chart, measure)), measure);
}

/** A picture of more pixels would hold gigabytes. */
const largestSide = 10_000;

function panelSpec(chart: Panel, measure: MeasureText): PanelSpec {
  const { width = 440, height = 280 } = chart;
  requireOneOf('kind', chart.kind, ['line', 'bar', 'histogram']);
  requireNumber('width', width, { min: 100, max: largestSide });
  requireNumber('height', height, { min: 50, max: largestSide });
  switch (chart.kind) {
    case 'line':
      return lineSpec(chart, width, height, measure);
    case 'bar':
      return barSpec(chart, width, height, measure);
    case 'histogram':
      return histogramSpec(chart, width, height, measure);
  }
}

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
