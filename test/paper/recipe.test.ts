import { modelConfig } from '../../lib/models/registry';
import { recipes, withRecipe } from '../../lib/paper/recipe';
import { paperMilestones } from '../../lib/paper/trainingRun';

const cell = { model: { network: 'cnn', depth: 9, convolution: 'plain' }, iterations: 64_000, batchSize: 128, seed: 0 } as const;
const sphereCell = { ...cell, model: { ...cell.model, convolution: { operator: 'sigmoid', k: 0.3 } } } as const;

test('baselines get weight decay alone, SphereNets orthogonality, all of them the schedule of the paper', () => {
  const [baseline, sphere] = [cell, sphereCell].map((each) => withRecipe(recipes.paper, each));
  expect(baseline).toMatchObject({ model: { convolution: 'plain' }, regularizer: null, weightDecay: 5e-4, batchSize: 128 });
  expect(sphere).toMatchObject({
    model: { convolution: { operator: 'sigmoid', k: 0.3 } }, regularizer: { regularizer: 'orthogonality' }, augment: 'flip',
  });
  expect(baseline.milestones ?? paperMilestones(baseline.iterations)).toEqual([34_000, 54_000]);
});

test("the official recipe sets what the authors' code sets, in whatever part of the network it lies", () => {
  const [baseline, sphere] = [cell, sphereCell].map((each) => modelConfig({ ...withRecipe(recipes.official, each).model, classes: 10 }));
  expect(baseline).toMatchObject({
    convolution: 'plain', batchNorm: { momentum: 1e-3, eps: 1e-3 }, head: { loss: 'softmax', labelSmoothing: 0.01, logGuard: 1e-4 },
  });
  expect(sphere).toMatchObject({
    convolution: { operator: 'sigmoid', k: 0.3, normGuard: { kind: 'add', eps: 1e-4 } }, head: { labelSmoothing: 0.01, logGuard: 1e-4 },
  });
});
