import { basename, relative } from 'node:path';

/** Signals that end a run, with what the process then returns: 128 and the signal's number. */
const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** Within so many milliseconds a second signal is the first one again: shells and npm pass on what the terminal sends too. */
const echo = 100;

/**
 * A signal for an orderly end at the first Ctrl+C, or whatever a terminal, a container or a batch system ends processes
 * with; a second one ends the process at once.
 */
export function abortOnInterrupt(): AbortSignal {
  const controller = new AbortController();
  let first = 0;
  for (const [name, code] of Object.entries(exitCodes)) {
    process.on(name, () => {
      if (controller.signal.aborted) {
        if (performance.now() - first > echo) process.exit(code);
        return;
      }
      first = performance.now();
      process.stderr.write(`\nFinishing this step; ${name === 'SIGINT' ? 'Ctrl+C' : name} again stops at once.\n`);
      controller.abort(code);
    });
  }
  return controller.signal;
}

/** What the process returns after it was ended in order. */
export function interruptedCode({ reason }: AbortSignal): number {
  return reason as number;
}

/** This process's command line for a shell, going on from `checkpoint`. */
export function resumeCommand(checkpoint: string): string {
  const [node, script, ...args] = process.argv;
  const former = args.findIndex((arg) => arg === '--resume' || arg.startsWith('--resume='));
  if (former >= 0) args.splice(former, args[former] === '--resume' ? 2 : 1);
  const kept = args.filter((arg) => arg !== '--overwrite');
  const program =
    basename(script) === 'spherenet'
      ? [...(process.env['npm_command'] === 'exec' ? ['npx'] : []), 'spherenet']
      : [basename(node), ...process.execArgv, relative('', script)];
  return [...program, ...kept, '--resume', checkpoint].map(quote).join(' ');
}

function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
