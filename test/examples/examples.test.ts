import { run as inception } from '../../examples/inception';
import { syntheticImages } from '../../examples/support';
import { run as vgg } from '../../examples/vgg';

const splits = { train: syntheticImages(64, 1), test: syntheticImages(16, 2) };

test.each([
  ['VGG', vgg],
  ['Inception', inception],
])('%s trains and prints a line for each epoch', async (name, run) => {
  const lines: string[] = [];
  const accuracy = await run({ splits, epochs: 2, print: (line) => lines.push(line) });
  expect(accuracy).toBeGreaterThanOrEqual(0);
  expect(lines).toHaveLength(2);
  expect(lines[1]).toMatch(new RegExp(`^${name}, epoch 2: loss \\d\\.\\d{3}, test accuracy ${(100 * accuracy).toFixed(1)} %$`));
});
