// Formats the sources, or checks that they are formatted. The rules are in .clang-format and eslint.format.config.mjs.
const { spawnSync } = require('node:child_process');
const { readdirSync } = require('node:fs');
const path = require('node:path');
const { readOptions } = require('./lib/options');

const usage = `Usage: npm run format, npm run format:check, or node scripts/format.js [--check] [cpp] [typescript]
  --check   write nothing; exit code 1 when a file is not formatted
Without a language both are done. CLANG_FORMAT names another clang-format.`;

const root = path.resolve(__dirname, '..');

const formatters = {
  cpp(checking) {
    const files = ['native', 'test/native'].flatMap(sourcesBelow);
    const mode = checking ? ['--dry-run', '-Werror', '--ferror-limit=5'] : ['-i'];
    return run(process.env.CLANG_FORMAT ?? 'clang-format', [...mode, ...files], 'Debian package clang-format');
  },
  typescript(checking) {
    const eslint = path.join(root, 'node_modules', 'eslint', 'bin', 'eslint.js');
    const mode = checking ? [] : ['--fix'];
    return run(process.execPath, [eslint, '--config', 'eslint.format.config.mjs', ...mode, '.']);
  },
};

function sourcesBelow(folder) {
  const entries = readdirSync(path.join(root, folder), { recursive: true });
  return entries.filter((name) => /\.(h|cuh|cpp|cu)$/.test(name)).map((name) => path.join(folder, name));
}

/** Whether the command ran and succeeded. */
function run(command, args, origin) {
  const { error, status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (error) console.error(`${command} cannot be run (${error.message}); it comes with the ${origin}`);
  return status === 0;
}

const { values, positionals } = readOptions(usage, { check: { type: 'boolean' } }, true);
const unknown = positionals.find((name) => !Object.hasOwn(formatters, name));
if (unknown) {
  console.error(`no such language: ${unknown}\n\n${usage}`);
  process.exit(2);
}
const languages = positionals.length > 0 ? positionals : Object.keys(formatters);
const failed = languages.filter((language) => !formatters[language](values.check));
if (failed.length > 0) {
  if (values.check) console.error('`npm run format` formats all but lines that are too long: break those by hand.');
  process.exitCode = 1;
}
