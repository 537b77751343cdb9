// jest.config.js of a bundle (scripts/bundle-device-check), where library and tests are JavaScript already.
const sources = require('./jest.sources.js');

const compiled = (name) => name.replace(/\.ts$/, '.js');

module.exports = {
  ...sources,
  transform: {},
  testMatch: sources.testMatch.map(compiled),
  setupFiles: sources.setupFiles.map(compiled),
};
