import { dirname } from 'node:path';
import type { ResvgRenderOptions } from '@resvg/resvg-js';
import { DataError, requireKnownKeys, requireNumber } from '../errors';
import { makeFolder, writeWhole } from '../files';

/** The family of every chart's text; the PNG is drawn with the DejaVu Sans that comes with this package. */
export const FONT = 'DejaVu Sans';

// System fonts stay out: the picture must be the same on every host, those without any font included.
const fontOptions: ResvgRenderOptions['font'] = {
  loadSystemFonts: false,
  fontFiles: ['', '-Bold'].map((face) => require.resolve(`dejavu-fonts-ttf/ttf/DejaVuSans${face}.ttf`)),
  defaultFontFamily: FONT,
  sansSerifFamily: FONT,
};

/** The width in pixels of one line of text in {@link FONT}. */
export type MeasureText = (text: string, fontSize: number, bold?: boolean) => number;

const EM = 100;
const widthsInEm = new Map<string, number>();

/** Loads the renderer and returns a function that measures text with it. */
export async function textMeasurer(): Promise<MeasureText> {
  const { Resvg } = await import('@resvg/resvg-js');
  return (text, fontSize, bold = false) => {
    const weight = bold ? 'bold' : 'normal';
    const key = `${weight} ${text}`;
    let width = widthsInEm.get(key);
    if (width === undefined) {
      const escaped = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
      const element = `<text font-size="${EM}" font-weight="${weight}">${escaped}</text>`;
      const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1">${element}</svg>`;
      const box = new Resvg(svg, { font: fontOptions }).getBBox();
      // The box holds the ink only; the bearing to its right is taken to be that to its left.
      width = box ? (2 * box.x + box.width) / EM : 0;
      widthsInEm.set(key, width);
    }
    return width * fontSize;
  };
}

/** Options of {@link svgToPng}. */
export interface PngOptions {
  /** Width in pixels; the height follows. Default: twice the width of the drawing, for sharp text on dense screens. */
  width?: number;
}

/**
 * Draws an SVG as a PNG on white, with DejaVu Sans for all text.
 * @throws {DataError} when the SVG cannot be parsed.
 */
export async function svgToPng(svg: string, options: PngOptions = {}): Promise<Buffer> {
  requireKnownKeys('svgToPng', options, ['width']);
  if (options.width !== undefined) requireNumber('width', options.width, { min: 1, max: 16384, integer: true });
  const { renderAsync } = await import('@resvg/resvg-js');
  try {
    const image = await renderAsync(svg, {
      font: fontOptions,
      background: 'white',
      fitTo: options.width === undefined ? { mode: 'zoom', value: 2 } : { mode: 'width', value: options.width },
    });
    return image.asPng();
  } catch (cause) {
    throw new DataError('svg', `the SVG cannot be drawn: ${(cause as Error).message}`, { cause });
  }
}

/** Writes `basePath.svg` and `basePath.png`, making folders as needed. A reader never sees half a file. */
export async function saveChart(svg: string, basePath: string): Promise<void> {
  const png = await svgToPng(svg);
  await makeFolder(dirname(basePath));
  await writeWhole(`${basePath}.svg`, svg);
  await writeWhole(`${basePath}.png`, png);
}
