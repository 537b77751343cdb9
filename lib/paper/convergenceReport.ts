import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  binnedMean, formatBytes, formatCount, formatDuration, formatPercent, formatSignificant, panels, type Point, saveChart, textTable,
} from '../report';
import { type Machine, machineLine } from '../machine';

/** The network's quality at one moment. */
export interface Evaluation {
  iteration: number;
  loss: number;
  /** Share of the test images that were classified right. */
  accuracy: number;
  /** Number of test images. */
  images: number;
}

/** How one network came on. */
export interface NetworkCurve {
  name: string;
  /** On a part of the test set, the last one on all of it. */
  evaluations: Evaluation[];
  /** Loss of the training batches over the iterations. */
  trainingLoss: Point[];
  imagesPerSecond: number;
  /** Most tensor memory in use. */
  peakBytes: number;
  /** Training and evaluations together. */
  seconds: number;
}

/** What a convergence run found: `summary.json`. */
export interface ConvergenceSummary {
  machine: Machine;
  dataset: string;
  iterations: number;
  batchSize: number;
  widths: readonly number[];
  seed: number;
  loss: string;
  networks: NetworkCurve[];
}

/** Points of a smoothed training curve. */
const curvePoints = 60;

/** The tables for a terminal: quality by iteration, then cost. */
export function convergenceText(summary: ConvergenceSummary): string {
  const { networks } = summary;
  const evaluations = networks[0].evaluations;
  const quality = textTable({
    head: ['iteration', 'test images', ...networks.flatMap(({ name }) => [`${name} loss`, 'accuracy'])],
    rows: evaluations.map(({ iteration, images }, row) => [
      iteration,
      images,
      ...networks.flatMap((network) => qualityCells(network.evaluations[row])),
    ]),
    align: ['right', 'right', ...networks.flatMap(() => ['right', 'right'] as const)],
  });
  const cost = textTable({
    head: ['', ...networks.map(({ name }) => name)],
    rows: [
      ['images a second', ...networks.map(({ imagesPerSecond }) => formatSignificant(imagesPerSecond))],
      ['peak memory', ...networks.map(({ peakBytes }) => formatBytes(peakBytes))],
      ['time', ...networks.map(({ seconds }) => formatDuration(seconds))],
    ],
    align: ['left', ...networks.map(() => 'right' as const)],
  });
  return `${titleOf(summary)}\n${machineLine(summary.machine)}\n\n${quality}\n\n${cost}`;
}

/** Writes `summary.json`, `convergence.svg` and `convergence.png` into a folder that is there. */
export async function saveConvergence(summary: ConvergenceSummary, folder: string): Promise<void> {
  await writeFile(join(folder, 'summary.json'), `${JSON.stringify(summary, null, 2)}\n`);
  await saveChart(await convergenceChart(summary), join(folder, 'convergence'));
}

function convergenceChart({ dataset, networks, loss, batchSize, widths }: ConvergenceSummary): Promise<string> {
  const setting = `width ${widths.join('/')}, batch ${formatCount(batchSize)}`;
  return panels([
    {
      kind: 'line',
      title: `Training loss (${loss}), ${setting}`,
      xLabel: 'Iteration',
      yLabel: 'Loss',
      series: networks.map(({ name, trainingLoss }) => ({ name, points: binnedMean(trainingLoss, curvePoints) })),
    },
    {
      kind: 'line',
      title: `Accuracy on ${dataset} test images`,
      xLabel: 'Iteration',
      yLabel: 'Accuracy (%)',
      series: networks.map(({ name, evaluations }) => ({
        name,
        points: evaluations.map(({ iteration, accuracy }): Point => [iteration, 100 * accuracy]),
      })),
    },
  ]);
}

function titleOf({ dataset, widths, iterations, batchSize, seed, loss }: ConvergenceSummary): string {
  return `${dataset}, width ${widths.join('/')}, ${formatCount(iterations)} iterations of ${batchSize} images, ${loss}, seed ${seed}`;
}

function qualityCells({ loss, accuracy }: Evaluation): string[] {
  return [formatSignificant(loss, 4), formatPercent(accuracy)];
}
