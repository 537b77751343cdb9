import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

interface Room { id: string }
interface Architecture { rooms: Room[]; arrows: { from: Room; to: Room }[]; errors: string[] }

const { readArchitecture } = jest.requireActual<{ readArchitecture: (root: string) => Architecture }>('../../scripts/lib/architecture');
const { drawArchitecture } = jest.requireActual<{ drawArchitecture: (architecture: Architecture) => string }>(
  '../../scripts/lib/architecturePicture',
);

let root: string;
beforeEach(async () => { root = await mkdtemp(join(tmpdir(), 'spherenet-rooms-')); });
afterEach(() => rm(root, { recursive: true, force: true }));

async function read(files: Record<string, string>): Promise<Architecture> {
  const bare = { 'lib/tensor.ts': '', 'native/core/tensor.h': '' };
  for (const [name, text] of Object.entries({ ...bare, ...files })) {
    await mkdir(dirname(join(root, name)), { recursive: true });
    await writeFile(join(root, name), text);
  }
  return readArchitecture(root);
}

function named({ arrows }: Architecture): string[] {
  return arrows.map(({ from, to }) => `${from.id} > ${to.id}`);
}

describe('an arrow', () => {
  test.each([
    ['an import', "import { a } from '../ops/a';"],
    ['an import of types', "import type { A } from '../ops';"],
    ['an import at run time', "const a = await import('../ops/a');"],
    ['a type by import', "type A = import('../ops/a').A;"],
    ['an export', "export * as a from '../ops/a';"],
  ])('is read from %s', async (_, text) => {
    expect(named(await read({ 'lib/nn/b.ts': text }))).toEqual(['lib/nn > lib/ops']);
  });

  test('is read from an include', async () => {
    const files = { 'native/cuda/emulation/a.h': '#include "core/tensor.h"\n#include "emulation.h"\n#include <cmath>' };
    expect(named(await read(files))).toEqual(['native/cuda > native/core']);
  });

  test('goes to the files of lib/, to the public surface and to the typings by their own names', async () => {
    const files = {
      'lib/index.ts': "export * from './tensor';",
      'lib/ops/a.ts': "import type { Native } from '../../typings/native';",
      'lib/cli/b.ts': "import { ops } from '..';",
    };
    expect(named(await read(files)).sort()).toEqual(['lib/cli > lib/index', 'lib/index > lib/core', 'lib/ops > typings']);
  });
});

describe('an error is', () => {
  test('an arrow that points up, in both languages', async () => {
    const files = { 'lib/nn/a.ts': "import '../train';", 'native/math/a.h': '#include "cpu/a.h"' };
    expect((await read(files)).errors).toEqual([
      'lib/nn/a.ts uses lib/train, which is above lib/nn',
      'native/math/a.h uses native/cpu, which is above native/math',
    ]);
  });

  test('two rooms beside each other that use one another', async () => {
    const one = { 'lib/optim/a.ts': "import '../losses';" };
    expect((await read(one)).errors).toEqual([]);
    expect((await read({ 'lib/losses/b.ts': "import '../optim';" })).errors).toHaveLength(2);
  });

  test('a room without a floor', async () => {
    const [error] = (await read({ 'lib/attic/a.ts': "import '../tensor';" })).errors;
    expect(error).toMatch(/^lib\/attic is a room without a floor/);
  });
});

test('the picture has a line for each arrow, but for those that others imply', async () => {
  const files = { 'lib/train/a.ts': "import '../nn'; import '../ops';", 'lib/nn/b.ts': "import '../ops';" };
  const picture = drawArchitecture(await read(files));
  expect(picture.match(/marker-end/g)).toHaveLength(2);
  expect(picture).toContain('also ops');
});
