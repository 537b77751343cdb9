import { SingleBar } from 'cli-progress';
import { formatDuration, formatPercent, formatSignificant } from '../report/format';

/** What a line of progress tells. Numbers are those of the last log step. */
export interface ProgressState {
  iteration: number;
  loss: number;
  accuracy: number;
  imagesPerSecond: number;
}

/** Shows how training comes on. */
export interface Progress {
  update(state: ProgressState): void;
  stop(): void;
}

const SECONDS_BETWEEN_LINES = 10;
const silent: Progress = { update: () => undefined, stop: () => undefined };

/**
 * A bar on stderr where that is a terminal. Elsewhere `true` writes a line every ten seconds, `'auto'` nothing.
 */
export function startProgress(mode: boolean | 'auto', start: number, total: number): Progress {
  if (mode === false) return silent;
  if (process.stderr.isTTY) return bar(start, total);
  return mode === true ? lines(start, total) : silent;
}

function bar(start: number, total: number): Progress {
  const single = new SingleBar({
    format: '{bar} {value}/{total} | loss {loss} | accuracy {accuracy} | {speed} img/s | ETA {eta_formatted}',
    stream: process.stderr,
    barsize: 24,
    etaBuffer: 100,
    // Its handler would swallow SIGINT; the cursor is left alone, so that nothing needs to be restored.
    gracefulExit: false,
    hideCursor: null,
  });
  single.start(total, start, { loss: '–', accuracy: '–', speed: '–' });
  return {
    update: ({ iteration, ...state }) => { single.update(iteration, texts(state)); },
    stop: () => { single.stop(); },
  };
}

function lines(start: number, total: number): Progress {
  const began = performance.now();
  let written = began;
  const write = (state: ProgressState): void => {
    const seconds = (performance.now() - began) / 1000;
    const left = (seconds / (state.iteration - start)) * (total - state.iteration);
    const { loss, accuracy, speed } = texts(state);
    process.stderr.write(
      `${state.iteration}/${total} | loss ${loss} | accuracy ${accuracy} | ${speed} img/s | ETA ${formatDuration(left)}\n`,
    );
  };
  return {
    update: (state) => {
      const now = performance.now();
      if (now - written < SECONDS_BETWEEN_LINES * 1000 && state.iteration < total) return;
      written = now;
      write(state);
    },
    stop: () => undefined,
  };
}

function texts({ loss, accuracy, imagesPerSecond }: Omit<ProgressState, 'iteration'>) {
  return { loss: formatSignificant(loss, 4), accuracy: formatPercent(accuracy, 1), speed: formatSignificant(imagesPerSecond) };
}
