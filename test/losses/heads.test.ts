import { DataError, OptionError, ShapeError } from '../../lib/errors';
import {
  ArcFaceLoss, ASoftmaxLoss, CosFaceLoss, CrossEntropyLoss, GASoftmaxLoss, type Head, HingeLoss, lossNames, NormFaceLoss,
  SoftmaxLoss, SSoftmaxLoss, WSoftmaxLoss,
} from '../../lib/losses';
import {
  angularLogits, angularSoftmax, type AngularSoftmaxOptions, linear, multiMargin, scale, softmaxCrossEntropy, sphereLinear,
} from '../../lib/ops';
import { Generator, manualSeed } from '../../lib/random';
import { noGrad, type Tensor, tensor } from '../../lib/tensor';
import { random, randomLabels } from '../support/tensors';
import { expectThrown } from '../nn/expectations';

const size = { inFeatures: 6, classes: 4 };
const labels = randomLabels(5, 4, 1);
const features = () => random([5, 6], 2, 'f32');

const heads: [string, () => Head][] = [
  ['softmax', () => new SoftmaxLoss(size)],
  ['w-softmax', () => new WSoftmaxLoss({ ...size, operator: 'linear' })],
  ['a-softmax', () => new ASoftmaxLoss(size)],
  ['ga-softmax', () => new GASoftmaxLoss({ ...size, k: 0.5, margin: 2 })],
  ['s-softmax', () => new SSoftmaxLoss({ ...size, operator: 'cosine', radius: 8 })],
  ['arcface', () => new ArcFaceLoss({ ...size, scale: 8 })],
  ['cosface', () => new CosFaceLoss({ ...size, scale: 8 })],
  ['normface', () => new NormFaceLoss({ ...size, scale: 8, learnScale: true })],
  ['hinge', () => new HingeLoss(size)],
];

const withoutAngles = ['softmax', 'hinge'];

test('every loss has its row here', () => {
  expect(heads.map(([name]) => name)).toEqual(lossNames);
});

describe.each(heads)('%s', (name, make) => {
  test('trains its class weights and the features', () => {
    const [head, x] = [make(), features()];
    const { loss, logits, theta } = head.forward(x, labels);
    expect([loss.shape, logits.shape, theta?.shape ?? null]).toEqual([[], [5, 4], withoutAngles.includes(name) ? null : []]);
    loss.backward();
    expect(x.grad!.shape).toEqual([5, 6]);
    for (const parameter of head.parameters()) expect(parameter.grad!.shape).toEqual(parameter.shape);
    expect(head.classWeights.shape).toEqual([4, 6]);
    expect(head.parameters()).toContain(head.classWeights);
  });

  test('its logits survive backward() and are those of evaluation', () => {
    const [head, x] = [make(), features()];
    const { loss, logits } = head.forward(x, labels);
    loss.backward();
    expect(logits.requiresGrad).toBe(false);
    expect(logits.data()).toEqual(noGrad(() => head.logits(x)).data());
  });

  test('the same generator gives the same class weights as any other head', () => {
    manualSeed(5);
    const weights = make().classWeights.data();
    expect(new SoftmaxLoss({ ...size, generator: new Generator(5) }).classWeights.data()).toEqual(weights);
  });
});

describe('what the heads compute', () => {
  const x = features();
  const lossOf = (head: Head) => head.forward(x, labels).loss.item();

  test('SoftmaxLoss, with and without bias and smoothing', () => {
    const head = new SoftmaxLoss({ ...size, labelSmoothing: 0.1, logGuard: 0.01 });
    head.linear.bias!.assign(random([4], 3, 'f32'));
    const logits = linear(x, head.classWeights, { bias: head.linear.bias });
    expect(lossOf(head)).toBe(softmaxCrossEntropy(logits, labels, { labelSmoothing: 0.1, logGuard: 0.01 }).item());
    expect(head.namedParameters().map(([name]) => name)).toEqual(['linear.weight', 'linear.bias']);
    expect(new SoftmaxLoss({ ...size, bias: false }).namedParameters().map(([name]) => name)).toEqual(['linear.weight']);
  });

  test('WSoftmaxLoss and SSoftmaxLoss', () => {
    const w = new WSoftmaxLoss({ ...size, k: 0.7 });
    expect(lossOf(w)).toBe(angularSoftmax(x, w.weight, labels, { k: 0.7 }).loss.item());
    const s = new SSoftmaxLoss({ ...size, operator: 'linear', radius: 12 });
    expect(lossOf(s)).toBe(angularSoftmax(x, s.weight, labels, { operator: 'linear', radius: 12 }).loss.item());
    expect(s.logits(x).data()).toEqual(angularLogits(x, s.weight, { operator: 'linear', radius: 12 }).data());
  });

  test('GASoftmaxLoss takes the margin in as lambda falls', () => {
    const head = new GASoftmaxLoss({ ...size, margin: 3 });
    const at = (iteration: number) => {
      head.atIteration(iteration);
      return lossOf(head);
    };
    const expected = (annealing: number) => angularSoftmax(x, head.weight, labels, { margin: 3, annealing }).loss.item();
    expect(at(0)).toBe(expected(1000));
    expect(at(100)).toBe(expected(1000 / 13));
    expect(at(1e6)).toBe(expected(5));
    expect(at(1e6)).toBeGreaterThan(at(0));
  });

  test('GASoftmaxLoss without annealing: the full margin, 4 by default', () => {
    const head = new GASoftmaxLoss({ ...size, annealing: 'none' });
    expect(lossOf(head)).toBe(angularSoftmax(x, head.weight, labels, { margin: 4 }).loss.item());
    expect(head.lambda).toBeNull();
  });

  test('ASoftmaxLoss is GASoftmaxLoss of the cosine', () => {
    const head = new ASoftmaxLoss({ ...size, margin: 2, annealing: 'none' });
    expect(lossOf(head)).toBe(angularSoftmax(x, head.weight, labels, { operator: 'cosine', margin: 2 }).loss.item());
  });

  test('ArcFaceLoss and CosFaceLoss add their margins, by default 0.5 and 0.35 at a scale of 64', () => {
    const arc = new ArcFaceLoss(size), cos = new CosFaceLoss(size);
    const fixed = { operator: 'cosine', radius: 64 } as const;
    const expected = (weight: Tensor, options: AngularSoftmaxOptions) =>
      angularSoftmax(x, weight, labels, { ...fixed, ...options }).loss.item();
    expect(lossOf(arc)).toBe(expected(arc.weight, { marginFunction: 'additive-angle', margin: 0.5 }));
    expect(lossOf(cos)).toBe(expected(cos.weight, { marginFunction: 'additive-value', margin: 0.35 }));
    expect(lossOf(new ArcFaceLoss({ ...size, margin: 1, scale: 8 }))).not.toBe(lossOf(new ArcFaceLoss({ ...size, scale: 8 })));
    expect(arc.logits(x).data()).toEqual(angularLogits(x, arc.weight, fixed).data());
  });

  test('NormFaceLoss: a cosine times a scale, fixed or learned', () => {
    const fixed = new NormFaceLoss({ ...size, scale: 8 });
    const angular = { operator: 'cosine', radius: 8 } as const;
    expect(lossOf(fixed)).toBe(angularSoftmax(x, fixed.weight, labels, angular).loss.item());
    expect(fixed.namedParameters().map(([name]) => name)).toEqual(['weight']);
    const learned = new NormFaceLoss({ ...size, scale: 8, learnScale: true });
    learned.weight.assign(fixed.weight.data());
    expect(lossOf(learned)).toBeCloseTo(lossOf(fixed), 5);
    expect(learned.logits(x).data()).toEqual(learned.forward(x, labels).logits.data());
    expect(learned.namedParameters().map(([name]) => name)).toEqual(['weight', 'freeScale']);
  });

  test('a learned scale grows where features lie on their class weights, and is positive whatever its parameter', () => {
    const head = new NormFaceLoss({ inFeatures: 4, classes: 4, scale: 2, learnScale: true });
    const own = tensor(Int32Array.of(0, 1, 2, 3));
    head.weight.assign(Float32Array.from({ length: 16 }, (_, i) => (i % 5 === 0 ? 1 : 0)));
    const x = head.weight.detach();
    head.forward(x, own).loss.backward();
    expect(head.freeScale!.grad!.item()).toBeLessThan(0);
    head.freeScale!.assign(Float32Array.of(-3));
    expect(head.logits(x).data()[0]).toBeCloseTo(Math.log1p(Math.exp(-3)), 6);
  });

  test('HingeLoss on plain and angular logits', () => {
    const plain = new HingeLoss({ ...size, margin: 2 });
    plain.linear.bias!.assign(random([4], 3, 'f32'));
    const logits = linear(x, plain.classWeights, { bias: plain.linear.bias });
    expect(lossOf(plain)).toBe(multiMargin(logits, labels, { margin: 2 }).item());
    const angular = new HingeLoss({ ...size, operator: 'sigmoid', k: 0.5, radius: 3, squared: true });
    const g = sphereLinear(x, angular.classWeights, { operator: 'sigmoid', k: 0.5 });
    expect(lossOf(angular)).toBe(multiMargin(scale(g, 3), labels, { squared: true }).item());
    expect(angular.namedParameters().map(([name]) => name)).toEqual(['linear.weight']);
    expect(new HingeLoss({ ...size, bias: false }).namedParameters().map(([name]) => name)).toEqual(['linear.weight']);
  });

  test('theta is the mean angle of the true class', () => {
    const head = new WSoftmaxLoss({ inFeatures: 2, classes: 2 });
    head.weight.assign(Float32Array.of(1, 0, 0, 3));
    const { theta } = head.forward(tensor([[1, 1], [2, 0]]), tensor(Int32Array.of(0, 1)));
    expect(theta!.item()).toBeCloseTo((Math.PI / 4 + Math.PI / 2) / 2, 6);
  });

  test('CrossEntropyLoss', () => {
    const logits = random([5, 4], 7, 'f32');
    expect(new CrossEntropyLoss({ labelSmoothing: 0.2 }).forward(logits, labels).item()).toBe(
      softmaxCrossEntropy(logits, labels, { labelSmoothing: 0.2 }).item(),
    );
  });

  test('lambda is null where nothing is annealed, and the iteration does not matter', () => {
    for (const head of [new SoftmaxLoss(size), new WSoftmaxLoss(size), new SSoftmaxLoss({ ...size, radius: 8 })]) {
      head.atIteration(100);
      expect(head.lambda).toBeNull();
    }
  });
});

const bad = (labels: number[]): Tensor => tensor(Int32Array.from(labels));
test.each<[string, () => unknown, new (...args: never[]) => OptionError, string, RegExp]>([
  ['SoftmaxLoss: classes', () => new SoftmaxLoss({ ...size, classes: 1 }), OptionError, 'classes', /at least 2/],
  ['SoftmaxLoss: inFeatures', () => new SoftmaxLoss({ ...size, inFeatures: 0 }), OptionError, 'inFeatures', /at least 1/],
  ['SoftmaxLoss: bias', () => new SoftmaxLoss({ ...size, bias: 'no' as never }), OptionError, 'bias', /true or false/],
  ['SoftmaxLoss: smoothing', () => new SoftmaxLoss({ ...size, labelSmoothing: 1 }), OptionError, 'labelSmoothing', /less than 1/],
  ['SoftmaxLoss: unknown', () => new SoftmaxLoss({ ...size, k: 1 } as never), OptionError, 'k', /SoftmaxLoss has no option/],
  ['CrossEntropyLoss: smoothing', () => new CrossEntropyLoss({ labelSmoothing: -1 }), OptionError, 'labelSmoothing', /at least 0/],
  ['CrossEntropyLoss: unknown', () => new CrossEntropyLoss({ smooth: 0 } as never), OptionError, 'smooth', /no option/],
  ['WSoftmaxLoss: classes', () => new WSoftmaxLoss({ ...size, classes: 1.5 }), OptionError, 'classes', /integer/],
  ['WSoftmaxLoss: operator', () => new WSoftmaxLoss({ ...size, operator: 'sine' as never }), OptionError, 'operator', /one of/],
  ['WSoftmaxLoss: k', () => new WSoftmaxLoss({ ...size, k: 0 }), OptionError, 'k', /greater than 0/],
  ['WSoftmaxLoss: k of a cosine', () => new WSoftmaxLoss({ ...size, operator: 'cosine', k: 1 }), OptionError, 'k', /belongs to/],
  ['WSoftmaxLoss: margin', () => new WSoftmaxLoss({ ...size, margin: 2 } as never), OptionError, 'margin', /WSoftmaxLoss has no option/],
  ['SSoftmaxLoss: no radius', () => new SSoftmaxLoss(size as never), OptionError, 'radius', /but got undefined/],
  ['SSoftmaxLoss: radius', () => new SSoftmaxLoss({ ...size, radius: 0 }), OptionError, 'radius', /greater than 0/],
  ['GASoftmaxLoss: margin', () => new GASoftmaxLoss({ ...size, margin: 0.5 }), OptionError, 'margin', /at least 1/],
  ['GASoftmaxLoss: fraction', () => new GASoftmaxLoss({ ...size, margin: 1.5 }), OptionError, 'margin', /integer/],
  ['GASoftmaxLoss: unknown', () => new GASoftmaxLoss({ ...size, m: 4 } as never), OptionError, 'm', /no option/],
  ['ASoftmaxLoss: operator', () => new ASoftmaxLoss({ ...size, operator: 'linear' } as never), OptionError, 'operator', /ASoftmaxLoss has no option/],
  ['ArcFaceLoss: margin', () => new ArcFaceLoss({ ...size, margin: 4 }), OptionError, 'margin', /at most 3.14/],
  ['ArcFaceLoss: scale', () => new ArcFaceLoss({ ...size, scale: 0 }), OptionError, 'scale', /greater than 0/],
  ['ArcFaceLoss: operator', () => new ArcFaceLoss({ ...size, operator: 'linear' } as never), OptionError, 'operator', /ArcFaceLoss has no option/],
  ['ArcFaceLoss: scale beyond float32', () => new ArcFaceLoss({ ...size, scale: 1e300 }), OptionError, 'scale', /at most 1000000, but got 1e\+300/],
  ['CosFaceLoss: margin', () => new CosFaceLoss({ ...size, margin: -1 }), OptionError, 'margin', /at least 0/],
  ['CosFaceLoss: margin beyond reach', () => new CosFaceLoss({ ...size, margin: 2.5 }), OptionError, 'margin', /at most 2/],
  ['NormFaceLoss: scale', () => new NormFaceLoss({ ...size, scale: 0 }), OptionError, 'scale', /greater than 0/],
  ['NormFaceLoss: learnScale', () => new NormFaceLoss({ ...size, learnScale: 1 as never }), OptionError, 'learnScale', /true or false/],
  ['NormFaceLoss: margin', () => new NormFaceLoss({ ...size, margin: 1 } as never), OptionError, 'margin', /NormFaceLoss has no option/],
  ['HingeLoss: margin', () => new HingeLoss({ ...size, margin: 0 }), OptionError, 'margin', /greater than 0/],
  ['HingeLoss: squared', () => new HingeLoss({ ...size, squared: 2 as never }), OptionError, 'squared', /true or false/],
  ['HingeLoss: classes', () => new HingeLoss({ ...size, classes: 1 }), OptionError, 'classes', /at least 2/],
  ['HingeLoss: radius alone', () => new HingeLoss({ ...size, radius: 2 }), OptionError, 'radius', /needs an operator/],
  ['HingeLoss: k alone', () => new HingeLoss({ ...size, k: 2 }), OptionError, 'k', /needs an operator/],
  ['HingeLoss: bias of angles', () => new HingeLoss({ ...size, operator: 'cosine', bias: true }), OptionError, 'bias', /without an operator/],
  ['HingeLoss: operator', () => new HingeLoss({ ...size, operator: 'sine' as never }), OptionError, 'operator', /one of/],
  ['HingeLoss: unknown', () => new HingeLoss({ ...size, p: 2 } as never), OptionError, 'p', /no option/],
  ['CosFaceLoss: unknown', () => new CosFaceLoss({ ...size, radius: 4 } as never), OptionError, 'radius', /no option/],
  ['label out of range', () => new WSoftmaxLoss(size).forward(features(), bad([0, 1, 2, 3, 4])), DataError, 'labels', /labels\[4\] is 4/],
  ['too few labels', () => new SoftmaxLoss(size).forward(features(), bad([0])), ShapeError, 'labels', /shape \[5\]/],
  ['features', () => new WSoftmaxLoss(size).forward(random([5, 3], 1, 'f32'), labels), ShapeError, 'x', /3 features/],
])('%s', (_, run, type, argument, message) => {
  expectThrown(run, type, argument, message);
});

test('the linear operator takes any margin', () => {
  expect(new GASoftmaxLoss({ ...size, operator: 'linear', margin: 1.5 }).margin).toBe(1.5);
});
