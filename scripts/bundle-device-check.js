// Packs all that scripts/device-check needs on a host that has an NVIDIA driver and cuBLAS, but neither Node nor npm.
const { execFileSync } = require('node:child_process');
const { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } = require('node:fs');
const path = require('node:path');
const ts = require('typescript');
const { readOptions } = require('./lib/options');
const { copyPackages } = require('./lib/packages');

const usage = `Usage: scripts/bundle-device-check [options]
Makes a folder and a tar.xz of it: Node, packages, library and tests as JavaScript, the addon with its libraries.
On the GPU host: tar xf spherenet-device-check.tar.xz && spherenet-device-check/scripts/device-check
  --output <folder>  where to (default: build/device-check)
  --addon <folder>   the folder with the addon in build/Release (default: this checkout)`;

const root = path.resolve(__dirname, '..');
// Those that only a build needs stay here.
const buildPackages = ['cmake-js', 'node-addon-api'];
// jest runs the tests; some of them compile TypeScript themselves.
const testPackages = ['jest', 'ts-node', 'typescript'];
// The C and C++ libraries that every Linux has.
const systemLibraries = /^(linux-vdso|ld-linux|libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s)\b/;
const mostBytes = 60 * 2 ** 20;

function filesOf(folder) {
  return readdirSync(path.join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)));
}

/** An addon of yesterday would waste the time of the GPU host. */
function requireCurrentAddon(file) {
  if (!existsSync(file)) throw new Error(`${file} is not there: npm run build:native builds it`);
  const built = statSync(file).mtimeMs;
  const newer = filesOf('native').find((source) => statSync(path.join(root, source)).mtimeMs > built);
  if (newer) throw new Error(`${newer} is newer than ${file}: npm run build:native builds it anew`);
}

function copyNode(target) {
  mkdirSync(path.join(target, 'bin'));
  const node = path.join(target, 'bin', 'node');
  copyFileSync(process.execPath, node);
  execFileSync('strip', [node]);
  const launcher = path.join(target, 'bin', 'spherenet');
  writeFileSync(launcher, [
    '#!/usr/bin/env bash',
    'root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)',
    'export LD_LIBRARY_PATH="$root/build/Release${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"',
    'exec "$root/bin/node" "$root/dist/cli/main.js" "$@"\n',
  ].join('\n'));
  chmodSync(launcher, 0o755);
}

function copyAddon(addon, target) {
  const folder = path.join(target, 'build', 'Release');
  mkdirSync(folder, { recursive: true });
  const copy = path.join(folder, 'spherenet.node');
  copyFileSync(addon, copy);
  execFileSync('strip', ['--strip-unneeded', copy]);
  for (const [, name, file] of execFileSync('ldd', [addon], { encoding: 'utf8' }).matchAll(/^\s*(\S+) => (\/\S+)/gm)) {
    if (!systemLibraries.test(name)) copyFileSync(file, path.join(folder, name));
  }
}

/** Library and tests as JavaScript, beside the sources: there are tests that compile these. */
function copySources(target) {
  for (const each of ['lib', 'test', 'typings', 'tsconfig.json', 'package.json', 'LICENSE', 'scripts/device-check', 'scripts/device-check.js', 'scripts/lib', 'bench/peers']) {
    cpSync(path.join(root, each), path.join(target, each), { recursive: true });
  }
  const host = { ...ts.sys, onUnRecoverableConfigFileDiagnostic: () => undefined };
  const { options } = ts.getParsedCommandLineOfConfigFile(path.join(root, 'tsconfig.json'), { sourceMap: false, declaration: false }, host);
  for (const file of [...filesOf('lib'), ...filesOf('test')].filter((name) => name.endsWith('.ts'))) {
    const { outputText } = ts.transpileModule(readFileSync(path.join(root, file), 'utf8'), { compilerOptions: options, fileName: file });
    writeFileSync(path.join(target, file.replace(/\.ts$/, '.js')), outputText);
  }
  copyFileSync(path.join(root, 'jest.config.js'), path.join(target, 'jest.sources.js'));
  copyFileSync(path.join(root, 'scripts', 'lib', 'bundledJestConfig.js'), path.join(target, 'jest.config.js'));
  // Where package.json and the command line look for it.
  symlinkSync('lib', path.join(target, 'dist'));
}

function writeOrigin(target) {
  const git = (...args) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
  const commit = git('rev-parse', 'HEAD') + (git('status', '--porcelain') === '' ? '' : ', changed');
  writeFileSync(path.join(target, 'bundle.json'), `${JSON.stringify({ commit, made: new Date().toISOString() }, null, 2)}\n`);
}

/** The bundle has to load without anything of this machine. Says what it offers. */
function tryOut(target) {
  const doctor = execFileSync(path.join(target, 'bin', 'spherenet'), ['doctor', '--json'], { encoding: 'utf8', env: { PATH: '/usr/bin:/bin' } });
  const { cuda } = JSON.parse(doctor);
  if (!cuda.compiled) console.error('Beware: the addon has no CUDA device. Was there an nvcc when it was built?');
}

function pack(target) {
  const archive = `${target}.tar.xz`;
  execFileSync('tar', ['-cJf', archive, '-C', path.dirname(target), path.basename(target)], { env: { ...process.env, XZ_OPT: '-6 -T0' } });
  const bytes = statSync(archive).size;
  console.log(`${archive}: ${(bytes / 2 ** 20).toFixed(1)} MiB`);
  if (bytes > mostBytes) throw new Error(`${archive} is larger than ${mostBytes / 2 ** 20} MiB`);
}

function main() {
  const text = (value) => ({ type: 'string', default: value });
  const { values } = readOptions(usage, { output: text(path.join(root, 'build', 'device-check')), addon: text(root) });
  const addon = path.resolve(values.addon, 'build', 'Release', 'spherenet.node');
  requireCurrentAddon(addon);
  const target = path.resolve(values.output, 'spherenet-device-check');
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  copyNode(target);
  copyAddon(addon, target);
  copySources(target);
  const { dependencies } = require('../package.json');
  copyPackages(root, target, [...Object.keys(dependencies).filter((name) => !buildPackages.includes(name)), ...testPackages]);
  writeOrigin(target);
  tryOut(target);
  pack(target);
}

try {
  main();
} catch (error) {
  console.error(`bundle-device-check: ${error.message}`);
  process.exitCode = 1;
}
