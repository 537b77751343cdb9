import { run as inception } from '../../examples/inception';
import { run as linearModels } from '../../examples/linearModels';
import { syntheticImages } from '../../examples/support';
import { run as vgg } from '../../examples/vgg';

const splits = { train: syntheticImages(64, 1), test: syntheticImages(16, 2) };

test.each([
  ['VGG', vgg],
  ['Inception', inception],
])('%s trains and prints a line for each epoch', async (name, run) => {
  const lines: string[] = [];
  const accuracy = await run({ splits, epochs: 2, print: (line) => lines.push(line) });
  expect(lines).toHaveLength(2);
  const [first, second] = lines.map((line) => Number(/loss ([\d.]+)/.exec(line)![1]));
  expect(second).toBeLessThan(first);
  expect(lines[1]).toMatch(new RegExp(`^${name}, epoch 2: loss \\d\\.\\d{3}, test accuracy ${(100 * accuracy).toFixed(1)} %$`));
});

test('linear models, plain and on the sphere', async () => {
  const lines: string[] = [];
  const accuracies = await linearModels({ splits, epochs: 1, print: (line) => lines.push(line) });
  expect(accuracies).toHaveLength(4);
  expect(lines.map((line) => line.split(',')[0])).toEqual([
    'logistic regression', 'logistic regression on the sphere', 'SVM', 'SVM on the sphere',
  ]);
});
