// Command lines of the scripts.
const { parseArgs } = require('node:util');

/** As parseArgs gives them. --help shows the usage; what is wrong ends the script with a word about it. */
function readOptions(usage, options, allowPositionals = false) {
  let parsed;
  try {
    parsed = parseArgs({ options: { help: { type: 'boolean', short: 'h' }, ...options }, allowPositionals });
  } catch (error) {
    console.error(`${error.message}\n\n${usage}`);
    process.exit(2);
  }
  if (!parsed.values.help) return parsed;
  console.log(usage);
  process.exit(0);
}

module.exports = { readOptions };
