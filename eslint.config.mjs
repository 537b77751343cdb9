import js from '@eslint/js';
import tseslint from 'typescript-eslint';

/** What programs write. */
export const generated = ['dist/', 'build/', 'prebuilds/', 'node_modules/', 'coverage/', 'runs/'];

export default tseslint.config(
  { ignores: generated },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked, ...tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // Index loops over typed arrays need the assertion once bounds are known.
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },
  {
    // Run by node itself, before anything is compiled.
    files: ['*.config.js', 'scripts/**/*.js'],
    languageOptions: {
      sourceType: 'commonjs',
      globals: { module: 'writable', require: 'readonly', process: 'readonly', console: 'readonly', __dirname: 'readonly' },
    },
  },
);
