// The contexts of node:vm that jest 29 and vitest's vm pools run tests in lack these symbols, where Node has defined them
// outside by itself. Disposable classes and `using` need them. The names are Node's, so that they are the same symbols.
const symbols = Symbol as { dispose?: symbol; asyncDispose?: symbol };
symbols.dispose ??= Symbol.for('nodejs.dispose');
symbols.asyncDispose ??= Symbol.for('nodejs.asyncDispose');
