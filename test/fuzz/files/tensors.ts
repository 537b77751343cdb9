// Safetensors files, and the checkpoints that are ones.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cnn } from '../../../lib/models';
import { Adam } from '../../../lib/optim';
import { loadModel, loadWeights, readSafetensors, saveCheckpoint } from '../../../lib/train';
import type { Generator } from '../../../lib/random';
import { damaged, withOtherValue } from '../damage';
import { expectRight, type FuzzTarget } from '../harness';

/** As PyTorch writes it: all dtypes that are read. */
function pytorchFile(): Buffer {
  const bytes = { F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, I8: 1, U64: 8, U32: 4, U16: 2, U8: 1, BOOL: 1 };
  let end = 0;
  const entries = Object.entries(bytes).map(([dtype, width]) => {
    const start = end;
    end += 6 * width;
    return [dtype.toLowerCase(), { dtype, shape: [2, 3], data_offsets: [start, end] }];
  });
  const header = JSON.stringify({ __metadata__: { format: 'pt' }, ...(Object.fromEntries(entries) as object) });
  return assembled(Buffer.from(header), Buffer.alloc(end, 1).fill(0, end / 2));
}

function assembled(header: Buffer, data: Buffer): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, data]);
}

/** Anywhere, or values of the header alone, whose length is then right. */
function damagedFile(bytes: Buffer, random: Generator): Buffer {
  if (random.integer(2) === 0) return damaged(bytes, random);
  const start = 8 + Number(bytes.readBigUInt64LE());
  return assembled(withOtherValue(bytes.subarray(8, start), random), bytes.subarray(start));
}

export const safetensors: FuzzTarget = {
  name: 'safetensors',
  async run(random, folder) {
    const path = join(folder, 'weights.safetensors');
    await writeFile(path, damagedFile(pytorchFile(), random));
    const { tensors } = await readSafetensors(path);
    for (const [name, { shape, data }] of tensors) {
      expectRight(data.length === shape.reduce((product, extent) => product * extent, 1), `${name} has ${data.length} elements`);
    }
  },
};

function tinyModel() {
  return cnn({ depth: 3, widths: [2, 2, 2], features: 4, classes: 3, imageSize: 8, head: { loss: 'softmax' } });
}

let checkpointBytes: Promise<Buffer> | undefined;

async function makeCheckpoint(path: string): Promise<Buffer> {
  using model = tinyModel();
  await saveCheckpoint(path, { model, optimizer: new Adam(model.parameters()), iteration: 3, training: { data: { images: 4 } } });
  return await readFile(path);
}

export const checkpoint: FuzzTarget = {
  name: 'checkpoint',
  async run(random, folder) {
    const path = join(folder, 'last.safetensors');
    await writeFile(path, damagedFile(await (checkpointBytes ??= makeCheckpoint(path)), random));
    if (random.integer(2) === 0) {
      using model = await loadModel(path);
      expectRight(model.parameters().length > 0, 'a model without parameters');
    } else {
      using model = tinyModel();
      await loadWeights(path, model);
    }
  },
};
