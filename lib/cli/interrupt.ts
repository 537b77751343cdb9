import { basename, relative } from 'node:path';

/** What a process that was ended by SIGINT returns. */
export const interruptedCode = 130;

/** A signal for an orderly end at the first SIGINT; the second one ends the process at once. */
export function abortOnInterrupt(): AbortSignal {
  const controller = new AbortController();
  process.on('SIGINT', () => {
    if (controller.signal.aborted) process.exit(interruptedCode);
    process.stderr.write('\nFinishing this step; Ctrl+C again stops at once.\n');
    controller.abort();
  });
  return controller.signal;
}

/** This process's command line for a shell, going on from `checkpoint`. */
export function resumeCommand(checkpoint: string): string {
  const [node, script, ...args] = process.argv;
  const former = args.findIndex((arg) => arg === '--resume' || arg.startsWith('--resume='));
  if (former >= 0) args.splice(former, args[former] === '--resume' ? 2 : 1);
  const program =
    basename(script) === 'spherenet'
      ? [...(process.env['npm_command'] === 'exec' ? ['npx'] : []), 'spherenet']
      : [basename(node), ...process.execArgv, relative('', script)];
  return [...program, ...args, '--resume', checkpoint].map(quote).join(' ');
}

function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
