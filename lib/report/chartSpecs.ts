// What Vega-Lite draws of each kind of chart, its options checked.
import type { Field } from 'vega-lite/build/src/channeldef';
import type { LayerSpec, UnitSpec } from 'vega-lite/build/src/spec';
import { OptionError, requireKnownKeys, requireNumber, ShapeError } from '../errors';
import type { BarChartOptions, HistogramOptions, LineChartOptions } from './chart';
import {
  COLOURS, DASHED, DASHES, frame, INK, LABEL_SIZE, legendColumns, MAX_LINES, seriesEncoding, SOLID, VALUE_SIZE, wrap,
} from './chartStyle';
import { formatNumber } from './format';
import type { MeasureText } from './image';

export type PanelSpec = LayerSpec<Field> | UnitSpec<Field>;

const COMMON_KEYS = ['kind', 'title', 'xLabel', 'width', 'height'];

export function lineSpec(chart: LineChartOptions, width: number, height: number, measure: MeasureText): PanelSpec {
  requireKnownKeys('lineChart', chart, [...COMMON_KEYS, 'yLabel', 'series', 'yRange', 'logX', 'logY']);
  const { series, yRange, logX = false, logY = false } = chart;
  const names = distinctNames('series', series, MAX_LINES);
  if (yRange) {
    requireNumber('yRange[0]', yRange[0], logY ? { above: 0 } : {});
    requireNumber('yRange[1]', yRange[1], { above: yRange[0] });
  }
  if (logX) for (const [x] of series.flatMap(({ points, band = [] }) => [...points, ...band])) requireNumber('x', x, { above: 0 });
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
  const bands = series.flatMap(({ name, band = [] }) =>
    band.filter(([, low, high]) => drawable(low) && drawable(high)).map(([x, low, high]) => ({ series: name, x, low, high })),
  );
  // A run that has only just begun, or has diverged at once, gets empty axes: Vega would label them NaN.
  const xDomain = rows.length > 0 ? undefined : logX ? [1, 10] : [0, 1];
  const yDomain = yRange ?? (rows.some(({ y }) => y !== null) ? undefined : [0.1, 1]);
  const dashes = series.map(({ dash }, index) =>
    dash === undefined ? DASHES[index % DASHES.length] : dash ? DASHED : SOLID,
  );
  const { color, strokeDash } = seriesEncoding(names, dashes, width, measure);
  return {
    ...frame(chart.title, width, height, measure),
    data: { values: rows },
    encoding: {
      x: { field: 'x', type: 'quantitative', title: chart.xLabel, scale: { ...(logX ? { type: 'log' } : { zero: false }), ...(xDomain && { domain: xDomain }) } },
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
      ...(bands.length > 0 ? [bandLayer(bands, chart.yLabel, yRange !== undefined)] : []),
      { mark: { type: 'line', clip: yRange !== undefined }, encoding: { strokeDash } },
      {
        transform: [{ filter: 'datum.marked' }],
        mark: { type: 'point', filled: true, size: 26, opacity: 1 },
      },
    ],
  };
}

/** Under the lines, and without a legend of its own. */
function bandLayer(bands: readonly { low: number; high: number }[], yLabel: string, clip: boolean): UnitSpec<Field> {
  return {
    data: { values: [...bands] },
    mark: { type: 'area', opacity: 0.18, clip, tooltip: false },
    encoding: { y: { field: 'low', type: 'quantitative', title: yLabel }, y2: { field: 'high' } },
  };
}

const IS_POWER_OF_TEN = 'abs(log(datum.value) / LN10 - round(log(datum.value) / LN10)) < 1e-9';

export function barSpec(chart: BarChartOptions, minWidth: number, height: number, measure: MeasureText): PanelSpec {
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

export function histogramSpec(chart: HistogramOptions, width: number, height: number, measure: MeasureText): PanelSpec {
  requireKnownKeys('histogram', chart, [...COMMON_KEYS, 'series', 'bins']);
  const bins = requireNumber('bins', chart.bins, { min: 1, max: 10_000, integer: true });
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
