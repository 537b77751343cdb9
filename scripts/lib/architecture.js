// The rooms of the code, and which room uses which: read from TypeScript imports and C++ includes.
const { existsSync, readdirSync, readFileSync } = require('node:fs');
const path = require('node:path');
const ts = require('typescript');

// From top to bottom: a room may use those below it, and one beside it as long as that one does not use it back.
// `column` is where the picture has it.
const floors = [
  [
    { name: 'index', language: 'typescript', column: 0, title: 'lib/index.ts', text: 'what users import' },
    { name: 'cli', language: 'typescript', column: 1.5, text: 'the commands of spherenet' },
  ],
  [
    { name: 'bench', language: 'typescript', column: 2, text: 'times layers and training steps' },
    { name: 'paper', language: 'typescript', column: 1, text: "the paper's table and figures" },
  ],
  [{ name: 'train', language: 'typescript', column: 0.4, text: 'trainer, checkpoints, evaluation' }],
  [{ name: 'models', language: 'typescript', column: 0, text: 'networks, made from configurations' }],
  [
    { name: 'losses', language: 'typescript', column: 0, text: 'softmax heads, margins, annealing' },
    { name: 'optim', language: 'typescript', column: 1, text: 'Adam, SGD, learning rates' },
    { name: 'data', language: 'typescript', column: 2, text: 'data sets, batches, augmentation' },
  ],
  [{ name: 'nn', language: 'typescript', column: 0.5, text: 'layers: modules with parameters' }],
  [
    { name: 'report', language: 'typescript', column: 0, text: 'tables, charts, logs' },
    { name: 'ops', language: 'typescript', column: 1.5, text: 'operators: checks, forward, backward' },
  ],
  [{ name: 'core', language: 'typescript', column: 1, title: 'lib/*.ts', text: 'tensor, autograd, device, errors' }],
  [{ name: 'typings', language: 'contract', column: 1, title: 'typings', text: 'the functions of the addon' }],
  [{ name: 'binding', language: 'native', column: 1, text: 'unwraps arguments, calls a backend' }],
  [
    { name: 'cpu', language: 'native', column: 0.5, text: 'oneDNN, AVX2 and AVX-512 kernels' },
    { name: 'cuda', language: 'native', column: 1.5, text: 'cuBLAS and kernels' },
  ],
  [{ name: 'core', language: 'native', column: 1, text: 'tensors, memory, the backend interface' }],
  [{ name: 'math', language: 'native', column: 1, text: 'formulas that both devices compile' }],
].map((rooms, floor) => rooms.map((room) => ({ ...room, floor, id: idOf(room.language, room.name) })));

const known = new Map(floors.flat().map((room) => [room.id, room]));

function idOf(language, name) {
  return language === 'native' ? `native/${name}` : language === 'typescript' ? `lib/${name}` : name;
}

/**
 * @returns the `rooms` that exist, the `arrows` between them ({ from, to, file }: two rooms and the first file of
 * `from` that uses `to`), and `errors`, one sentence each.
 */
function readArchitecture(root) {
  const uses = [...typescriptUses(root), ...nativeUses(root)].filter(({ from, to }) => from !== to);
  const ids = new Set(uses.flatMap(({ from, to }) => [from, to]));
  const strangers = [...ids].filter((id) => !known.has(id));
  if (strangers.length > 0) {
    const errors = strangers.map((id) => `${id} is a room without a floor: give it one in scripts/lib/architecture.js`);
    return { rooms: [], arrows: [], errors };
  }
  const isFirst = ({ from, to }, at) => uses.findIndex((use) => use.from === from && use.to === to) === at;
  const arrows = uses.filter(isFirst).map(({ from, to, file }) => ({ from: known.get(from), to: known.get(to), file }));
  const rooms = [...known.values()].filter(({ id }) => ids.has(id));
  return { rooms, arrows, errors: arrows.flatMap((arrow) => wrongWay(arrow, arrows)) };
}

function wrongWay({ from, to, file }, arrows) {
  if (from.floor < to.floor) return [];
  if (from.floor > to.floor) return [`${file} uses ${to.id}, which is above ${from.id}`];
  const back = arrows.find((other) => other.from === to && other.to === from);
  return back ? [`${file} uses ${to.id}, beside ${from.id}, and ${back.file} uses it back`] : [];
}

function typescriptUses(root) {
  return filesOf(root, 'lib', /\.ts$/).flatMap((file) => {
    const names = modulesNamedIn(ts.createSourceFile(file, readFileSync(path.join(root, file), 'utf8'), ts.ScriptTarget.Latest));
    const relative = names.filter((name) => name.startsWith('.'));
    return relative.map((name) => ({ from: roomOf(root, file), to: roomOf(root, path.join(path.dirname(file), name)), file }));
  });
}

/** By `import … from`, `export … from`, `import(…)` and types of that form. */
function modulesNamedIn(node) {
  const isCall = ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword;
  const named = isCall ? node.arguments[0] : ts.isImportTypeNode(node) ? node.argument.literal : node.moduleSpecifier;
  const names = named && ts.isStringLiteral(named) ? [named.text] : [];
  ts.forEachChild(node, (child) => { names.push(...modulesNamedIn(child)); });
  return names;
}

/** The room of a file, or of what an import names: a file without its ending, or a folder. */
function roomOf(root, location) {
  const [top, name, ...rest] = location.replace(/\.ts$/, '').split(path.sep);
  if (top !== 'lib') return top;
  if (name === undefined || name === 'index') return idOf('typescript', 'index');
  const inFolder = rest.length > 0 || !existsSync(path.join(root, top, `${name}.ts`));
  return idOf('typescript', inFolder ? name : 'core');
}

function nativeUses(root) {
  return filesOf(root, 'native', /\.(h|cuh|cpp|cu)$/).flatMap((file) => {
    const from = idOf('native', file.split(path.sep)[1]);
    // What has no folder is a header of another library, or one beside the file.
    const includes = readFileSync(path.join(root, file), 'utf8').matchAll(/^\s*#\s*include\s+"(\w+)\//gm);
    return [...includes].map(([, name]) => ({ from, to: idOf('native', name), file }));
  });
}

function filesOf(root, folder, pattern) {
  const names = readdirSync(path.join(root, folder), { recursive: true });
  return names.filter((name) => pattern.test(name)).sort().map((name) => path.join(folder, name));
}

module.exports = { readArchitecture };
