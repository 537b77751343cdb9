// The library as JavaScript in a folder of its own, for processes and workers that jest does not transpile for.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ModuleKind, ScriptTarget, transpileModule } from 'typescript';

const root = join(__dirname, '..', '..');

/** Transpiles lib/ and this folder's helpers; returns the new root, below which they lie as in the repository. */
export function compileLibrary(): string {
  const target = mkdtempSync(join(tmpdir(), 'spherenet-compiled-'));
  for (const shared of ['build', 'node_modules', 'package.json']) symlinkSync(join(root, shared), join(target, shared));
  const library = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' }).map((file) => join('lib', file));
  const helpers = [join('train', 'tiny.ts'), join('train', 'endingWorkers.ts'), join('support', 'device.ts')].map((file) => join('test', file));
  for (const file of [...library, ...helpers]) {
    if (file.endsWith('.ts')) transpile(join(root, file), join(target, file.replace(/\.ts$/, '.js')));
  }
  return target;
}

function transpile(from: string, to: string): void {
  const compilerOptions = { module: ModuleKind.CommonJS, target: ScriptTarget.ES2022, esModuleInterop: true };
  mkdirSync(dirname(to), { recursive: true });
  writeFileSync(to, transpileModule(readFileSync(from, 'utf8'), { compilerOptions }).outputText);
}
