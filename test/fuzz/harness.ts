import { SphereNetError } from '../../lib/errors';
import { Generator } from '../../lib/random';

/** Something that is given random input. */
export interface FuzzTarget {
  name: string;
  /**
   * Makes one input of `random` alone, and gives it to the library. Throws what the library throws, or an error of its own
   * when the result is wrong.
   * @param folder Empty at first, kept from case to case.
   */
  run(random: Generator, folder: string): Promise<void>;
}

/** Of the processor: other processes of the machine do not count. */
const mostSeconds = 10;
/** Until what never settles, but uses no processor, has failed. */
const mostSecondsOfWaiting = 100;
/** By which the peak of the process's memory may grow in one case: inputs are small. */
const mostBytes = 512 * 2 ** 20;

/**
 * Runs the case of a seed, which must end in time, without much memory, with a result or with a typed error.
 * @throws {Error} naming target and seed when it does not.
 */
export async function fuzz(target: FuzzTarget, seed: number, folder: string): Promise<void> {
  const before = peakBytes();
  const start = process.cpuUsage();
  let outcome: unknown;
  try {
    await withinTime(target.run(new Generator(Generator.seedFor(target.name, seed)), folder));
  } catch (error) {
    if (!(error instanceof SphereNetError)) outcome = error;
  }
  const { user, system } = process.cpuUsage(start);
  const seconds = (user + system) / 1e6;
  if (seconds > mostSeconds) outcome ??= new Error(`it took ${seconds.toFixed(0)} s of the processor`);
  const bytes = peakBytes() - before;
  if (bytes > mostBytes) outcome ??= new Error(`it took ${(bytes / 2 ** 20).toFixed(0)} MiB of memory`);
  if (outcome === undefined) return;
  const what = outcome instanceof Error ? (outcome.stack ?? outcome.message) : JSON.stringify(outcome);
  throw new Error(`${target.name}, seed ${seed}: ${what}`);
}

/** Thrown by a target whose library call gave a wrong result. */
export function expectRight(condition: boolean, what: string): void {
  if (!condition) throw new Error(`wrong result: ${what}`);
}

async function withinTime(work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => { reject(new Error(`it did not end within ${mostSecondsOfWaiting} s`)); }, mostSecondsOfWaiting * 1000);
  });
  await Promise.race([work, late]).finally(() => { clearTimeout(timer); });
}

function peakBytes(): number {
  return process.resourceUsage().maxRSS * 1024;
}
