import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lineChart, saveChart, svgToPng } from '../../lib/report';
import { textMeasurer } from '../../lib/report/image';
import { DataError, OptionError } from '../../lib/errors';
import { type Picture, readPng } from '../support/png';

let svg: string;
beforeAll(async () => {
  svg = await lineChart({
    title: 'A title of some length',
    xLabel: 'Iteration',
    yLabel: 'Loss',
    series: [{ name: 'train', points: [[0, 2], [100, 1]] }],
    width: 300,
    height: 150,
  });
});

/** Pixels darker than mid-grey in a rectangle. */
function darkPixels(png: Picture, [left, top, right, bottom]: [number, number, number, number]): number {
  let dark = 0;
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const offset = 4 * (y * png.width + x);
      if (png.data[offset] < 100 && png.data[offset + 1] < 100 && png.data[offset + 2] < 100) dark++;
    }
  }
  return dark;
}

describe('svgToPng', () => {
  test('draws at twice the size, or at the width asked for', async () => {
    const [, width, height] = /width="([\d.]+)" height="([\d.]+)"/.exec(svg)!;
    const data = await svgToPng(svg);
    expect([...data.subarray(0, 8)]).toEqual([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
    const png = await readPng(data);
    expect(Math.abs(png.width - 2 * Number(width))).toBeLessThanOrEqual(1);
    expect(Math.abs(png.height - 2 * Number(height))).toBeLessThanOrEqual(1);
    const wide = await readPng(await svgToPng(svg, { width: 1000 }));
    expect(wide.width).toBe(1000);
    expect(wide.height / wide.width).toBeCloseTo(Number(height) / Number(width), 2);
  });

  test('draws the text, on an opaque white ground', async () => {
    const png = await readPng(await svgToPng(svg));
    expect([...png.data.subarray(0, 4)]).toEqual([255, 255, 255, 255]);
    // The title is 14 px high, below a padding of 16 px, all doubled.
    const title = darkPixels(png, [0, 28, png.width, 66]);
    expect(title).toBeGreaterThan(400);
    const untitled = await readPng(await svgToPng(svg.replaceAll('A title of some length', '')));
    expect(darkPixels(untitled, [0, 28, untitled.width, 66])).toBe(0);
  });

  test('falls back to DejaVu Sans for any other family', async () => {
    const foreign = await readPng(await svgToPng(svg.replaceAll('DejaVu Sans, sans-serif', 'No Such Font')));
    expect(darkPixels(foreign, [0, 28, foreign.width, 66])).toBeGreaterThan(400);
  });

  test('refuses what is no SVG, and senseless widths', async () => {
    await expect(svgToPng('<svg')).rejects.toThrow(DataError);
    await expect(svgToPng(svg, { width: 0.5 })).rejects.toThrow(OptionError);
  });
});

test('text is measured as it is drawn', async () => {
  const measure = await textMeasurer();
  // Advance widths from the font's own tables: digits are 1303 of 2048 units wide, bold ones 1425.
  expect(measure('0000000000', 10)).toBeCloseTo((13030 / 2048) * 10, 0);
  expect(measure('0000000000', 10, true)).toBeCloseTo((14250 / 2048) * 10, 0);
  expect(measure('a & <b>', 20)).toBeCloseTo(2 * measure('a & <b>', 10), 6);
  expect(measure('', 10)).toBe(0);
});

describe('saveChart', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'spherenet-chart-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  test('writes both files, makes folders, replaces an older chart and leaves nothing else', async () => {
    const base = join(folder, 'a', 'b', 'loss');
    await saveChart('<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>', base);
    await saveChart(svg, base);
    expect(await readFile(`${base}.svg`, 'utf8')).toBe(svg);
    expect((await readPng(await readFile(`${base}.png`))).width).toBeGreaterThan(600);
    expect((await readdir(join(folder, 'a', 'b'))).sort()).toEqual(['loss.png', 'loss.svg']);
  });

  test('leaves no temporary file behind when it fails', async () => {
    const base = join(folder, 'loss');
    await mkdir(`${base}.png`);
    await expect(saveChart(svg, base)).rejects.toThrow();
    expect((await readdir(folder)).sort()).toEqual(['loss.png', 'loss.svg']);
    await expect(saveChart('no svg', join(folder, 'other'))).rejects.toThrow(DataError);
    expect(await readdir(folder)).toHaveLength(2);
  });
});
