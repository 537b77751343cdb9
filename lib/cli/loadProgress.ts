import type { LoadProgress } from '../data';
import { formatBytes } from '../report/format';

/** Tells on stderr how a data set comes in: in one line that changes on a terminal, at every tenth part elsewhere. */
export function showLoadProgress(): LoadProgress {
  let shown = '';
  return (stage, done, total) => {
    const text = progressText(stage, done, total);
    if (text === shown) return;
    shown = text;
    const isLast = done === total;
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${text}${isLast ? '\n' : ''}` : `${text}\n`);
  };
}

function progressText(stage: 'download' | 'decode', done: number, total?: number): string {
  const verb = { download: 'downloading', decode: 'decoding' }[stage];
  if (total === undefined) return `${verb}: ${formatBytes(done - (done % 2 ** 24))}`;
  const percent = `${Math.floor((10 * done) / total) * 10}%`;
  return `${verb}: ${percent}${stage === 'download' ? ` of ${formatBytes(total)}` : ''}`;
}
