// Runs the cases of test/fixtures through our operators, in both precisions.
import { type Tensor, tensor } from '../../lib/tensor';
import { type FixtureCase, type FixtureTensor, loadFixtures } from './fixtures';
import { relativeError } from './tensors';

export type Inputs = Record<string, Tensor>;
export type Params = FixtureCase['params'];

/**
 * The tensors of a case by fixture name in, results by fixture name out. The first result is differentiated, by the
 * fixture's `dy` or by 1.
 */
export type Compute = (inputs: Inputs, params: Params) => Record<string, Tensor>;

const precisions = [
  ['f32', 1e-5],
  // Fixtures are rounded to float32.
  ['f64', 1e-6],
] as const;

function input(fixture: FixtureTensor, dtype: 'f32' | 'f64'): Tensor {
  if (fixture.dtype === 'i32') return tensor(fixture.data, fixture.shape);
  return tensor(fixture.data, fixture.shape, { dtype, requiresGrad: true });
}

function expectParity(fixture: FixtureCase, compute: Compute, dtype: 'f32' | 'f64', tolerance: number): void {
  const { tensors } = fixture;
  const inputs: Inputs = {};
  for (const [name, found] of Object.entries(tensors)) inputs[name] = input(found, dtype);
  const results = compute(inputs, fixture.params);
  const [output] = Object.values(results);
  output.backward('dy' in inputs ? { gradient: inputs['dy'] } : {});
  const isGradient = (name: string) => name.startsWith('d') && name.slice(1) in tensors && !(name.slice(1) in results);
  const gradients = Object.keys(tensors).filter(isGradient);
  for (const name of gradients) results[name] = inputs[name.slice(1)].grad!;
  expect(gradients).not.toHaveLength(0);
  const errors = Object.entries(results).map(([name, result]) => [name, relativeError(result.data(), tensors[name].data)]);
  expect(errors.filter(([, error]) => !((error as number) < tolerance))).toEqual([]);
}

/** One test for each case of the file and precision; `tolerance` may loosen float32's for a case. */
export function testParity(file: string, compute: Compute, tolerance: (name: string) => number = () => 0): void {
  describe.each(precisions)('agrees with PyTorch in %s', (dtype, standard) => {
    test.each([...loadFixtures(file)])('%s', (name, fixture) => {
      expectParity(fixture, compute, dtype, dtype === 'f32' ? Math.max(standard, tolerance(name)) : standard);
    });
  });
}
