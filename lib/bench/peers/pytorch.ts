import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Device, deviceInfo, matmulPrecision } from '../../device';
import { DeviceError, OptionError } from '../../errors';
import { packageRoot } from '../../native';
import { type AngularOperator, defaultCurvature } from '../../ops';
import type { BenchmarkOperator, Contender, MemoryLayout, PassTimes } from '../measure';
import { type Resident, residentRuns } from '../residentMemory';
import { type Peer, type PeerConvolution, type PeerStep, settle } from './peer';

/** What it computes, as bench/peers/pytorch.py reads it. */
type Specification = { kind: 'convolution' | 'step'; batch: number } & Record<string, unknown>;

interface Facts {
  torch: string;
  threads: number;
  cuda: boolean;
  gpu: string | null;
  compile: boolean;
  /** Those that it can build, as configs call them. */
  networks: string[];
}

const layouts = ['channels-last', 'contiguous'] as const satisfies readonly MemoryLayout[];
const script = join(packageRoot, 'bench', 'peers', 'pytorch.py');

/** Where Python is looked for: the one that was named, or the usual ones. */
function candidates(): string[] {
  const named = process.env['SPHERENET_PYTHON'];
  return named ? [named] : ['python3', '/usr/bin/python3'];
}

/**
 * Starts a Python that has torch.
 * @throws {OptionError} when there is none, naming all that were tried.
 */
export async function startPytorch(): Promise<PytorchProcess> {
  const failures: string[] = [];
  for (const python of candidates()) {
    const started = await PytorchProcess.start(python);
    if (started instanceof PytorchProcess) return started;
    failures.push(`${python} (${started})`);
  }
  throw new OptionError(
    'peer',
    `--peer pytorch needs a Python that has torch, but there is none: ${failures.join(', ')}; SPHERENET_PYTHON names another one`,
  );
}

/** bench/peers/pytorch.py at work: a line of JSON for each request, a line for each answer, one at a time. */
export class PytorchProcess {
  readonly python: string;
  readonly facts: Facts;
  readonly #conversation: Conversation;

  private constructor(python: string, conversation: Conversation, facts: Facts) {
    this.python = python;
    this.#conversation = conversation;
    this.facts = facts;
  }

  /** The process, or why there is none. */
  static async start(python: string): Promise<PytorchProcess | string> {
    const conversation = new Conversation(python);
    try {
      const { ready, error = 'no answer' } = await conversation.answer<{ ready?: boolean; error?: string }>();
      if (!ready) throw new Error(error);
      return new PytorchProcess(python, conversation, await conversation.ask<Facts>({ do: 'hello', threads: deviceInfo().threads }));
    } catch (error) {
      await conversation.end();
      return (error as Error).message;
    }
  }

  /** Starts the same once more. */
  async again(): Promise<PytorchProcess> {
    const started = await PytorchProcess.start(this.python);
    if (started instanceof PytorchProcess) return started;
    throw new DeviceError('pytorch', `${this.python} does not start again: ${started}`);
  }

  /** @throws {DeviceError} with what PyTorch says. */
  ask<T>(request: { do: string } & Record<string, unknown>): Promise<T> {
    return this.#conversation.ask<T>(request);
  }

  close(): Promise<void> {
    return this.#conversation.end();
  }
}

/** Lines to and from a child process. */
class Conversation {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string, undefined>;
  readonly #ended: Promise<string>;
  #complaints = '';

  constructor(python: string) {
    this.#child = spawn(python, [script], { stdio: 'pipe' });
    this.#ended = new Promise((settle) => {
      this.#child.once('error', (error: NodeJS.ErrnoException) => { settle(error.code === 'ENOENT' ? 'not found' : error.message); });
      this.#child.once('close', (code, signal) => {
        const complaint = this.#complaints.trim().split('\n').at(-1)!;
        settle(complaint === '' ? `it ended by ${signal ?? `exit code ${code}`}` : complaint);
      });
    });
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.#complaints += text));
    // A request to a process that has ended is answered by `#ended`.
    this.#child.stdin!.on('error', () => undefined);
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]() as AsyncIterator<string, undefined>;
  }

  /** The next line. @throws {DeviceError} when there is none. */
  async answer<T>(): Promise<T> {
    const { value } = await this.#lines.next();
    if (value === undefined) throw new DeviceError('pytorch', await this.#ended);
    return JSON.parse(value) as T;
  }

  async ask<T>(request: object): Promise<T> {
    this.#child.stdin!.write(`${JSON.stringify(request)}\n`);
    const answer = await this.answer<T & { error?: string }>();
    if (answer.error !== undefined) throw new DeviceError('pytorch', `PyTorch fails: ${answer.error}`);
    return answer;
  }

  /** Without a line to come, the child ends by itself. */
  async end(): Promise<void> {
    this.#child.stdin!.end();
    await this.#ended;
  }
}

/**
 * PyTorch: convolution and box norm under autograd, in both memory layouts; on cuda compiled too.
 * @throws {OptionError} when there is no Python with torch, or its torch has no CUDA where that is needed.
 */
export async function pytorchPeer(devices: readonly Device[]): Promise<Peer> {
  const main = await startPytorch();
  const { facts, python } = main;
  if (devices.includes('cuda') && !facts.cuda) {
    await main.close();
    throw new OptionError('peer', `--peer pytorch on cuda needs a torch with CUDA, but torch ${facts.torch} of ${python} has none`);
  }
  const contenders = async (what: Specification, operators: readonly AngularOperator[], device: Device): Promise<Contender[]> => {
    const made: Contender[] = [];
    try {
      for (const compile of device === 'cuda' && facts.compile ? [false, true] : [false]) {
        for (const operator of ['plain', ...operators] as const) {
          for (const layout of layouts) made.push(await contender(main, { ...what, operator, device, layout, compile }));
        }
      }
    } catch (error) {
      for (const { dispose } of made) await dispose?.();
      throw error;
    }
    return made;
  };
  const threads = `${facts.threads} ${facts.threads === 1 ? 'thread' : 'threads'}`;
  const notes = [`PyTorch ${facts.torch} of ${python}, ${facts.gpu ?? threads}; the faster of both layouts`];
  return {
    notes,
    convolution: ({ shape, batchSize, operators, device }: PeerConvolution) =>
      contenders({ kind: 'convolution', batch: batchSize, ...shape }, operators, device),
    step: ({ network, batchSize, operators, device }: PeerStep) => {
      if (!facts.networks.includes(network.config.network)) {
        notes.push(`bench/peers/pytorch.py does not know ${network.name}`);
        return Promise.resolve([]);
      }
      return contenders({ kind: 'step', batch: batchSize, network: network.config }, operators, device);
    },
    close: () => main.close(),
  };
}

type ContenderSpecification = Specification & {
  operator: BenchmarkOperator;
  device: Device;
  layout: MemoryLayout;
  compile: boolean;
};

async function contender(main: PytorchProcess, what: ContenderSpecification): Promise<Contender> {
  const { operator, device, layout, compile } = what;
  const request = { do: 'prepare', ...what, k: defaultCurvature, precision: device === 'cpu' ? 'fp32' : matmulPrecision() };
  const { case: number } = await main.ask<{ case: number }>(request);
  let peak: number | null = null;
  return {
    operator,
    engine: compile ? 'pytorch-compile' : 'pytorch',
    layout,
    peakBytes: () => peak,
    run: async () => {
      await settle();
      const { passes, peakBytes } = await main.ask<{ passes: PassTimes; peakBytes: number | null }>({ do: 'run', case: number });
      if (peakBytes !== null) peak = Math.max(peak ?? 0, peakBytes);
      await settle();
      const { forward, backward } = passes;
      return forward === undefined || backward === undefined ? passes : { ...passes, both: forward + backward };
    },
    resident: () => residentMemory(main, request),
    dispose: async () => { await main.ask({ do: 'release', case: number }); },
  };
}

/** The memory of a process that computes nothing else; null where the system does not tell. */
async function residentMemory(main: PytorchProcess, request: { do: string } & Record<string, unknown>): Promise<Resident | null> {
  const own = await main.again();
  try {
    const { case: number } = await own.ask<{ case: number }>(request);
    await own.ask({ do: 'reset_resident' });
    for (let i = 0; i < residentRuns; i++) await own.ask({ do: 'run', case: number });
    const { residentBytes, residentBaseBytes } = await own.ask<{ [Key in keyof Resident]: number | null }>({ do: 'resident' });
    return residentBytes === null || residentBaseBytes === null ? null : { residentBytes, residentBaseBytes };
  } finally {
    await own.close();
  }
}
