import { barChart, histogram, lineChart, panels, svgToPng, type LineChartOptions, type Point } from '../../lib/report';
import { OptionError, ShapeError } from '../../lib/errors';
import { readPng } from '../support/png';

const curve = (length: number, f: (i: number) => number): Point[] => Array.from({ length }, (_, i) => [i * 100, f(i)]);

const line: LineChartOptions = {
  title: 'Training of SphereNet',
  xLabel: 'Iteration',
  yLabel: 'Loss (nats)',
  series: [
    { name: 'train', points: curve(50, (i) => 2.3 * Math.exp(-i / 20)) },
    { name: 'test', points: curve(5, (i) => 2.4 * Math.exp(-i / 3)), dash: true },
  ],
};

/** Every line of visible text; the ARIA labels do not count. */
function texts(svg: string): string[] {
  return [...svg.matchAll(/<(?:text|tspan)[^>]*>([^<]+)</g)].map((match) => match[1]);
}

/** The elements drawn for marks of one kind, such as "line mark" or "bar". */
function marks(svg: string, kind: string): string[] {
  return [...svg.matchAll(/<path [^>]*>/g)].map(([tag]) => tag).filter((tag) => tag.includes(`aria-roledescription="${kind}"`));
}

function vertices(path: string): number {
  return [.../ d="([^"]*)"/.exec(path)![1].matchAll(/[ML]/g)].length;
}

function size(svg: string): [width: number, height: number] {
  const [, width, height] = /<svg [^>]*width="([\d.]+)" height="([\d.]+)"/.exec(svg)!;
  return [Number(width), Number(height)];
}

/** The pixels from the left, top, right and bottom edge to the nearest ink. */
async function margins(svg: string): Promise<number[]> {
  const [width] = size(svg);
  const png = await readPng(await svgToPng(svg, { width: Math.round(width) }));
  let [left, top, right, bottom] = [png.width, png.height, png.width, png.height];
  for (let y = 0; y < png.height; y++) {
    for (let x = 0; x < png.width; x++) {
      if (png.data[4 * (y * png.width + x)] > 200 && png.data[4 * (y * png.width + x) + 2] > 200) continue;
      left = Math.min(left, x);
      top = Math.min(top, y);
      right = Math.min(right, png.width - 1 - x);
      bottom = Math.min(bottom, png.height - 1 - y);
    }
  }
  return [left, top, right, bottom];
}

describe('lineChart', () => {
  test('shows title, axes, legend and every point', async () => {
    const svg = await lineChart(line);
    expect(texts(svg)).toEqual(expect.arrayContaining(['Training of SphereNet', 'Iteration', 'Loss (nats)', 'train', 'test']));
    expect(texts(svg).filter((text) => text === 'train')).toHaveLength(1);
    expect(marks(svg, 'line mark').map(vertices)).toEqual([50, 5]);
    expect(svg).toContain('font-family="DejaVu Sans, sans-serif"');
  });

  test('tells lines apart by colour and dash', async () => {
    const series = Array.from({ length: 28 }, (_, i) => ({ name: `run ${i}`, points: curve(30, (x) => x + i) }));
    const styles = marks(await lineChart({ ...line, series }), 'line mark').map(
      (tag) => `${/stroke="([^"]*)"/.exec(tag)![1]} ${/stroke-dasharray="([^"]*)"/.exec(tag)?.[1]}`,
    );
    expect(new Set(styles).size).toBe(28);
    await expect(lineChart({ ...line, series: [...series, { name: 'one more', points: [] }] })).rejects.toThrow(OptionError);
  });

  test('draws dash: true dashed and dash: false solid, whatever the position', async () => {
    const points = curve(30, (i) => i);
    const series = [{ name: 'a', points, dash: true }, { name: 'b', points, dash: false }];
    const [a, b] = marks(await lineChart({ ...line, series }), 'line mark');
    expect(a).toContain('stroke-dasharray="7,4"');
    expect(b).not.toContain('stroke-dasharray="7,4"');
  });

  test('marks the points of a short series only', async () => {
    expect(marks(await lineChart(line), 'point')).toHaveLength(5);
    const single = await lineChart({ ...line, series: [{ name: 'one', points: [[100, 1]] }] });
    expect(marks(single, 'point')).toHaveLength(1);
  });

  test('leaves a gap for values that cannot be drawn', async () => {
    const points = curve(50, (i) => (i >= 20 && i < 30 ? [NaN, Infinity, -Infinity][i % 3] : 1 + i));
    const svg = await lineChart({ ...line, series: [{ name: 'train', points }] });
    const [path] = marks(svg, 'line mark');
    expect(path.match(/M/g)).toHaveLength(2);
    expect(vertices(path)).toBe(40);
    expect(svg).not.toMatch(/NaN|Infinity/);
    const logarithmic = await lineChart({ ...line, logY: true, series: [{ name: 'train', points: curve(50, (i) => i - 10) }] });
    expect(vertices(marks(logarithmic, 'line mark')[0])).toBe(39);
  });

  test.each([false, true])('draws empty axes where there is nothing to draw (logY: %p)', async (logY) => {
    for (const points of [[], [[0, NaN]], [[0, NaN], [1, NaN]]] as Point[][]) {
      const svg = await lineChart({ ...line, logY, series: [{ name: 'train', points }] });
      expect(svg).not.toMatch(/NaN|Infinity/);
      expect(texts(svg)).toEqual(expect.arrayContaining(['train', logY ? '0.1' : '0.2']));
    }
  });

  test('keeps to yRange', async () => {
    const svg = await lineChart({ ...line, yRange: [0, 1] });
    expect(texts(svg)).toEqual(expect.arrayContaining(['0.0', '1.0']));
    expect(texts(svg)).not.toContain('1.5');
    expect(svg).toContain('clip-path');
    await expect(lineChart({ ...line, yRange: [1, 1] })).rejects.toThrow(OptionError);
    await expect(lineChart({ ...line, yRange: [0, 1], logY: true })).rejects.toThrow(OptionError);
  });

  test('shades a band in the colour of its line, without a legend of its own', async () => {
    const band = [[0, 1, 3], [100, 2, 4], [200, NaN, 4]] as const;
    const svg = await lineChart({ ...line, series: [{ name: 'mean', points: [[0, 2], [100, 3]], band }, line.series[1]] });
    const [area, ...others] = marks(svg, 'area mark');
    expect(others).toEqual([]);
    expect(vertices(area)).toBe(4);
    const colour = /stroke="(#\w+)"/.exec(marks(svg, 'line mark')[0])![1];
    expect(area).toContain(`fill="${colour}"`);
    expect(texts(svg).filter((text) => text === 'mean')).toHaveLength(1);
  });

  test('has powers of ten at equal steps on a logarithmic horizontal axis', async () => {
    const svg = await lineChart({ ...line, logX: true, series: [{ name: 'a', points: [[1, 0], [10, 0], [100, 0]] }] });
    const [left, middle, right] = [.../ d="([^"]*)"/.exec(marks(svg, 'line mark')[0])![1].matchAll(/[ML](-?[\d.]+),/g)].map(([, x]) => Number(x));
    expect(middle - left).toBeCloseTo(right - middle, 3);
    await expect(lineChart({ ...line, logX: true })).rejects.toThrow('x must be');
  });

  test('refuses what it would have to draw wrong', async () => {
    await expect(lineChart({ ...line, series: [] })).rejects.toThrow(OptionError);
    await expect(lineChart({ ...line, series: [line.series[0], line.series[0]] })).rejects.toThrow(/train comes twice/);
    await expect(lineChart({ ...line, ylabel: 'Loss' } as LineChartOptions)).rejects.toThrow(/no option "ylabel"/);
    await expect(lineChart({ ...line, width: NaN })).rejects.toThrow(OptionError);
  });

  test('draws names with characters special to XML', async () => {
    const svg = await lineChart({ ...line, title: 'θ < 90° & "margin"', series: [{ ...line.series[0], name: '<a & b>' }] });
    expect(texts(svg)).toContain('&lt;a &amp; b&gt;');
    await expect(svgToPng(svg)).resolves.toBeInstanceOf(Buffer);
  });
});

describe('barChart', () => {
  const groups = ['CPU', 'GPU'].map((name, i) => ({
    name,
    bars: [
      { name: 'SphereConv', value: 900.25 * (i + 1), low: 850, high: 2000 },
      { name: 'Conv', value: 1234 * (i + 1) },
    ],
  }));

  test('shows groups, legend and the value of every bar', async () => {
    const svg = await barChart({ title: 'Throughput', xLabel: 'Device', yLabel: 'Images per second', groups });
    expect(texts(svg)).toEqual(
      expect.arrayContaining(['Device', 'Images per second', 'CPU', 'GPU', 'SphereConv', 'Conv']),
    );
    expect(texts(svg)).toEqual(
      expect.arrayContaining(['900.3', '1,801', '1,234', '2,468']),
    );
    expect(marks(svg, 'bar')).toHaveLength(4);
    expect(svg.match(/aria-roledescription="rule mark"/g)).toHaveLength(2);
  });

  test('needs no legend for bars of one kind', async () => {
    const svg = await barChart({ title: 'T', yLabel: 'Y', groups: [{ name: 'only', bars: [{ name: 'kind', value: -3 }] }] });
    expect(texts(svg)).toEqual(expect.arrayContaining(['only', '-3']));
    expect(texts(svg)).not.toContain('kind');
  });

  test('breaks long names of groups and grows with the number of bars', async () => {
    const many = Array.from({ length: 12 }, (_, i) => ({ name: `network number ${i}`, bars: groups[0].bars }));
    const svg = await barChart({ title: 'T', yLabel: 'Y', groups: many });
    expect(texts(svg)).toEqual(expect.arrayContaining(['network', 'number 11']));
    expect(size(svg)[0]).toBeGreaterThan(700);
  });

  test('refuses half an error bar, values that are not finite and repeated names', async () => {
    const chart = (bars: (typeof groups)[0]['bars']) => barChart({ title: 'T', yLabel: 'Y', groups: [{ name: 'g', bars }] });
    await expect(chart([{ name: 'a', value: 1, low: 0 } as never])).rejects.toThrow(/both low and high/);
    await expect(chart([{ name: 'a', value: NaN }])).rejects.toThrow(OptionError);
    await expect(chart([{ name: 'a', value: 1 }, { name: 'a', value: 2 }])).rejects.toThrow(/comes twice/);
  });
});

describe('histogram', () => {
  const labels = { title: 'Angles', xLabel: 'Angle (°)' };

  test('shows each series as shares of its own total', async () => {
    const svg = await histogram({
      ...labels,
      bins: 4,
      series: [
        { name: 'few', values: [0, 1, 2, 4] },
        { name: 'many', values: Float32Array.from({ length: 1000 }, () => 3.5) },
      ],
    });
    expect(texts(svg)).toEqual(expect.arrayContaining(['Angle (°)', 'Share of values (%)', 'few', 'many']));
    expect(marks(svg, 'area mark')).toHaveLength(2);
    // The outline of "many" is one bin of 100%: up, along, down.
    const heights = (path: string): number[] => [...path.matchAll(/[ML][\d.]+,([\d.]+)/g)].map((match) => Number(match[1]));
    const [few, many] = marks(svg, 'line mark').map(heights);
    expect([Math.max(...many), Math.min(...many)]).toEqual([280, 0]);
    // The four values fall one into each bin, the largest into the last: 25% each.
    expect([few[0], few.at(-1)]).toEqual([280, 280]);
    expect(new Set(few.slice(2, -1))).toEqual(new Set([210]));
    expect(marks(svg, 'line mark')[0]).toMatch(/L440,210L440,280"/);
  });

  test('takes values all alike, and refuses a series without any', async () => {
    const alike = await histogram({ ...labels, bins: 10, series: [{ name: 'a', values: [7, 7, NaN] }] });
    expect(alike).not.toContain('NaN');
    await expect(histogram({ ...labels, bins: 10, series: [{ name: 'a', values: [NaN] }] })).rejects.toThrow(ShapeError);
    await expect(histogram({ ...labels, bins: 0, series: [{ name: 'a', values: [1] }] })).rejects.toThrow(OptionError);
  });
});

test('panels stand side by side, two in a row, each with its own legend', async () => {
  const two = await panels([{ kind: 'line', ...line, title: 'Accuracy' }, { kind: 'line', ...line, title: 'Loss' }]);
  const three = await panels([
    { kind: 'line', ...line },
    { kind: 'histogram', title: 'H', xLabel: 'X', bins: 3, series: [{ name: 'values', values: [1, 2, 3] }] },
    { kind: 'bar', title: 'B', yLabel: 'Y', groups: [{ name: 'g', bars: [{ name: 'b', value: 1 }] }] },
  ]);
  const [single] = [size(await lineChart(line))];
  expect(texts(two)).toEqual(expect.arrayContaining(['Accuracy', 'Loss']));
  expect(texts(two).filter((text) => text === 'train')).toHaveLength(2);
  expect(size(two)[0]).toBeGreaterThan(1.8 * single[0]);
  expect(size(two)[1]).toBeCloseTo(single[1], 0);
  expect(size(three)[1]).toBeGreaterThan(1.8 * single[1]);
  await expect(panels([{ ...line, kind: 'pie' } as never])).rejects.toThrow(OptionError);
  await expect(panels([])).rejects.toThrow(OptionError);
});

test('nothing is clipped and no margin is wasted, whatever the texts', async () => {
  const names = ['iiiiiiiiiiiiiiiiiiii', 'WWWWWWWWWWWWWWWWWWWW', 'SphereConv (sigmoid)', 'MMMMMMMMMMMM'];
  const charts = await Promise.all([
    lineChart(line),
    lineChart({
      ...line,
      title: 'WWW '.repeat(30).trim(),
      series: names.map((name, i) => ({ name, points: curve(30, (x) => 1e7 * (x + i)) })),
    }),
    barChart({ title: 'T', yLabel: 'Y', groups: names.map((name) => ({ name, bars: [{ name: 'b', value: 1e9 + 0.5 }] })) }),
  ]);
  for (const svg of charts) {
    for (const margin of await margins(svg)) {
      expect(margin).toBeGreaterThanOrEqual(13);
      expect(margin).toBeLessThanOrEqual(24);
    }
  }
});

test("text in our font is laid out by its true width, and another user of Vega keeps Vega's own measure", async () => {
  await lineChart(line);
  const { textMetrics } = (await import('vega')) as unknown as { textMetrics: { width: (item: object, text: string) => number } };
  const digit = 1303 / 2048;
  expect(textMetrics.width({ font: 'DejaVu Sans, sans-serif', fontSize: 10 }, '0123456789')).toBeCloseTo(100 * digit, 0);
  expect(textMetrics.width({ font: 'Arial', fontSize: 10 }, '0123456789')).toBe(80);
});

test('importing the room loads neither Vega nor the rasteriser', async () => {
  const refuse = (): never => {
    throw new Error('loaded too early');
  };
  await jest.isolateModulesAsync(async () => {
    for (const name of ['vega', 'vega-lite', '@resvg/resvg-js']) jest.doMock(name, refuse);
    const room = await import('../../lib/report');
    await expect(room.lineChart(line)).rejects.toThrow('loaded too early');
  });
});
