/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  // Types are checked once, by `npm run typecheck`; here every file is only transpiled.
  transform: { '^.+\\.ts$': ['ts-jest', { diagnostics: false }] },
  // Everything on another device than the cpu; test files that have to do with devices import it themselves.
  setupFiles: process.env.SPHERENET_TEST_DEVICE ? ['<rootDir>/test/support/device.ts'] : [],
  testTimeout: 60_000,
};
