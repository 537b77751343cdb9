export { barChart, histogram, lineChart, panels } from './chart';
export type { BandPoint, BarChartOptions, HistogramOptions, LineChartOptions, Panel, Point } from './chart';
export { formatBytes, formatCount, formatDuration, formatNumber, formatPercent, formatSignificant } from './format';
export { saveChart, svgToPng } from './image';
export type { PngOptions } from './image';
export { binnedMean, logCurve, readLog } from './log';
export type { LogEntry } from './log';
export { markdownTable, textTable } from './table';
export type { Alignment, Table } from './table';
