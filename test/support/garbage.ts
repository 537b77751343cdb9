import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { memoryStats } from '../../lib/device';
import { hasCuda } from './device';

/**
 * Releases what earlier tests have left, so that it does not go while memory is looked at. Captured graphs too: they
 * count into `reserved` and `peak`.
 */
export async function collectGarbage(): Promise<void> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  let before: number;
  do {
    before = storages();
    // Finalizers run from the event loop, and what they let go of is found by the next collection.
    for (let turn = 0; turn < 10; ++turn) {
      collect();
      await setImmediate();
    }
  } while (storages() < before);
}

function storages(): number {
  return memoryStats('cpu').storages + (hasCuda ? memoryStats('cuda').storages : 0);
}
