import { ArcFaceLoss, CosFaceLoss, type Head, NormFaceLoss, SSoftmaxLoss } from '../../lib/losses';
import { lossFloor, scaleForFloor } from '../../lib/losses/lossFloor';
import { noGrad, type Tensor, tensor } from '../../lib/tensor';

/** Class weights as far from each other as they can be: one of each axis, less their mean. */
function simplex(classes: number): Tensor {
  const values = Array.from({ length: classes }, (_, i) => Array.from({ length: classes }, (__, j) => (i === j ? 1 : 0) - 1 / classes));
  return tensor(values);
}

/** The loss where each feature lies on its class weight. */
function lossAtBest(head: Head, classes: number): number {
  const weights = simplex(classes);
  head.classWeights.assign(weights.data());
  return noGrad(() => head.forward(weights, tensor(Int32Array.from({ length: classes }, (_, i) => i))).loss.item());
}

const warnings = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
beforeEach(() => { warnings.mockClear(); });
afterAll(() => { warnings.mockRestore(); });

describe.each([3, 10])('with %d classes', (classes) => {
  const size = { inFeatures: classes, classes };
  const plain = classes / (classes - 1);

  test.each<[string, () => Head, number]>([
    ['NormFaceLoss', () => new NormFaceLoss({ ...size, scale: 1 }), plain],
    ['ArcFaceLoss', () => new ArcFaceLoss({ ...size, scale: 1 }), plain - 1 + Math.cos(0.5)],
    ['CosFaceLoss', () => new CosFaceLoss({ ...size, scale: 1 }), plain - 0.35],
    ['SSoftmaxLoss', () => new SSoftmaxLoss({ ...size, operator: 'linear', radius: 1 }), (2 * Math.acos(-1 / (classes - 1))) / Math.PI],
  ])('%s says once where its floor is, and which scale would do', (name, make, gap) => {
    const head = make();
    expect(warnings).not.toHaveBeenCalled();
    const floor = lossFloor({ classes, scale: 1, gap });
    expect(lossAtBest(head, classes)).toBeCloseTo(floor, 3);
    lossAtBest(head, classes);
    expect(warnings).toHaveBeenCalledTimes(1);
    const [message, options] = warnings.mock.calls[0] as unknown as [string, object];
    expect(options).toEqual({ type: 'SphereNetWarning', code: 'SPHERENET_SMALL_SCALE' });
    const pattern = new RegExp(`^${name}: with a scale of 1 and ${classes} classes, spread evenly, the loss cannot fall below ([\\d.]+); to fall to 0.1 it takes a scale of ([\\d.]+)`);
    const [, told, scale] = pattern.exec(message)!;
    expect(Number(told)).toBeCloseTo(floor, 1);
    expect(lossFloor({ classes, scale: Number(scale), gap })).toBeLessThanOrEqual(0.1);
    expect(lossFloor({ classes, scale: Number(scale) - 0.2, gap })).toBeGreaterThan(0.1);
  });

  test('a scale that is large enough, a learned one, and evaluation say nothing', () => {
    const heads = [
      new NormFaceLoss({ ...size, scale: 8 }), new NormFaceLoss({ ...size, scale: 1, learnScale: true }),
      new ArcFaceLoss(size), new CosFaceLoss(size),
    ];
    for (const head of heads) lossAtBest(head, classes);
    new NormFaceLoss({ ...size, scale: 1 }).logits(simplex(classes));
    expect(warnings).not.toHaveBeenCalled();
  });
});

test('a margin that no scale makes up for', () => {
  const head = new CosFaceLoss({ inFeatures: 3, classes: 3, margin: 2 });
  lossAtBest(head, 3);
  expect(warnings).toHaveBeenCalledWith(expect.stringMatching(/no scale mends that: the margin is too large$/), expect.anything());
  expect(scaleForFloor({ classes: 3, scale: 1, gap: -0.5 }, 0.1)).toBeNull();
});
