import {
  defaultDevice, type DeviceChoice, deviceInfo, matmulPrecision, type MatmulPrecision, memoryStats, precisions,
  releaseCachedMemory, resetPeakMemory, resolveDevice, setDefaultDevice, setMatmulPrecision, synchronize,
} from '../lib/device';
import { DataError, DeviceError, OptionError } from '../lib/errors';
import { native } from '../lib/native';
import { Linear } from '../lib/nn';
import { angularSoftmax, countCorrect, reshape, softmaxCrossEntropy } from '../lib/ops';
import { full, ones, Tensor, tensor, zeros } from '../lib/tensor';
import { expectThrown } from './nn/expectations';
import { hasCuda, testDevice } from './support/device';
import { random } from './support/tensors';
import { plainModel, tinyLoader, tinyTrainer } from './train/tiny';

describe('the default device', () => {
  test('is where tensors, layers and batches are made', async () => {
    expect(defaultDevice()).toBe(testDevice);
    const loader = tinyLoader();
    const batch = await loader.batch(0);
    const made = [tensor([1]), zeros([1]), ones([1]), full([1], 2), new Linear({ inFeatures: 1, outFeatures: 1 }).weight];
    expect(new Set([...made, batch.images, batch.labels].map(({ device }) => device))).toEqual(new Set([testDevice]));
    expect(loader.device).toBe(testDevice);
    loader.close();
  });

  test('does not count where a device is named', () => {
    expect([tensor([1], [1], { device: 'cpu' }), zeros([1], { device: 'cpu' })].map(({ device }) => device)).toEqual(['cpu', 'cpu']);
    expect(tinyLoader({ device: 'cpu' }).device).toBe('cpu');
  });

  test.each(['gpu', undefined, 0])('%p is no device', (name) => {
    const message = /device must be one of "cpu", "cuda", "auto"/;
    expectThrown(() => { setDefaultDevice(name as DeviceChoice); }, OptionError, 'device', message);
    expectThrown(() => resolveDevice(name as DeviceChoice), OptionError, 'device', message);
    expectThrown(() => zeros([1]).to(name as DeviceChoice), OptionError, 'device', message);
    expect(defaultDevice()).toBe(testDevice);
  });

  test('auto is cuda where it can be used', () => {
    expect([resolveDevice('auto'), resolveDevice('cpu')]).toEqual([hasCuda ? 'cuda' : 'cpu', 'cpu']);
  });
});

const withoutCuda = hasCuda ? describe.skip : describe;

withoutCuda('asking for cuda where it cannot be used', () => {
  const x = ones([2]);
  const model = plainModel();

  test.each<[string, () => unknown]>([
    ['resolveDevice', () => resolveDevice('cuda')],
    ['setDefaultDevice', () => { setDefaultDevice('cuda'); }],
    ['tensor', () => tensor([1], [1], { device: 'cuda' })],
    ['zeros', () => zeros([1], { device: 'cuda' })],
    ['Tensor.to', () => x.to('cuda')],
    ['Module.to', () => model.to('cuda')],
    ['DataLoader', () => tinyLoader({ device: 'cuda' })],
    ['DataLoader.to', () => tinyLoader().to('cuda')],
    ['Trainer', () => tinyTrainer({ model, iterations: 1, device: 'cuda' })],
    ['memoryStats', () => memoryStats('cuda')],
    ['resetPeakMemory', () => { resetPeakMemory('cuda'); }],
    ['releaseCachedMemory', () => { releaseCachedMemory('cuda'); }],
    ['synchronize', () => { synchronize('cuda'); }],
  ])('%s says why, and does not fall back', (_, run) => {
    expectThrown(run, DeviceError, 'device', /^device "cuda" cannot be used: .+/);
    expect(() => run()).toThrow(deviceInfo().cuda.reason);
    expect([defaultDevice(), x.device, model.parameters()[0].device]).toEqual(['cpu', 'cpu', 'cpu']);
  });
});

test('the device of a tensor stays the same through aliases, copies and its gradient', () => {
  const x = tensor([1, 2], [2], { device: 'cpu', requiresGrad: true });
  const derived = [x.clone(), x.detach(), reshape(x, [1, 2]), x.to('cpu')];
  expect(derived.map(({ device }) => device)).toEqual(Array(4).fill('cpu'));
  expect(x.to('cpu')).toBe(x);
});

test('each device counts its own memory', () => {
  const before = memoryStats('cpu');
  const made = zeros([1000], { device: 'cpu' });
  resetPeakMemory('cpu');
  expect(memoryStats('cpu').storages).toBe(before.storages + 1);
  expect(memoryStats('cpu').peak).toBeGreaterThanOrEqual(before.allocated + 4000);
  made.dispose();
  releaseCachedMemory('cpu');
  expect(memoryStats('cpu').allocated).toBe(before.allocated);
  synchronize('cpu');
});

describe('precision of products', () => {
  afterEach(() => { setMatmulPrecision('fp32'); });

  test.each(precisions)('%s', (precision) => {
    setMatmulPrecision(precision);
    expect(matmulPrecision()).toBe(precision);
  });

  test('that does not exist is refused', () => {
    expectThrown(() => { setMatmulPrecision('fp8' as MatmulPrecision); }, OptionError, 'precision', /"fp32", "tf32", "bf16", but got "fp8"/);
    expect(matmulPrecision()).toBe('fp32');
  });
});

describe('labels', () => {
  const logits = random([3, 4], 1, 'f32');
  const features = random([3, 5], 2, 'f32');
  const weight = random([4, 5], 3, 'f32');
  const of = (...values: number[]) => tensor(Int32Array.from(values));
  const uses: [string, (labels: Tensor) => unknown][] = [
    ['softmaxCrossEntropy', (labels) => softmaxCrossEntropy(logits, labels)],
    ['angularSoftmax', (labels) => angularSoftmax(features, weight, labels)],
  ];

  /** How often `run` reads a tensor back from its device. */
  function readsOf(run: () => unknown): number {
    const read = jest.spyOn(native, 'read');
    try {
      run();
      return read.mock.calls.length;
    } finally {
      read.mockRestore();
    }
  }

  describe.each(uses)('of %s', (_, use) => {
    test.each<[string, () => Tensor]>([
      ['made of an array', () => of(0, 3, 1)],
      ['of one value', () => zeros([3], { dtype: 'i32' })],
      ['assigned an array', () => of(9, 9, 9).assign(Int32Array.of(0, 1, 2))],
      ['assigned labels', () => of(9, 9, 9).assign(of(0, 1, 2))],
      ['through a copy', () => of(0, 1, 2).clone()],
      ['through an alias', () => reshape(of(0, 1, 2), [3])],
      ['through an alias that was changed later', () => {
        const labels = of(9, 9, 9);
        const alias = reshape(labels, [3]);
        labels.assign(Int32Array.of(0, 1, 2));
        return alias;
      }],
    ])('%s: their range is known and they are not read back', (__, make) => {
      const labels = make();
      expect(readsOf(() => use(labels))).toBe(0);
    });

    test.each<[string, () => Tensor]>([
      ['made of an array', () => of(0, 1, 4)],
      ['changed through an alias', () => {
        const labels = of(0, 1, 2);
        reshape(labels, [3]).assign(Int32Array.of(0, 1, 4));
        return labels;
      }],
      ['too large everywhere', () => full([3], 4, { dtype: 'i32' })],
    ])('%s: wrong ones are named', (__, make) => {
      const labels = make();
      expectThrown(() => use(labels), DataError, 'labels', /^labels\[[02]\] is 4, but there are 4 classes: 0 to 3$/);
    });

    test('whose range the host does not know are read', () => {
      const labels = Tensor.empty([3], 'i32', testDevice);
      native.copy(of(0, 1, 2).handle, labels.handle);
      expect(readsOf(() => use(labels))).toBe(1);
      native.copy(of(0, -1, 2).handle, labels.handle);
      expectThrown(() => use(labels), DataError, 'labels', /^labels\[1\] is -1/);
    });
  });

  test('of countCorrect: only the count is read', () => {
    const labels = of(0, 1, 2);
    expect(readsOf(() => countCorrect(logits, labels))).toBe(1);
  });
});
