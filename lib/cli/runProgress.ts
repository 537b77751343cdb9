import { MultiBar, Presets } from 'cli-progress';
import type { PaperOptions } from '../paper/run';
import { formatCount, formatDuration, formatPercent, formatSignificant } from '../report';

interface ShownProgress extends Required<Pick<PaperOptions, 'onStep' | 'onEvaluation'>> {
  stop: () => void;
}

/** Shows on stderr how a run of several networks comes on: a bar on a terminal, and a line for each evaluation everywhere. */
export function showRunProgress(): ShownProgress {
  const options = {
    format: '{network} {bar} {value}/{total} | loss {loss} | {speed} img/s | {left} left',
    stream: process.stderr,
    barsize: 24,
    // Its handler would swallow SIGINT.
    gracefulExit: false,
    hideCursor: null,
    emptyOnZero: true,
    clearOnComplete: true,
  };
  const bars = new MultiBar(options, Presets.shades_classic);
  const print = (line: string): void => {
    if (process.stderr.isTTY) bars.log(`${line}\n`);
    else process.stderr.write(`${line}\n`);
  };
  let bar: ReturnType<MultiBar['create']> | undefined;
  let left = '';
  return {
    onStep: ({ network, step, steps, train, secondsLeft }) => {
      const { loss, imagesPerSecond } = train;
      left = formatDuration(secondsLeft);
      bar ??= bars.create(steps, 0);
      bar.update(step, {
        network,
        loss: formatSignificant(loss, 3),
        speed: formatSignificant(imagesPerSecond),
        left,
      });
    },
    onEvaluation: (network, { iteration, images, loss, accuracy }) => {
      const quality = `accuracy ${formatPercent(accuracy, 1)}, loss ${formatSignificant(loss, 3)}`;
      print(`${network}, step ${formatCount(iteration)}: ${quality} on ${formatCount(images)} test images; ${left} left`);
    },
    stop: () => { bars.stop(); },
  };
}
