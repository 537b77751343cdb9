// What of node_modules has to travel.
const { cpSync, existsSync, readFileSync } = require('node:fs');
const path = require('node:path');

/** Copies the packages named, with all that they depend on, from one root to another. */
function copyPackages(from, to, names) {
  const folders = new Set();
  const visit = (name, dependent) => {
    const folder = findPackage(name, dependent, from);
    // Optional ones may be absent.
    if (!folder || folders.has(folder)) return;
    folders.add(folder);
    const { dependencies, optionalDependencies } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
    for (const each of Object.keys({ ...dependencies, ...optionalDependencies })) visit(each, folder);
  };
  for (const name of names) visit(name, from);
  for (const folder of folders) {
    const filter = (file) => isNeeded(path.relative(folder, file));
    cpSync(folder, path.join(to, path.relative(from, folder)), { recursive: true, filter });
  }
}

/** As Node looks for it: beside the dependent, then further and further up. */
function findPackage(name, dependent, root) {
  for (let folder = dependent; folder.startsWith(root); folder = path.dirname(folder)) {
    const candidate = path.join(folder, 'node_modules', name);
    if (existsSync(path.join(candidate, 'package.json'))) return candidate;
  }
  return undefined;
}

/** Nothing that only people, editors and debuggers read. Nested packages are copied as packages. */
function isNeeded(file) {
  return !/(^|\/)node_modules$|\.(map|md|d\.[cm]?ts)$/.test(file);
}

module.exports = { copyPackages };
