// The addon's variants for tests: where they lie, and what a process needs in its environment to load them.
const { execFileSync } = require('node:child_process');
const path = require('node:path');

/** Everything of the suite on the cuda device of the addon in `folder`. */
function onCuda(folder) {
  return { SPHERENET_PREBUILD: path.resolve(folder), SPHERENET_TEST_DEVICE: 'cuda' };
}

/** For a program that is not built with the sanitizers itself, as node. */
function underSanitizers() {
  const library = execFileSync('g++', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim();
  return {
    LD_PRELOAD: library,
    // Leaks: V8 frees nothing at its end.
    ASAN_OPTIONS: 'detect_leaks=0',
    UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  };
}

module.exports = { onCuda, underSanitizers };
