import tseslint from 'typescript-eslint';

const NAMED_EXPORTS = {
  selector: 'ExportDefaultDeclaration',
  message: 'Named exports only: a name is found by searching for it.',
};

export default tseslint.config(
  { ignores: ['node_modules/', 'coverage/', '*.config.mjs'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      'max-lines': ['error', { max: 250 }],
      'max-lines-per-function': ['error', { max: 60 }],
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      'no-duplicate-imports': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // Parts are closures that use no `this`: their functions are handed on as they are
      '@typescript-eslint/unbound-method': 'off',
      // `void promise` is how this code says that its errors are handled inside
      '@typescript-eslint/no-meaningless-void-operator': 'off',
      // `return refuse(…)` ends a function of nothing in one line
      '@typescript-eslint/no-confusing-void-expression': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      'no-restricted-syntax': ['error', NAMED_EXPORTS],
    },
  },
  {
    // A test file is a list of sentences: its length is the number of sentences.
    files: ['test/**/*.ts'],
    rules: {
      'max-lines': 'off',
      'max-lines-per-function': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },
  {
    // The suites of `npm test` run whole on every machine that has Node and npm.
    files: ['test/*.ts', 'test/{unit,property,integration,security,support}/**/*.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        NAMED_EXPORTS,
        {
          selector: 'Identifier[name=/^(skip|skipIf|runIf|todo)$/], MemberExpression[property.name="only"]',
          message: 'npm test leaves nothing out: a test that needs another program belongs to test/programs.',
        },
      ],
    },
  },
  // The one file that an old Node must be able to read is no TypeScript
  { files: ['src/modelgate.js'], ...tseslint.configs.disableTypeChecked },
  { files: ['*.config.ts'], rules: { 'no-restricted-syntax': 'off' } },
);
