// Tensors, modules, optimizers, loaders and checkpoints on two devices. Needs cuda; the emulated build has it.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defaultDevice, type Device, devices, memoryStats, setDefaultDevice, synchronize } from '../../lib/device';
import { DeviceError } from '../../lib/errors';
import { OrthogonalityRegularizer } from '../../lib/losses';
import { Conv2d, Linear, Sequential, summary } from '../../lib/nn';
import {
  add, affine, angularLogits, angularSoftmax, batchNorm, concat, conv2d, countCorrect, linear, matmul, scale, softmaxCrossEntropy,
  sphereConv2d, sphereLinear,
} from '../../lib/ops';
import { Adam, gradientNorm, SGD } from '../../lib/optim';
import { noGrad, ones, type Tensor, tensor, tidy, zeros } from '../../lib/tensor';
import { evaluate, loadCheckpoint, loadModel, saveCheckpoint } from '../../lib/train';
import { expectThrown } from '../nn/expectations';
import { hasCuda, testDevice } from '../support/device';
import { collectGarbage } from '../support/garbage';
import { bytesOf, configuredModel, plainModel, statefulModel, tinyLoader, tinyTrainer } from '../train/tiny';

const withCuda = hasCuda ? describe : describe.skip;
const other = (device: Device): Device => (device === 'cpu' ? 'cuda' : 'cpu');
const devicesOf = (tensors: Iterable<Tensor>) => [...new Set([...tensors].map(({ device }) => device))];

withCuda('a tensor', () => {
  test('is made on the device that is named, or on the default one', () => {
    expect([zeros([2], { device: 'cuda' }), tensor([1], [1], { device: 'cuda' })].map(({ device }) => device)).toEqual(['cuda', 'cuda']);
    setDefaultDevice('cuda');
    try {
      expect([defaultDevice(), zeros([2]).device, tinyLoader().device, plainModel().parameters()[0].device]).toEqual(Array(4).fill('cuda'));
    } finally {
      setDefaultDevice(testDevice);
    }
  });

  test.each(['f32', 'f64', 'i32', 'u8'] as const)('of %s keeps its elements from device to device', (dtype) => {
    const x = tensor([1, 2, 3, 250], [2, 2], { dtype, device: 'cpu' });
    const moved = x.to('cuda');
    expect([moved.device, moved.dtype, moved.shape, moved.toArray()]).toEqual(['cuda', dtype, [2, 2], [[1, 2], [3, 250]]]);
    expect([moved.to('cpu').toArray(), moved.clone().device, moved.detach().device]).toEqual([x.toArray(), 'cuda', 'cuda']);
    expect(moved.to('cuda')).toBe(moved);
  });

  test.each(devices)('on %s takes elements from the other device', (device) => {
    const target = zeros([2], { device });
    expect(target.assign(tensor([3, 4], [2], { device: other(device) })).toArray()).toEqual([3, 4]);
    expect(target.device).toBe(device);
  });

  test.each(devices)('on %s: the gradient comes back from the other device', (device) => {
    const x = tensor([1, 2], [2], { device, requiresGrad: true });
    const y = scale(x.to(other(device)), 3);
    expect(y.device).toBe(other(device));
    y.backward({ gradient: tensor([1, 10], [2], { device: other(device) }) });
    expect([x.grad!.device, x.grad!.toArray()]).toEqual([device, [3, 30]]);
  });

  test('on cuda is counted there, and released there', () => {
    const before = devices.map((device) => memoryStats(device).storages);
    const x = ones([100], { device: 'cuda' });
    expect(devices.map((device) => memoryStats(device).storages)).toEqual([before[0], before[1] + 1]);
    tidy(() => x.to('cpu').to('cuda'));
    x.dispose();
    expect(memoryStats('cpu').storages).toBe(before[0]);
    expect(memoryStats('cuda').storages).toBeLessThanOrEqual(before[1] + 1);
  });

  test('of labels is checked without being read, wherever it came from', () => {
    const logits = zeros([2, 3], { device: 'cuda' });
    const labels = tensor(Int32Array.of(0, 2), [2], { device: 'cpu' }).to('cuda');
    expect(labels.knownRange).toEqual([0, 2]);
    expect(softmaxCrossEntropy(logits, labels).item()).toBeCloseTo(Math.log(3), 6);
    labels.assign(tensor(Int32Array.of(0, 3), [2], { device: 'cpu' }));
    expect(() => softmaxCrossEntropy(logits, labels)).toThrow('labels[1] is 3, but there are 3 classes: 0 to 2');
  });

  test('a device that has done its work', () => {
    synchronize('cuda');
    synchronize('cpu');
  });
});

withCuda('operands on two devices', () => {
  const image = () => ones([1, 3, 3, 2], { device: 'cuda' });
  const on = (shape: number[]) => ones(shape, { device: 'cpu' });
  const near = (shape: number[]) => ones(shape, { device: 'cuda' });
  const labels = () => zeros([4], { dtype: 'i32', device: 'cpu' });
  const statistics = () => ({ beta: near([2]), runningMean: near([2]), runningVariance: near([2]), training: false });

  test.each<[string, () => unknown, string, string]>([
    ['conv2d', () => conv2d(image(), on([4, 3, 3, 2])), 'weight', 'x'],
    ['conv2d, bias', () => conv2d(image(), near([4, 3, 3, 2]), { bias: on([4]) }), 'bias', 'x'],
    ['sphereConv2d', () => sphereConv2d(image(), on([4, 3, 3, 2])), 'weight', 'x'],
    ['sphereConv2d, k', () => sphereConv2d(image(), near([4, 3, 3, 2]), { k: on([1]) }), 'k', 'x'],
    ['sphereLinear', () => sphereLinear(near([2, 3]), on([4, 3])), 'weight', 'x'],
    ['linear', () => linear(near([2, 3]), near([4, 3]), { bias: on([4]) }), 'bias', 'x'],
    ['matmul', () => matmul(near([2, 3]), on([3, 2])), 'b', 'a'],
    ['add', () => add(near([2]), on([2])), 'b', 'a'],
    ['affine', () => affine(near([2]), { shift: on([2]) }), 'shift', 'x'],
    ['batchNorm', () => batchNorm(near([3, 2]), { ...statistics(), gamma: on([2]) }), 'gamma', 'x'],
    ['concat', () => concat([near([2]), near([2]), on([2])]), 'tensors[2]', 'tensors[0]'],
    ['softmaxCrossEntropy', () => softmaxCrossEntropy(near([4, 3]), labels()), 'labels', 'logits'],
    ['angularSoftmax, weight', () => angularSoftmax(near([4, 3]), on([5, 3]), labels()), 'weight', 'x'],
    ['angularSoftmax, labels', () => angularSoftmax(near([4, 3]), near([5, 3]), labels()), 'labels', 'x'],
    ['angularLogits', () => angularLogits(near([4, 3]), on([5, 3])), 'weight', 'x'],
    ['countCorrect', () => countCorrect(near([4, 3]), labels()), 'labels', 'logits'],
  ])('are refused by %s', (_, run, argument, reference) => {
    const message = new RegExp(`^${argument.replace(/[[\]]/g, '\\$&')} must be on cuda like ${reference.replace(/[[\]]/g, '\\$&')}, but found on cpu`);
    expectThrown(() => tidy(run), DeviceError, argument, message);
  });

  test('are refused by backward()', () => {
    const x = ones([2], { device: 'cuda', requiresGrad: true });
    const y = scale(x, 2);
    expectThrown(() => { y.backward({ gradient: on([2]) }); }, DeviceError, 'gradient', /gradient must be on cuda like its tensor/);
    y.backward({ gradient: near([2]) });
    expect(x.grad!.device).toBe('cuda');
  });

  test('are refused by an optimizer and by the norm of gradients, and nothing has changed', () => {
    const layers = devices.map((device) => new Linear({ inFeatures: 2, outFeatures: 2, bias: false }).to(device));
    const weights = layers.map(({ weight }) => weight);
    for (const layer of layers) {
      const { device } = layer.weight;
      layer.forward(ones([1, 2], { device })).backward({ gradient: ones([1, 2], { device }) });
    }
    const before = weights.map((weight) => weight.data());
    const optimizer = new SGD(weights, { learningRate: 1 });
    expectThrown(() => { optimizer.step(); }, DeviceError, 'parameters[1]', /parameters\[1\] must be on cpu like parameters\[0\]/);
    expectThrown(() => gradientNorm(weights), DeviceError, 'parameters', /must be on cpu like the first of their gradients/);
    expect(weights.map((weight) => weight.data())).toEqual(before);
    expect(optimizer.stateDict().values.steps).toEqual([0, 0]);
  });

  test('name the layer', () => {
    const network = new Sequential([new Conv2d({ inChannels: 2, outChannels: 2, kernelSize: 1 }).to('cpu')]);
    expectThrown(() => network.forward(image()), DeviceError, 'weight', /^0 \(Conv2d\): weight must be on cuda like x/);
  });
});

withCuda.each(devices)('a module moved from %s', (from) => {
  const to = other(from);

  test('keeps its tensors, their values and their gradients', () => {
    const model = statefulModel().to(from);
    const { images, labels } = sample(from);
    model.forward(images, labels).loss.backward();
    const before = model.stateDict();
    const values = bytesOf(before);
    const gradients = model.parameters().map(({ grad }) => grad!.data());
    const storages = memoryStats(from).storages;
    expect(model.to(to)).toBe(model);
    const after = model.stateDict();
    for (const name of Object.keys(before)) expect(after[name]).toBe(before[name]);
    expect([devicesOf(Object.values(after)), devicesOf(model.parameters().map(({ grad }) => grad!))]).toEqual([[to], [to]]);
    expect(bytesOf(after)).toEqual(values);
    expect(model.parameters().map(({ grad }) => grad!.data())).toEqual(gradients);
    // With them goes what the device kept beside them, such as packed filters.
    expect(memoryStats(from).storages).toBeLessThanOrEqual(storages - Object.keys(after).length - gradients.length);
    expect(model.to(to).stateDict()).toEqual(after);
  });

  test('is what its optimizer goes on with, moments and all', () => {
    const model = plainModel().to(from);
    const optimizer = new Adam(model.parameters());
    step(model, optimizer);
    model.to(to);
    const twin = plainModel().to(from);
    const twinOptimizer = new Adam(twin.parameters());
    step(twin, twinOptimizer);
    step(model, optimizer);
    step(twin, twinOptimizer);
    expect(devicesOf(Object.values(optimizer.stateDict().tensors))).toEqual([to]);
    for (const [name, tensor_] of Object.entries(model.stateDict())) expectClose(tensor_, twin.stateDict()[name]);
  });

  test('computes there: forward, summary, penalty and evaluation', async () => {
    const model = configuredModel().to(to);
    const { images, labels } = sample(to);
    expect(noGrad(() => model.predict(images)).device).toBe(to);
    expect(model.forward(images, labels).loss.device).toBe(to);
    expect(new OrthogonalityRegularizer().forward(model).device).toBe(to);
    expect(summary(model, [8, 8, 3]).rows.length).toBeGreaterThan(5);
    const loader = tinyLoader({ device: from });
    const { loss } = await evaluate(model, loader);
    expect(loader.device).toBe(to);
    expect(loss).toBeCloseTo((await evaluate(model.to(from), loader)).loss, 5);
  });
});

withCuda('a module on two devices', () => {
  test('is refused for training and evaluation, by the name of the part', async () => {
    const model = plainModel().to('cpu');
    model.head.to('cuda');
    await expect(evaluate(model, tinyLoader())).rejects.toThrow(/^head\.linear\.weight must be on cpu like features\.0\.weight/);
    await expect(tinyTrainer({ model, iterations: 1 }).fit()).rejects.toThrow(DeviceError);
  });
});

withCuda('the state of an optimizer', () => {
  test.each(devices)('from %s goes on on the other device', (device) => {
    const source = plainModel().to(device);
    const optimizer = new SGD(source.parameters(), { learningRate: 0.1, momentum: 0.9 });
    step(source, optimizer);
    const target = plainModel().to(other(device));
    const loaded = new SGD(target.parameters(), { learningRate: 0.1, momentum: 0.9 });
    target.loadStateDict(source.stateDict());
    loaded.loadStateDict(optimizer.stateDict());
    expect(devicesOf(Object.values(loaded.stateDict().tensors))).toEqual([other(device)]);
    expect(bytesOf(loaded.stateDict().tensors)).toEqual(bytesOf(optimizer.stateDict().tensors));
    step(source, optimizer);
    step(target, loaded);
    for (const [name, tensor_] of Object.entries(target.stateDict())) expectClose(tensor_, source.stateDict()[name]);
  });
});

withCuda('a loader', () => {
  test('makes the same batches on every device', async () => {
    const [cpu, cuda] = devices.map((device) => tinyLoader({ device }));
    for (const iteration of [0, 1, 5]) {
      const [a, b] = [await cpu.batch(iteration), await cuda.batch(iteration)];
      expect([a.images, a.labels, b.images, b.labels].map(({ device }) => device)).toEqual(['cpu', 'cpu', 'cuda', 'cuda']);
      expect([b.images.data(), b.labels.data()]).toEqual([a.images.data(), a.labels.data()]);
    }
    for (const loader of [cpu, cuda]) loader.close();
  });

  test('changes its device between two batches, those in advance included', async () => {
    const loader = tinyLoader({ device: 'cpu', prefetch: 2 });
    const first = await loader.batch(0);
    expect(loader.to('cuda')).toBe(loader);
    expect([first.images.disposed, first.images.device]).toEqual([false, 'cpu']);
    const second = await loader.batch(1);
    expect([second.images.device, second.labels.device]).toEqual(['cuda', 'cuda']);
    const expected = await tinyLoader({ device: 'cpu' }).batch(1);
    expect(second.images.data()).toEqual(expected.images.data());
    loader.close();
  });
});

withCuda('a Trainer', () => {
  let output: string;
  beforeEach(async () => { output = await mkdtemp(join(tmpdir(), 'spherenet-test-')); });
  afterEach(() => rm(output, { recursive: true }));

  test.each(devices)('trains on %s where it is told to, with all that belongs to it', async (device) => {
    const model = statefulModel().to(other(device));
    const optimizer = new Adam(model.parameters());
    const [loader, evalLoader] = [tinyLoader({ device: other(device) }), tinyLoader({ device: other(device) })];
    const trainer = tinyTrainer({ model, optimizer, loader, evalLoader, evalEvery: 2, iterations: 4, output, device });
    expect(devicesOf(model.parameters())).toEqual([device]);
    await collectGarbage();
    const { peakMemory, imagesPerSecond } = await trainer.fit();
    expect(devicesOf(Object.values(optimizer.stateDict().tensors))).toEqual([device]);
    expect([loader.device, evalLoader.device]).toEqual([device, device]);
    expect(peakMemory).toBe(memoryStats(device).peak);
    expect(imagesPerSecond).toBeGreaterThan(0);
    const [start] = (await readFile(join(output, 'log.jsonl'), 'utf8')).split('\n');
    expect(JSON.parse(start)).toMatchObject({ event: 'start', device, ...(device === 'cuda' ? { precision: 'fp32' } : {}) });
  });

  test.each(devices)('holds a flat line of memory on %s', async (device) => {
    const found = { allocated: [] as number[], storages: [] as number[] };
    const onStep = (iteration: number) => {
      if (iteration < 10) return;
      const { allocated, storages } = memoryStats(device);
      found.allocated.push(allocated);
      found.storages.push(storages);
    };
    // Without prefetching, so that the number of tensors does not depend on how far the other thread has come.
    await tinyTrainer({ model: statefulModel(), loader: tinyLoader({ prefetch: 0 }), iterations: 40, device, callbacks: { onStep } }).fit();
    // It may fall: what the tests before have forgotten is collected some time.
    for (const [first, ...later] of Object.values(found)) expect(Math.max(...later)).toBeLessThanOrEqual(first);
  });

  test('trains where the model is if it is told nothing', async () => {
    const model = plainModel().to('cuda');
    await tinyTrainer({ model, iterations: 2 }).fit();
    expect(devicesOf(model.parameters())).toEqual(['cuda']);
  });

  test.each(devices)('goes on from a checkpoint of %s on the other device', async (device) => {
    const path = join(output, 'last.safetensors');
    await tinyTrainer({ model: statefulModel(), iterations: 3, output, device }).fit();
    const model = statefulModel(9);
    const result = await tinyTrainer({ model, iterations: 5, resume: path, device: other(device) }).fit();
    expect(result).toMatchObject({ iterations: 5, interrupted: false });
    expect(devicesOf(model.parameters())).toEqual([other(device)]);
  });

  test.each(devices)('a checkpoint of %s is the same bytes on the other device', async (device) => {
    const path = join(output, 'state.safetensors');
    const model = configuredModel().to(device);
    const optimizer = new Adam(model.parameters());
    step(model, optimizer);
    await saveCheckpoint(path, { model, optimizer, iteration: 1, training: {} });
    const twin = configuredModel().to(other(device));
    const twinOptimizer = new Adam(twin.parameters());
    await loadCheckpoint(path, { model: twin, optimizer: twinOptimizer });
    expect(devicesOf([...Object.values(twin.stateDict()), ...Object.values(twinOptimizer.stateDict().tensors)])).toEqual([other(device)]);
    expect(bytesOf(twin.stateDict())).toEqual(bytesOf(model.stateDict()));
    expect(bytesOf(twinOptimizer.stateDict().tensors)).toEqual(bytesOf(optimizer.stateDict().tensors));
    expect(bytesOf((await loadModel(path)).to(other(device)).stateDict())).toEqual(bytesOf(model.stateDict()));
  });
});

/** A batch on a device. */
function sample(device: Device): { images: Tensor; labels: Tensor } {
  const pixels = Float32Array.from({ length: 4 * 8 * 8 * 3 }, (_, i) => Math.sin(i));
  return { images: tensor(pixels, [4, 8, 8, 3], { device }), labels: tensor(Int32Array.of(0, 1, 2, 3), [4], { device }) };
}

function step(model: ReturnType<typeof plainModel>, optimizer: Adam | SGD): void {
  const { images, labels } = sample(model.parameters()[0].device);
  model.zeroGrad();
  model.forward(images, labels).loss.backward();
  optimizer.step();
}

function expectClose(actual: Tensor, expected: Tensor): void {
  const [a, b] = [actual.data(), expected.data()];
  a.forEach((value, i) => { expect(Math.abs(value - b[i])).toBeLessThan(1e-5 * Math.max(1, Math.abs(b[i]))); });
}
