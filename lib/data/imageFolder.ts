import type { Dirent } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, extname, join, resolve } from 'node:path';
import { DataError, describe, OptionError, requireKnownKeys, requireNumber, requireOneOf } from '../errors';
import { Generator, requireSeed } from '../random';
import type { DatasetInfo } from './batchLoader';
import type { DatasetSplits } from './dataset';

/** What happens when an image cannot be decoded. */
export const errorPolicies = ['throw', 'skip'] as const;
export type ErrorPolicy = (typeof errorPolicies)[number];

/** Image files by class, and how they are read. Only names and labels are in memory. Made by {@link loadImageFolder}. */
export interface ImageFolder extends DatasetInfo {
  /** The folder with a folder for each class. */
  readonly root: string;
  /** Path of each image below `root`, in the order of the classes, then of the names. */
  readonly files: readonly string[];
  /** Class of each image, of shape [count]. */
  readonly labels: Int32Array;
  /** Pixels of the square that is cut out of each image. */
  readonly height: number;
  readonly width: number;
  readonly channels: 3;
  /** Pixels of the shorter side before the square is cut out. */
  readonly resize: number;
  readonly onError: ErrorPolicy;
  readonly onSkip?: (error: DataError) => void;
  /** Files in class folders that are left out, because their names do not end as those of images. */
  readonly ignored: number;
}

export interface ImageFolderOptions {
  /** The folder; see {@link loadImageFolder}. */
  source: string;
  /** Height and width of the images in a batch, at most 16,384. Default 224. */
  imageSize?: number;
  /** Pixels of the shorter side before the cut, from `imageSize` to 16,384. Default: 8/7 of it, 256 of 224. */
  resize?: number;
  /** Which part of each class is for tests where `source` has no splits, greater than 0, less than 1. Default 0.2. */
  testShare?: number;
  /** Decides which images these are. Default 0. */
  splitSeed?: number;
  /**
   * What a damaged image does. `throw`: batch() fails with a DataError that names the file. `skip`: in training the next
   * image in the order of the epoch that is not damaged takes its place, so that batches keep their size; an evaluation
   * leaves it out. A file that cannot be read always throws. Default `throw`.
   */
  onError?: ErrorPolicy;
  /** Called once for each damaged file that is skipped, by each loader. */
  onSkip?: (error: DataError) => void;
}

const optionKeys = [
  'source', 'imageSize', 'resize', 'testShare', 'splitSeed', 'onError', 'onSkip',
] as const satisfies readonly (keyof ImageFolderOptions)[];

// Resized pixels of one image are a few gigabytes then.
const largestSide = 16_384;

const endings = new Set(['.jpg', '.jpeg', '.png', '.webp']);

/** Images of one class: paths below the folder of all classes. */
interface ClassFiles {
  name: string;
  files: string[];
  ignored: string[];
}

/**
 * JPEG, PNG and WebP files in folders by class.
 *
 * `source` is laid out as ImageNet, `train/<class>/…` and `val/<class>/…` (or `test/` instead of `val/`); or it has the
 * class folders itself, and a part of each class, drawn by `splitSeed`, is the test set. Folders in class folders belong
 * to the class, and links are followed. Classes are numbered in the order of their names. Files whose names end otherwise
 * than in .jpg, .jpeg, .png or .webp (in any case) are left out, as is everything whose name begins with a dot.
 *
 * Only the names are read. Damaged images show when they are decoded: see `onError`.
 * @throws {OptionError} naming the option at fault.
 * @throws {DataError} when a folder is missing, there are fewer than two classes, a class has no image for training, or
 *   the images for tests have a class that the others do not have.
 */
export async function loadImageFolder(options: ImageFolderOptions): Promise<DatasetSplits<ImageFolder>> {
  requireKnownKeys('loadImageFolder', options, optionKeys);
  const { source, testShare, splitSeed, onSkip } = options;
  if (typeof source !== 'string') {
    throw new OptionError('source', `source must be the path of a folder with a folder for each class, but got ${describe(source)}`);
  }
  const imageSize = requireNumber('imageSize', options.imageSize ?? 224, { min: 1, max: largestSide, integer: true });
  const sides = { min: imageSize, max: largestSide, integer: true };
  const resizeTo = requireNumber('resize', options.resize ?? Math.min(Math.round((imageSize * 8) / 7), largestSide), sides);
  const onError = requireOneOf('onError', options.onError ?? 'throw', errorPolicies);
  const share = requireNumber('testShare', testShare ?? 0.2, { above: 0, below: 1 });
  const seed = requireSeed('splitSeed', splitSeed ?? 0);

  const splits = await splitFolders(source);
  for (const name of ['testShare', 'splitSeed'] as const) {
    if (!splits || options[name] === undefined) continue;
    throw new OptionError(name, `${name} has no effect: ${source} has its own splits, ${basename(splits.train)} and ${basename(splits.test)}`);
  }
  const folder = (split: string, root: string, classes: readonly string[], images: readonly ClassFiles[]): ImageFolder => ({
    name: `${basename(resolve(source))} ${split}`,
    root,
    ...listed(images, classes),
    classes,
    height: imageSize, width: imageSize, channels: 3, resize: resizeTo,
    onError, onSkip,
  });
  const train = await trainingClasses(splits?.train ?? source);
  const classes = train.map(({ name }) => name);
  if (!splits) {
    const parts = train.map((each) => drawn(each, share, seed));
    const test = folder('test', source, classes, parts.map((part) => part.test));
    if (test.count === 0) throw new DataError(source, `${source} has no class with two images, one for training and one for tests`);
    return { train: folder('train', source, classes, parts.map((part) => part.train)), test };
  }
  const test = await classesIn(splits.test);
  const stranger = test.find(({ name }) => !classes.includes(name));
  if (stranger) {
    throw new DataError(splits.test, `${join(splits.test, stranger.name)} is the folder of a class that ${splits.train} does not have`);
  }
  const tested = folder('test', splits.test, classes, test);
  if (tested.count === 0) throw new DataError(splits.test, `${splits.test} has no image in folders by class`);
  return { train: folder('train', splits.train, classes, train), test: tested };
}

/** The folders of the splits, where there are any. A data set may as well have a class that is called train. */
async function splitFolders(source: string): Promise<{ train: string; test: string } | null> {
  const names = (await entriesOf(source)).filter(({ isFolder }) => isFolder).map(({ name }) => name);
  const test = ['val', 'test'].find((name) => names.includes(name));
  return test !== undefined && names.includes('train') ? { train: join(source, 'train'), test: join(source, test) } : null;
}

/** @throws {DataError} unless there are two classes or more, each with an image. */
async function trainingClasses(root: string): Promise<ClassFiles[]> {
  const classes = await classesIn(root);
  if (classes.length < 2) {
    const found = classes.length === 0 ? 'none' : `only ${classes[0].name}`;
    throw new DataError(root, `${root} must have a folder for each of two or more classes, but has ${found}`);
  }
  const empty = classes.find(({ files }) => files.length === 0);
  if (empty) {
    const hint = empty.ignored.length === 0 ? '' : `, only ${describe(empty.ignored[0])} and the like`;
    throw new DataError(root, `class folder ${join(root, empty.name)} has no file that ends in ${[...endings].join(', ')}${hint}`);
  }
  return classes;
}

async function classesIn(root: string): Promise<ClassFiles[]> {
  const names = (await entriesOf(root)).filter(({ isFolder }) => isFolder).map(({ name }) => name);
  const classes: ClassFiles[] = [];
  for (const name of names) {
    const found: ClassFiles = { name, files: [], ignored: [] };
    await collect(root, name, found, new Set());
    classes.push(found);
  }
  return classes;
}

/** Adds the files in `path`, which is below `root`, and in its folders. `visited` keeps a link to a parent from going round. */
async function collect(root: string, path: string, into: ClassFiles, visited: Set<string>): Promise<void> {
  const folder = join(root, path);
  const real = await realpath(folder).catch((cause: unknown) => {
    throw new DataError(folder, `cannot read the folder ${folder}: ${(cause as Error).message}`, { cause });
  });
  if (visited.has(real)) return;
  visited.add(real);
  for (const { name, isFolder } of await entriesOf(folder)) {
    const inside = join(path, name);
    if (isFolder) await collect(root, inside, into, visited);
    else (endings.has(extname(name).toLowerCase()) ? into.files : into.ignored).push(inside);
  }
}

/** What a folder has, sorted by the codes of the characters: the same order on every machine. */
async function entriesOf(folder: string): Promise<{ name: string; isFolder: boolean }[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((cause: unknown) => {
    throw new DataError(folder, `folder ${folder} cannot be read: ${(cause as Error).message}`, { cause });
  });
  const visible = entries.filter(({ name }) => !name.startsWith('.')).sort((a, b) => (a.name < b.name ? -1 : 1));
  return Promise.all(visible.map(async (entry) => ({ name: entry.name, isFolder: await isFolder(folder, entry) })));
}

async function isFolder(parent: string, entry: Dirent): Promise<boolean> {
  if (!entry.isSymbolicLink()) return entry.isDirectory();
  // A link to nothing is a file that cannot be read.
  return stat(join(parent, entry.name)).then((stats) => stats.isDirectory(), () => false);
}

/** Splits a class; a class of one image is for training. */
function drawn({ name, files, ignored }: ClassFiles, share: number, seed: number): { train: ClassFiles; test: ClassFiles } {
  const { length } = files;
  const count = Math.min(Math.max(Math.round(length * share), 1), length - 1);
  const chosen = new Set(new Generator(Generator.seedFor(seed, 'split', name)).permutation(length).subarray(0, count));
  const part = (isTest: boolean): string[] => files.filter((_, index) => chosen.has(index) === isTest);
  return { train: { name, files: part(false), ignored }, test: { name, files: part(true), ignored: [] } };
}

function listed(images: readonly ClassFiles[], classes: readonly string[]): Pick<ImageFolder, 'files' | 'labels' | 'count' | 'ignored'> {
  const files = images.flatMap((each) => each.files);
  const labels = new Int32Array(files.length);
  let next = 0;
  for (const { name, files: { length } } of images) labels.fill(classes.indexOf(name), next, (next += length));
  return { files, labels, count: files.length, ignored: images.reduce((sum, { ignored }) => sum + ignored.length, 0) };
}
