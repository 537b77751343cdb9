// The format of TypeScript and JavaScript: `npm run format` writes it, `npm run format:check` checks it. These rules
// mend spacing, quotes and commas, and leave it to the author where a line breaks, so that a call with many short
// arguments stays on one line. Only a line that is too long has to be broken by hand. What the code means is the
// business of eslint.config.mjs.
import stylistic from '@stylistic/eslint-plugin';
import tseslint from 'typescript-eslint';
import { generated } from './eslint.config.mjs';

const style = stylistic.configs.customize({
  indent: 2, quotes: 'single', semi: true, braceStyle: '1tbs', arrowParens: true, commaDangle: 'always-multiline', jsx: false,
});

export default [
  { ignores: generated },
  {
    ...style,
    files: ['**/*.{ts,js,mjs}'],
    languageOptions: { parser: tseslint.parser },
    // The comments that switch off rules are for the other configuration.
    linterOptions: { noInlineConfig: true, reportUnusedDisableDirectives: 'off' },
    rules: {
      ...style.rules,
      '@stylistic/generator-star-spacing': ['error', { before: false, after: true, method: { before: true, after: false } }],
      '@stylistic/list-style': 'off',
      // Strings and templates stay in one piece, so that a message can be searched for.
      '@stylistic/max-len': ['error', { code: 140, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true }],
      '@stylistic/max-statements-per-line': 'off',
      '@stylistic/operator-linebreak': ['error', 'after', { overrides: { '?': 'before', ':': 'before', '|': 'before' } }],
      '@stylistic/quote-props': ['error', 'consistent-as-needed'],
      '@stylistic/quotes': ['error', 'single', { avoidEscape: true, allowTemplateLiterals: 'always' }],
    },
  },
];
