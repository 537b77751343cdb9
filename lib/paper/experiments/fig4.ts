import { existsSync } from 'node:fs';
import { Curvature } from '../../nn';
import type { Panel } from '../../report';
import { noGrad } from '../../tensor';
import { loadModel } from '../../train';
import type { Cell, TrainedExperiment } from '../experiment';
import { cosineWSoftmax, operators } from '../operators';
import { type CellResult, checkpointOf, runFolder } from '../results';

const learned = 'learned';
/** The first convolution of each stage, as in the paper. */
const layers = ['conv1_1', 'conv2_1', 'conv3_1'];

const cells: readonly Cell[] = [
  {
    name: 'sigmoid-0.3',
    labels: { operator: operators['sigmoid-0.3'].title },
    model: { network: 'cnn', depth: 9, convolution: operators['sigmoid-0.3'].convolution, head: cosineWSoftmax },
    paper: 91.28,
  },
  {
    name: learned,
    labels: { operator: 'Sigmoid, k learned by filter' },
    model: { network: 'cnn', depth: 9, convolution: { operator: 'sigmoid', k: 0.5, learnable: 'filter' }, head: cosineWSoftmax },
    paper: 91.64,
    baseline: 'sigmoid-0.3',
  },
];

/** The learned k of the layers in a checkpoint. */
export async function learnedCurvatures(path: string): Promise<{ name: string; values: Float64Array }[]> {
  const model = await loadModel(path);
  try {
    return model.namedModules().flatMap(([name, module]) => {
      const layer = layers.find((each) => name.includes(each));
      if (!layer || !(module instanceof Curvature)) return [];
      using k = noGrad(() => module.forward());
      return [{ name: layer, values: Float64Array.from(k.data()) }];
    });
  } finally {
    model.dispose();
  }
}

/** Of each seed, where it has a checkpoint. */
async function charts(results: readonly CellResult[], output: string): Promise<Panel[]> {
  const runs = results.find(({ name }) => name === learned)?.runs ?? [];
  const panels = await Promise.all(runs.map(async ({ seed, iteration }): Promise<Panel[]> => {
    const checkpoint = checkpointOf(runFolder(output, learned, seed));
    if (!existsSync(checkpoint)) return [];
    return [{
      kind: 'histogram',
      title: `Learned k after ${iteration} iterations, seed ${seed} (0.5 at first)`,
      xLabel: 'k',
      series: await learnedCurvatures(checkpoint),
      bins: 20,
    }];
  }));
  return panels.flat();
}

export const fig4: TrainedExperiment = {
  kind: 'trained',
  name: 'fig4',
  title: 'Figure 4: the learned k',
  shows: 'SphereNet-9 whose sigmoids learn their k, and the histogram of k in each layer. In the paper each layer has its own.',
  presets: {
    paper: { cells, widths: [64, 96, 128], iterations: 64_000, seeds: [0] },
    mini: { cells, widths: [32, 48, 64], iterations: 1000, batchSize: 64, seeds: [0, 1], images: 10_000, testImages: 2000, minutes: 8 },
  },
  notes: ['For sigmoid (0.3) with cosine W-Softmax the paper has 91.28 in Table 1 and 91.22 in §4.3; the former stands here.'],
  charts,
};
