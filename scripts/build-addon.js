// Called by binding.gyp: builds the addon through CMakeLists.txt and puts it where node-gyp keeps its products.
const { execFileSync } = require('node:child_process');
const { copyFileSync, mkdirSync } = require('node:fs');
const { availableParallelism } = require('node:os');
const path = require('node:path');

const root = path.resolve(__dirname, '..');
const target = path.resolve(root, 'build', process.argv[2] ?? 'Release');
const cmakeJs = require.resolve('cmake-js/bin/cmake-js', { paths: [root] });

execFileSync(
  process.execPath,
  [cmakeJs, 'build', '--out', 'build/cmake', '--parallel', String(availableParallelism())],
  { cwd: root, stdio: 'inherit' },
);
mkdirSync(target, { recursive: true });
copyFileSync(path.join(root, 'build', 'cmake', 'Release', 'spherenet.node'), path.join(target, 'spherenet.node'));
