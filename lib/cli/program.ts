import { Command, CommanderError } from 'commander';
import { SphereNetError } from '../errors';
import { usableProcessors } from '../processors';

/** Wrong use: an option, a file or data that the user can put right. */
const wrongUseCode = 2;
/** The machine failed us in the middle of a run. */
const failedRunCode = 1;
/** As of a process that SIGPIPE ended. */
const brokenPipeCode = 141;
const machineFaults = new Set(['ENOSPC', 'EDQUOT', 'EIO']);

/** A program that leaves the printing of errors to {@link runProgram}. */
export function newProgram(name: string): Command {
  return new Command(name).exitOverride().configureOutput({ outputError: () => undefined });
}

/** Runs the command that the user gave, and sets the exit code. Errors are printed as one sentence. */
export async function runProgram(program: Command): Promise<void> {
  // libuv starts its threads on first use. Images of folders are decoded on them, for which four are few on a large machine.
  process.env['UV_THREADPOOL_SIZE'] ??= String(Math.max(4, usableProcessors().count));
  outliveReaders();
  printWarnings();
  let active = program;
  program.hook('preAction', (_, command) => { active = command; });
  try {
    await program.parseAsync();
  } catch (error) {
    process.exitCode = fail(error, active);
  }
}

/** `spherenet --help | head -1` ends in silence; a closed terminal is no reason to lose a run. */
function outliveReaders(): void {
  process.stderr.on('error', () => undefined);
  process.stdout.on('error', ({ code, message }: NodeJS.ErrnoException) => {
    if (code === 'EPIPE') process.exit(brokenPipeCode);
    process.stderr.write(`error: cannot write the result: ${message}\n`);
    process.exit(failedRunCode);
  });
}

/** As one sentence each, instead of Node's lines with a process id and advice. */
function printWarnings(): void {
  // Node listens unless told by NODE_NO_WARNINGS or --no-warnings.
  if (process.listenerCount('warning') === 0) return;
  process.removeAllListeners('warning');
  process.on('warning', ({ name, message }) => {
    process.stderr.write(name === 'SphereNetWarning' ? `warning: ${message}\n` : `${name}: ${message}\n`);
  });
}

/** Prints what went wrong on stderr and returns the exit code. */
function fail(error: unknown, command: Command): number {
  if (error instanceof CommanderError) return failToParse(error);
  const known = error instanceof Error ? error : new Error(String(error));
  const text = process.env['SPHERENET_DEBUG'] ? known.stack : sentence(known, command);
  process.stderr.write(`error: ${text}\n`);
  return error instanceof SphereNetError && !isMachineFault(error.cause) ? wrongUseCode : failedRunCode;
}

function failToParse({ code, exitCode, message }: CommanderError): number {
  if (exitCode === 0) return 0;
  // Without a command, the help has been printed instead of a message.
  if (code !== 'commander.help') process.stderr.write(`${message.replaceAll('\n', ' ').replace('. Expected', ': expected')}\n`);
  return wrongUseCode;
}

/** The message, with a library option called by its flag where the command has one of that name. */
function sentence(error: Error, command: Command): string {
  if (!(error instanceof SphereNetError)) return error.message;
  const { argument, message } = error;
  const name = argument.split('.').at(-1)!.replace(/\[\d+\]$/, '');
  const flag = command.options.find((option) => option.attributeName() === name)?.long;
  if (!flag || message.includes(flag)) return message;
  return message.startsWith(argument) ? `${flag}${message.slice(argument.length)}` : `${flag}: ${message}`;
}

function isMachineFault(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && machineFaults.has(String(cause.code));
}
