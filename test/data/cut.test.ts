import { anywhere, central, randomResizedCrop, resizeAndCrop } from '../../lib/data/cut';
import { Generator } from '../../lib/random';

describe('resizeAndCrop', () => {
  test.each([
    // torchvision's Resize(256) makes 341×256 of 500×375, and 256×256 of a square.
    [{ height: 375, width: 500 }, { height: 256, width: 341 }, { top: 16, left: 58 }],
    [{ height: 500, width: 375 }, { height: 341, width: 256 }, { top: 58, left: 16 }],
    [{ height: 97, width: 97 }, { height: 256, width: 256 }, { top: 16, left: 16 }],
    [{ height: 1, width: 3 }, { height: 256, width: 768 }, { top: 16, left: 272 }],
  ])('of %j resizes to %j and takes the middle at %j', (image, size, place) => {
    expect(resizeAndCrop(image, 256, 224, central)).toEqual({ region: null, size, crop: { ...place, height: 224, width: 224 } });
  });

  test('comes to every place, and to none beyond the edge', () => {
    const seen = new Set<string>();
    const generator = new Generator(1);
    for (let i = 0; i < 400; i++) {
      const { crop } = resizeAndCrop({ height: 20, width: 30 }, 10, 8, anywhere(generator));
      seen.add(`${crop!.top},${crop!.left}`);
    }
    const all = [0, 1, 2].flatMap((top) => Array.from({ length: 8 }, (_, left) => `${top},${left}`));
    expect([...seen].sort()).toEqual(all.sort());
  });
});

describe('randomResizedCrop', () => {
  const range = { scale: [0.08, 1], ratio: [3 / 4, 4 / 3] } as const;

  test('takes regions of the allowed areas and shapes, inside the image, of all sizes and places', () => {
    const generator = new Generator(2);
    const image = { height: 300, width: 400 };
    const draws = Array.from({ length: 2000 }, () => randomResizedCrop(image, 32, range, generator));
    const regions = draws.map(({ region, size, crop }) => {
      expect([size, crop]).toEqual([{ height: 32, width: 32 }, null]);
      return region!;
    });
    for (const { top, left, height, width } of regions) {
      expect(Math.min(top, left)).toBeGreaterThanOrEqual(0);
      expect(top + height).toBeLessThanOrEqual(300);
      expect(left + width).toBeLessThanOrEqual(400);
      // Both sides are rounded.
      expect(width / height).toBeGreaterThan(0.74);
      expect(width / height).toBeLessThan(1.35);
    }
    const shares = regions.map(({ height, width }) => (height * width) / 120_000).sort((a, b) => a - b);
    expect(shares[0]).toBeGreaterThan(0.079);
    expect(shares[0]).toBeLessThan(0.09);
    expect(shares.at(-1)).toBeGreaterThan(0.95);
    // Uniform from 0.08 to 1 but for the large ones that do not fit, as in torchvision.
    expect(shares[1000]).toBeGreaterThan(0.4);
    expect(shares[1000]).toBeLessThan(0.54);
  });

  test.each([
    ['wide', { height: 10, width: 1000 }, { top: 0, left: 493, height: 10, width: 13 }],
    ['tall', { height: 1000, width: 10 }, { top: 493, left: 0, height: 13, width: 10 }],
  ])('of an image that is too %s takes the largest allowed part in the middle', (_, image, region) => {
    const whole = { scale: [1, 1], ratio: range.ratio } as const;
    expect(randomResizedCrop(image, 8, whole, new Generator(3)).region).toEqual(region);
  });
});
