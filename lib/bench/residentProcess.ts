// What residentMemory() starts: runs one contender, sends its memory to the parent, and ends.
import { makeOperands, ownConvolution } from './convolution';
import type { Contender } from './measure';
import { ownMemory, resetOwnPeak, type Resident, residentRuns, type ResidentTask } from './residentMemory';
import { makeBatch, ownStep } from './step';

function contenderOf(task: ResidentTask): Contender {
  const { batchSize, operator } = task;
  if (task.kind === 'convolution') return ownConvolution(operator, task.shape, makeOperands(task.shape, batchSize, 'cpu'));
  return ownStep(operator, task.network, makeBatch(task.network, batchSize, 'cpu'));
}

async function run(task: ResidentTask): Promise<Resident> {
  await collectGarbage();
  const residentBaseBytes = ownMemory('VmRSS')!;
  const contender = contenderOf(task);
  // The numbers came from arrays of JavaScript, which have done their duty.
  await collectGarbage();
  resetOwnPeak();
  for (let i = 0; i < residentRuns; i++) await contender.run();
  return { residentBytes: ownMemory('VmHWM')!, residentBaseBytes };
}

/** V8 gives pages back on threads of its own. */
async function collectGarbage(): Promise<void> {
  globalThis.gc?.();
  await new Promise((resume) => setTimeout(resume, 200));
  globalThis.gc?.();
}

process.once('message', (task) => {
  void run(task as ResidentTask).then((resident) => process.send!(resident, () => { process.disconnect(); }));
});
