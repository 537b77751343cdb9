import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ImageFolder, type ImageFolderOptions, loadImageFolder, subset } from '../../lib/data';
import { DataError, OptionError } from '../../lib/errors';
import { put } from './images';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'spherenet-test-'));
});
afterEach(async () => {
  await rm(root, { recursive: true });
});

/** Empty files: only names are read. */
async function names(...paths: string[]): Promise<void> {
  for (const path of paths) await put(root, path);
}
/** `class file` of each image. */
const listed = ({ files, labels, classes }: ImageFolder): string[] => files.map((file, i) => `${classes[labels[i]]} ${file}`);
const load = (options: Partial<ImageFolderOptions> = {}) => loadImageFolder({ source: root, ...options });

describe("ImageNet's layout", () => {
  test('has the classes and images in the order of their names, of any ending for images', async () => {
    await names('train/n2/b.JPEG', 'train/n2/a.jpg', 'train/n10/x.png', 'train/n10/y.WebP', 'val/n10/q.jpeg', 'val/n2/p.jpg');
    const { train, test } = await load();
    expect(train).toMatchObject({ count: 4, classes: ['n10', 'n2'], root: join(root, 'train'), height: 224, width: 224, resize: 256 });
    expect(listed(train)).toEqual(['n10 n10/x.png', 'n10 n10/y.WebP', 'n2 n2/a.jpg', 'n2 n2/b.JPEG']);
    expect(test).toMatchObject({ count: 2, classes: ['n10', 'n2'], root: join(root, 'val') });
    expect(listed(test)).toEqual(['n10 n10/q.jpeg', 'n2 n2/p.jpg']);
    expect([train.name, test.name]).toEqual(['train', 'test'].map((split) => `${root.split('/').at(-1)} ${split}`));
  });

  test('may call its tests "test", and lack a class there', async () => {
    await names('train/a/1.jpg', 'train/b/1.jpg', 'test/b/2.jpg');
    expect(listed((await load()).test)).toEqual(['b b/2.jpg']);
  });

  test('takes "val" where there is "test" too, whose labels ImageNet does not tell', async () => {
    await names('train/a/1.jpg', 'train/b/1.jpg', 'val/a/2.jpg', 'test/3.jpg');
    expect(listed((await load()).test)).toEqual(['a a/2.jpg']);
  });

  test('refuses a class that is not trained, and tests without class folders', async () => {
    await names('train/a/1.jpg', 'train/b/1.jpg', 'val/a/2.jpg', 'val/c/2.jpg');
    await expect(load()).rejects.toThrow(`${join(root, 'val/c')} is the folder of a class that ${join(root, 'train')} does not have`);
    await rm(join(root, 'val'), { recursive: true });
    await names('val/1.jpg');
    await expect(load()).rejects.toThrow(`${join(root, 'val')} has no image in folders by class`);
  });

  test('has no use for a drawn split', async () => {
    await names('train/a/1.jpg', 'train/b/1.jpg', 'val/a/2.jpg');
    await expect(load({ testShare: 0.5 })).rejects.toThrow(/^testShare has no effect: .* has its own splits, train and val$/);
  });
});

describe('a folder of classes', () => {
  const twenty = Array.from({ length: 20 }, (_, i) => `${i}.jpg`);

  test('is split class by class, the same way for the same seed', async () => {
    await names(...twenty.map((file) => `cats/${file}`), ...twenty.slice(0, 5).map((file) => `dogs/${file}`), 'owls/1.jpg');
    const { train, test } = await load({ testShare: 0.25 });
    const perClass = ({ labels }: ImageFolder) => [0, 1, 2].map((label) => labels.filter((each) => each === label).length);
    expect([perClass(train), perClass(test)]).toEqual([[15, 4, 1], [5, 1, 0]]);
    expect([...listed(train), ...listed(test)].sort()).toEqual(
      [...twenty.map((file) => `cats cats/${file}`), ...twenty.slice(0, 5).map((file) => `dogs dogs/${file}`), 'owls owls/1.jpg'].sort(),
    );
    expect((await load({ testShare: 0.25 })).test.files).toEqual(test.files);
    expect((await load({ testShare: 0.25, splitSeed: 1 })).test.files).not.toEqual(test.files);
  });

  test('may have a class called train', async () => {
    await names('train/1.jpg', 'train/2.jpg', 'bus/1.jpg', 'bus/2.jpg');
    expect((await load()).train).toMatchObject({ classes: ['bus', 'train'], count: 2 });
  });

  test('goes into folders of a class and through links, not round in circles', async () => {
    await names('a/images/1.jpg', 'a/images/more/2.jpg', 'a/3.jpg', 'b/1.jpg');
    await symlink(join(root, 'b'), join(root, 'c'));
    await symlink(join(root, 'b/1.jpg'), join(root, 'b/2.jpg'));
    await symlink(join(root, 'a'), join(root, 'a/images/again'));
    const { train, test } = await load();
    expect([...listed(train), ...listed(test)].sort()).toEqual(
      ['a a/3.jpg', 'a a/images/1.jpg', 'a a/images/more/2.jpg', 'b b/1.jpg', 'b b/2.jpg', 'c c/1.jpg', 'c c/2.jpg'],
    );
  });

  test('leaves out and counts other files, and does not even count what is hidden', async () => {
    await names('a/1.jpg', 'a/2.jpg', 'a/notes.txt', 'a/clip.gif', 'a/.DS_Store', 'b/1.jpg', 'b/._1.jpg', '.git/1.jpg', 'readme.jpg');
    const { train } = await load();
    expect(train).toMatchObject({ classes: ['a', 'b'], ignored: 2 });
    expect(train.files).toContain('b/1.jpg');
  });
});

test('subset() counts in one random order: parts do not overlap, and have images of all classes', async () => {
  await names(...['a', 'b'].flatMap((name) => Array.from({ length: 20 }, (_, i) => `train/${name}/${10 + i}.jpg`)), 'val/a/1.jpg');
  const { train } = await load();
  const parts = [subset(train, 0, 10), subset(train, 10, 40)];
  expect(parts.map(({ count }) => count)).toEqual([10, 30]);
  expect(new Set(parts[0].labels).size).toBe(2);
  expect(parts.flatMap(listed).sort()).toEqual(listed(train));
  expect(listed(parts[0])).toEqual(listed(parts[0]).sort());
});

describe('what is no data set', () => {
  test.each<[string, string[], RegExp]>([
    ['no class', [], /must have a folder for each of two or more classes, but has none$/],
    ['images without folders', ['1.jpg'], /two or more classes, but has none$/],
    ['one class', ['cats/1.jpg'], /two or more classes, but has only cats$/],
    ['training images alone', ['train/cats/1.jpg', 'train/dogs/1.jpg'], /two or more classes, but has only train$/],
    ['no class with two images', ['a/1.jpg', 'b/1.jpg'], /has no class with two images, one for training and one for tests$/],
    ['a class of other files', ['a/1.jpg', 'b/x.gif'], /class folder .*\/b has no file that ends in .jpg, .jpeg, .png, .webp, only "b\/x.gif" and the like$/],
  ])('%s', async (_, paths, message) => {
    await names(...paths);
    const error = await load().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(DataError);
    expect((error as Error).message).toMatch(message);
  });

  test('an empty class', async () => {
    await names('a/1.jpg');
    await mkdir(join(root, 'b'));
    await expect(load()).rejects.toThrow(`class folder ${join(root, 'b')} has no file that ends in .jpg, .jpeg, .png, .webp`);
  });

  test('a missing folder, and a file', async () => {
    const file = await put(root, 'images.zip');
    await expect(load({ source: join(root, 'nowhere') })).rejects.toThrow(/^folder .*nowhere cannot be read: ENOENT/);
    await expect(load({ source: file })).rejects.toThrow(/^folder .*images.zip cannot be read: ENOTDIR/);
  });
});

test.each<[string, object, RegExp]>([
  ['source', { source: undefined }, /source must be the path of a folder/],
  ['imageSize', { imageSize: 0 }, /imageSize must be an integer at least 1/],
  ['resize', { imageSize: 64, resize: 63 }, /resize must be an integer at least 64 and at most 16384, but got 63/],
  ['testShare', { testShare: 1 }, /testShare must be a finite number greater than 0 and less than 1/],
  ['splitSeed', { splitSeed: -1 }, /splitSeed must be an integer/],
  ['onError', { onError: 'warn' }, /onError must be one of "throw", "skip", but got "warn"/],
  ['size', { size: 3 }, /loadImageFolder has no option "size"/],
])('refuses a wrong %s', async (argument, options, message) => {
  const error = await load(options).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(OptionError);
  expect(error).toMatchObject({ argument });
  expect((error as Error).message).toMatch(message);
});
