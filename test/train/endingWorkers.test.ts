// Workers that end while native work is under way, in a process of their own, which must live.
import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { compileLibrary } from './compiled';

// By hand: SPHERENET_WORKERS=1000, and any seed.
const workers = process.env['SPHERENET_WORKERS'] ?? '15';
const seed = process.env['SPHERENET_SEED'] ?? '1';

test(`${workers} workers end at random moments, and the process while others work`, async () => {
  const library = compileLibrary();
  try {
    const script = path.join(library, 'test', 'train', 'endingWorkers.js');
    const { stdout } = await promisify(execFile)(process.execPath, [script, workers, seed]);
    expect(stdout).toBe(`${workers} workers ended\n`);
  } finally {
    await rm(library, { recursive: true });
  }
}, 60_000 + 2_000 * Number(workers));
