// Builds the addon through CMakeLists.txt and puts it where node-gyp-build looks for it.
//   node scripts/build-addon.js              for development: warnings are errors, and so is a kernel that spills
//   node scripts/build-addon.js FOLDER       into build/FOLDER, as npm install does through binding.gyp
//   node scripts/build-addon.js --emulated   the CUDA sources for the host: SPHERENET_PREBUILD=build/emulated loads it
//   node scripts/build-addon.js --sanitized  the same under the sanitizers: SPHERENET_PREBUILD=build/sanitized
const { execFileSync } = require('node:child_process');
const { copyFileSync, mkdirSync } = require('node:fs');
const { availableParallelism } = require('node:os');
const path = require('node:path');

const root = path.resolve(__dirname, '..');
const cmakeJs = require.resolve('cmake-js/bin/cmake-js', { paths: [root] });

const strict = '--CDSPHERENET_STRICT=ON';
const variants = {
  '--emulated': { folder: 'emulated', definitions: [strict, '--CDSPHERENET_EMULATION=ON'] },
  '--sanitized': { folder: 'sanitized', definitions: [strict, '--CDSPHERENET_EMULATION=ON', '--CDSPHERENET_SANITIZE=ON'] },
};

function build(cmakeFolder, target, definitions) {
  execFileSync(
    process.execPath,
    [cmakeJs, 'build', '--out', cmakeFolder, '--parallel', String(availableParallelism()), ...definitions],
    { cwd: root, stdio: 'inherit' },
  );
  mkdirSync(target, { recursive: true });
  copyFileSync(path.join(root, cmakeFolder, 'Release', 'spherenet.node'), path.join(target, 'spherenet.node'));
}

const argument = process.argv[2];
const variant = variants[argument];
if (variant) {
  const folder = path.join('build', variant.folder);
  build(path.join(folder, 'cmake'), path.join(root, folder, 'build', 'Release'), variant.definitions);
} else {
  const definitions = argument === undefined ? [strict] : [];
  build(path.join('build', 'cmake'), path.resolve(root, 'build', argument ?? 'Release'), definitions);
}
