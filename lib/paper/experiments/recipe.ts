import type { Cell, TrainedExperiment } from '../experiment';
import { operators, softmax } from '../operators';
import { type Recipe, recipes } from '../recipe';

const { official } = recipes;
const { labelSmoothing, logGuard } = official.crossEntropy;
const directions = { regularizer: 'orthogonality', normalized: true } as const;

/** From penalties on directions alone to the authors' code: what is learned by leaving one thing out, or taking one in. */
const variants = {
  'directions': { title: 'orthogonality of directions', recipe: { ...recipes.paper, normDecay: 0, regularizer: directions } },
  'directions-decay': { title: '… and L2 on γ, β', recipe: { ...recipes.paper, regularizer: directions } },
  'raw': { title: 'orthogonality of raw filters', recipe: { ...recipes.paper, normDecay: 0 } },
  'paper': { title: '… and L2 on γ, β (recipe paper)', recipe: recipes.paper },
  'smoothing': { title: 'recipe paper, label smoothing 0.01', recipe: { ...recipes.paper, crossEntropy: { labelSmoothing } } },
  'log-guard': { title: 'recipe paper, 1e-4 inside the logarithm', recipe: { ...recipes.paper, crossEntropy: { logGuard } } },
  'guard': { title: 'recipe paper, ε = 1e-4 in square roots', recipe: { ...recipes.paper, normGuard: official.normGuard } },
  'batch-norm': { title: 'recipe paper, BatchNorm 0.999 / 1e-3', recipe: { ...recipes.paper, batchNorm: official.batchNorm } },
  'official': { title: "recipe official: the authors' code", recipe: official },
} as const satisfies Record<string, { title: string; recipe: Recipe }>;

function cellOf(network: 'cnn' | 'spherenet', variant: keyof typeof variants): Cell {
  const { title, recipe } = variants[variant];
  const isPlain = network === 'cnn';
  const plainTitle = recipe.normDecay > 0 ? 'L2 on γ, β' : 'no L2 on γ, β';
  return {
    name: `${network}/${variant}`,
    labels: { network: isPlain ? 'CNN-9' : 'SphereNet-9', recipe: isPlain && variant !== 'official' ? plainTitle : title },
    model: { network: 'cnn', depth: 9, convolution: operators[isPlain ? 'original' : 'sigmoid-0.3'].convolution, head: softmax },
    recipe,
    baseline: 'cnn/paper',
    panel: isPlain ? 'CNN-9' : 'SphereNet-9',
  };
}

const cells = [
  // A plain network has no such penalty: 'raw' differs from 'paper' by the L2 alone.
  ...(['paper', 'raw', 'official'] as const).map((variant) => cellOf('cnn', variant)),
  ...(Object.keys(variants) as (keyof typeof variants)[]).map((variant) => cellOf('spherenet', variant)),
];

const chosen = ['cnn/paper', 'cnn/raw', 'spherenet/directions', 'spherenet/raw', 'spherenet/paper', 'spherenet/official'];

export const recipe: TrainedExperiment = {
  kind: 'trained',
  name: 'recipe',
  title: 'What of the training recipe matters',
  shows: "Not in the paper. SphereNet-9 (sigmoid 0.3) and plain CNN-9 by recipes between ours of before and the authors' code.",
  presets: {
    paper: { cells, chosen, widths: [64, 96, 128], iterations: 64_000, seeds: [0] },
    mini: {
      cells, chosen, widths: [16, 32, 48], iterations: 500, batchSize: 64, seeds: [0, 1, 2],
      images: 5000, testImages: 2000, minutes: 8,
    },
  },
};
