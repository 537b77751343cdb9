import { type ChildProcess, spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { testDevice } from '../support/device';
import { compileLibrary } from '../train/compiled';

const root = resolve(__dirname, '..', '..');
// Once for all that a test file starts.
const compiled = compileLibrary();
afterAll(() => rm(compiled, { recursive: true }));
const entry = [join(compiled, 'lib', 'cli', 'main.js')];

/** For the commands that compute: the device of the suite, without rounded factors. */
export const onTestDevice = ['--device', testDevice, '--precision', 'fp32'];

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Starts `spherenet` as a user would, from the sources. */
export function startCli(args: readonly string[], env: NodeJS.ProcessEnv = {}): { child: ChildProcess; outcome: Promise<Outcome> } {
  return start(process.execPath, [...entry, ...args], env);
}

/** Runs `spherenet` to its end. */
export function runCli(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  return startCli(args, env).outcome;
}

/** Runs a command line as a shell does. */
export function runShell(command: string): Promise<Outcome> {
  return start('sh', ['-c', command], {}).outcome;
}

function start(file: string, args: readonly string[], env: NodeJS.ProcessEnv) {
  const child = spawn(file, args, { cwd: root, env: { ...process.env, COLUMNS: '100', ...env } });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const outcome = new Promise<Outcome>((settle, reject) => {
    child.on('error', reject);
    child.on('close', (code) => { settle({ code, stdout, stderr }); });
  });
  return { child, outcome };
}
