// Draws docs/images/architecture.svg from the code: the rooms, and which uses which.
const { existsSync, readFileSync, writeFileSync } = require('node:fs');
const path = require('node:path');
const { readArchitecture } = require('./lib/architecture');
const { drawArchitecture } = require('./lib/architecturePicture');
const { readOptions } = require('./lib/options');

const usage = `Usage: npm run architecture, or node scripts/architecture.js [--check] [--root <folder>]
  --check           write nothing; exit code 1 when the picture is not that of the code
  --root <folder>   another checkout
Exit code 1 when a room uses one above it.`;

const { values } = readOptions(usage, { check: { type: 'boolean' }, root: { type: 'string' } });
const root = values.root ?? path.resolve(__dirname, '..');
const picture = path.join(root, 'docs', 'images', 'architecture.svg');

const architecture = readArchitecture(root);
if (architecture.errors.length > 0) fail(architecture.errors.join('\n'));
const drawing = drawArchitecture(architecture);
if (!values.check) writeFileSync(picture, drawing);
else if (!existsSync(picture) || readFileSync(picture, 'utf8') !== drawing) {
  fail('docs/images/architecture.svg is not that of the code: `npm run architecture` draws it');
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
