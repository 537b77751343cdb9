import { readFile } from 'node:fs/promises';
import { DataError, requireNumber } from '../errors';
import type { Point } from './chart';

/** One line of a training log: the event's name and whatever was measured. */
export interface LogEntry {
  event: string;
  [field: string]: unknown;
}

/**
 * Reads a training log in JSON lines. A last line cut short by a killed run is left out.
 * @throws {DataError} naming the file and the line when any other line is damaged, or when the file cannot be read.
 */
export async function readLog(path: string): Promise<LogEntry[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new DataError(path, `cannot read the log ${path}: ${(cause as Error).message}`, { cause });
  }
  const lines = text.split('\n');
  const entries: LogEntry[] = [];
  lines.forEach((line, index) => {
    if (line.trim() === '') return;
    try {
      entries.push(parseEntry(line));
    } catch (cause) {
      // Only the last line has no newline after it: it was still being written.
      if (index === lines.length - 1) return;
      throw new DataError(path, `${path}:${index + 1} is damaged: ${(cause as Error).message}`, { cause });
    }
  });
  return entries;
}

/** What can be read of a log. */
export interface IntactLog {
  entries: LogEntry[];
  /** Where each entry ends in the file. */
  ends: number[];
  /** The first line that is damaged, counted from 1: it and what follows is left out. Null where there is none. */
  damagedLine: number | null;
}

/**
 * The entries of a log up to the first that is damaged, as by zeros after a power cut. A last line that was cut short by a
 * kill is no damage. @internal
 */
export function intactLog(bytes: Uint8Array): IntactLog {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const log: IntactLog = { entries: [], ends: [], damagedLine: null };
  for (let start = 0, line = 1; start < buffer.length; line++) {
    const newline = buffer.indexOf('\n', start);
    const text = buffer.toString('utf8', start, newline < 0 ? buffer.length : newline);
    if (newline < 0) {
      if (!text.startsWith('{"event":') || text.includes('\0')) log.damagedLine = line;
      break;
    }
    start = newline + 1;
    try {
      log.entries.push(parseEntry(text));
      log.ends.push(start);
    } catch {
      log.damagedLine = line;
      break;
    }
  }
  return log;
}

function parseEntry(line: string): LogEntry {
  const entry: unknown = JSON.parse(line);
  if (typeof entry !== 'object' || entry === null || !('event' in entry) || typeof entry.event !== 'string') {
    throw new Error('expected an object with a string field "event"');
  }
  return entry as LogEntry;
}

/**
 * The points of one curve: `field` over `iteration` for every entry of kind `event` that has the field.
 * A value that is not a number, such as the `null` which JSON makes of NaN, becomes NaN: a gap in the chart.
 */
export function logCurve(entries: readonly LogEntry[], event: string, field: string): Point[] {
  return entries
    .filter((entry) => entry.event === event && field in entry && typeof entry['iteration'] === 'number')
    .map((entry) => {
      const value = entry[field];
      return [entry['iteration'] as number, typeof value === 'number' ? value : NaN];
    });
}

/**
 * Smooths a noisy curve without the lag of a moving average: consecutive points are averaged into at most `bins` points.
 * A bin holding a NaN becomes NaN, so that a diverged run cannot be smoothed away.
 */
export function binnedMean(points: readonly Point[], bins: number): Point[] {
  requireNumber('bins', bins, { min: 1, integer: true });
  const count = Math.min(bins, points.length);
  return Array.from({ length: count }, (_, bin) => {
    const members = points.slice(Math.floor((bin * points.length) / count), Math.floor(((bin + 1) * points.length) / count));
    const mean = (axis: 0 | 1): number => members.reduce((sum, point) => sum + point[axis], 0) / members.length;
    return [mean(0), mean(1)];
  });
}
