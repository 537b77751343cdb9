// TF32 and bfloat16 products: rounded where asked for, within the stated bounds, and with angles that are exact where
// patch and filter agree.
import { deviceInfo, matmulPrecision, type MatmulPrecision, setMatmulPrecision } from '../../lib/device';
import { type AngularOperator, angularOperators, conv2d, matmul, sphereConv2d } from '../../lib/ops';
import { type Tensor, tensor } from '../../lib/tensor';
import { isFinite, normals, relativeError } from '../support/tensors';

const withCuda = deviceInfo().cuda.available ? describe : describe.skip;

const images = [2, 6, 7, 8];
const filters = [12, 3, 3, 8];

function cuda(shape: number[], seed: number): Tensor {
  const size = shape.reduce((product, extent) => product * extent, 1);
  return tensor(Float32Array.from(normals(size, seed)), shape, { device: 'cuda', requiresGrad: true });
}

function resultsOf(compute: (x: Tensor, w: Tensor) => Tensor, precision: MatmulPrecision) {
  setMatmulPrecision(precision);
  const [x, w] = [cuda(images, 1), cuda(filters, 2)];
  const y = compute(x, w);
  const output = y.data();
  y.backward({ gradient: cuda([...y.shape], 3) });
  return { y: output, dx: x.grad!.data(), dw: w.grad!.data() };
}

withCuda('on cuda', () => {
  const before = matmulPrecision();
  afterEach(() => { setMatmulPrecision(before); });

  // Half a unit in the last place of each factor, added up over a patch.
  const bounds = [['tf32', 2e-3, 1e-6], ['bf16', 2e-2, 1e-4]] as const;

  describe.each(bounds)('%s', (precision, bound, least) => {
    test('rounds the products of a convolution, and no more', () => {
      const compute = (x: Tensor, w: Tensor) => conv2d(x, w, { padding: 1 });
      const [exact, rounded] = [resultsOf(compute, 'fp32'), resultsOf(compute, precision)];
      for (const name of ['y', 'dx', 'dw'] as const) {
        const error = relativeError(rounded[name], exact[name]);
        expect(error).toBeLessThan(bound);
        expect(error).toBeGreaterThan(least);
      }
    });

    test('rounds a matrix product', () => {
      const product = (how: MatmulPrecision) => {
        setMatmulPrecision(how);
        return matmul(cuda([9, 40], 1), cuda([40, 5], 2)).data();
      };
      const error = relativeError(product(precision), product('fp32'));
      expect(error).toBeLessThan(bound);
      expect(error).toBeGreaterThan(least);
    });

    test.each(angularOperators)('rounds the products of a SphereConv (%s), and no more', (operator: AngularOperator) => {
      const compute = (x: Tensor, w: Tensor) => sphereConv2d(x, w, { operator, padding: 1 });
      const [exact, rounded] = [resultsOf(compute, 'fp32'), resultsOf(compute, precision)];
      for (const name of ['y', 'dx', 'dw'] as const) {
        const error = relativeError(rounded[name], exact[name]);
        expect(error).toBeLessThan(2 * bound);
        expect(error).toBeGreaterThan(least);
      }
    });

    // Norms taken of the unrounded operands would leave a cosine of 1 off by the rounding: 4e-3 with bf16.
    test.each([1, 3])('a patch along its filter has cosine 1 (%px%p)', (kernel) => {
      setMatmulPrecision(precision);
      const size = kernel * kernel * 37;
      const values = normals(size, 5);
      const x = tensor(Float32Array.from(values), [1, kernel, kernel, 37], { device: 'cuda', requiresGrad: true });
      const w = tensor(Float32Array.from([...values, ...values.map((value) => -2 * value)]), [2, kernel, kernel, 37], { device: 'cuda' });
      const y = sphereConv2d(x, w, { operator: 'cosine' });
      const [along, against] = y.data();
      expect(Math.abs(along - 1)).toBeLessThan(1e-6);
      expect(Math.abs(against + 1)).toBeLessThan(1e-6);
      y.backward({ gradient: tensor([[[[1, 1]]]], [1, 1, 1, 2], { device: 'cuda' }) });
      expect(isFinite(x.grad!)).toBe(true);
    });
  });

  test('float64 is never rounded', () => {
    setMatmulPrecision('bf16');
    const [a, b] = [normals(12, 1), normals(12, 2)];
    const product = (device: 'cpu' | 'cuda') =>
      matmul(tensor(Float64Array.from(a), [3, 4], { device }), tensor(Float64Array.from(b), [4, 3], { device })).data();
    expect(relativeError(product('cuda'), product('cpu'))).toBeLessThan(1e-14);
  });
});
