import { defineConfig } from 'vitest/config';

const project = (name: string, settings: object = {}) => ({
  test: { name, include: [`test/${name}/**/*.test.ts`], pool: 'forks' as const, ...settings },
});

export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts', 'test/*.test.ts'] } },
      project('property'),
      project('integration', { testTimeout: 20_000 }),
      project('security', { testTimeout: 20_000 }),
      project('openwebui', {
        globalSetup: ['test/openwebui/global-setup.ts'],
        testTimeout: 120_000,
        hookTimeout: 300_000,
        fileParallelism: false,
      }),
    ],
  },
});
