// Workers that train, evaluate or make batches, ended at random moments in every way there is; at last the process ends
// while some are still at work. It has to leave with exit code 0. Takes the number of workers and a seed.
import { setTimeout as sleep } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { DataLoader, imageDataset } from '../../lib/data';
import { SoftmaxLoss } from '../../lib/losses';
import { Classifier } from '../../lib/models';
import { BatchNorm2d, Flatten, Sequential, SphereConv2d } from '../../lib/nn';
import { Adam, ConstantSchedule } from '../../lib/optim';
import { Generator } from '../../lib/random';
import { evaluate, Trainer } from '../../lib/train';
import '../support/device';

const works = ['batches', 'training', 'evaluation'] as const;
const ends = ['terminate', 'exception', 'exit', 'natural'] as const;
const atOnce = 3;
const onPurpose = 'on purpose';

interface Task {
  work: (typeof works)[number];
  end: (typeof ends)[number];
  /** Milliseconds. */
  delay: number;
}

async function endWorkers(count: number, generator: Generator): Promise<void> {
  const start = () => {
    const task: Task = {
      work: works[generator.integer(works.length)], end: ends[generator.integer(ends.length)], delay: generator.integer(40),
    };
    return { ...task, worker: new Worker(__filename, { workerData: task }) };
  };
  const runOne = async () => {
    const { worker, end, delay } = start();
    const loading = generator.integer(4) === 0;
    worker.on('error', (error: Error) => {
      if (error.message !== onPurpose) throw error;
    });
    const exit = next(worker, 'exit');
    if (!loading) await Promise.race([next(worker, 'message'), exit]);
    await sleep(loading ? 10 * delay : delay);
    if (end === 'terminate' || loading) await worker.terminate();
    await exit;
  };
  let left = count;
  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (left-- > 0) await runOne();
  }));
  console.log(`${count} workers ended`);

  const last = Array.from({ length: atOnce }, () => start().worker);
  for (const worker of last) worker.on('error', () => undefined);
  await Promise.race(last.flatMap((worker) => [next(worker, 'message'), next(worker, 'exit')]));
  process.exit(0);
}

/** Not `events.once`, which fails with the worker's own errors. */
function next(worker: Worker, event: 'message' | 'exit'): Promise<void> {
  return new Promise((resolve) => worker.once(event, () => { resolve(); }));
}

async function work({ work: kind, end, delay }: Task): Promise<void> {
  const count = 96;
  const dataset = imageDataset({
    name: 'grey', height: 32, width: 32, channels: 3, classes: ['a', 'b'],
    images: new Uint8Array(count * 32 * 32 * 3).fill(100), labels: Int32Array.from({ length: count }, (_, i) => i % 2),
  });
  const loader = new DataLoader(dataset, { batchSize: 16, augment: { padding: 2, flipHorizontal: true } });
  const features = new Sequential([
    new SphereConv2d({ inChannels: 3, outChannels: 4, kernelSize: 3, stride: 4 }),
    new BatchNorm2d({ channels: 4, relu: true }),
    new Flatten(),
  ]);
  const model = new Classifier(features, new SoftmaxLoss({ inFeatures: 256, classes: 2 }));
  if (end === 'exception' || end === 'exit') {
    setTimeout(() => {
      if (end === 'exit') process.exit(0);
      throw new Error(onPurpose);
    }, delay);
  }
  parentPort!.postMessage('at work');
  const steps: Record<Task['work'], (i: number) => Promise<unknown>> = {
    batches: (i) => Promise.all([loader.batch(i), loader.batch(i + 5)]),
    training: () => new Trainer({
      model, loader, optimizer: new Adam(model.parameters()), schedule: new ConstantSchedule({ learningRate: 1e-3 }), iterations: 5,
      progress: false,
    }).fit(),
    evaluation: () => evaluate(model, loader),
  };
  // Of its own accord a worker ends with batches still being made in advance.
  for (let i = 0; i === 0 || end !== 'natural'; i++) await steps[kind](i);
}

const [count, seed] = process.argv.slice(2).map(Number);
void (isMainThread ? endWorkers(count, new Generator(seed)) : work(workerData as Task));
