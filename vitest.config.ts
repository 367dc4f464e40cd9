import { defineConfig } from 'vitest/config';

const project = (name: string, settings: object = {}) => ({
  test: { name, include: [`test/${name}/**/*.test.ts`], pool: 'forks' as const, ...settings },
});

export default defineConfig({
  test: {
    // as many as there are cores, and not one less: the main process only reports
    maxWorkers: '100%',
    projects: [
      // not isolated: nothing here leaves anything behind, and a new process for each file is a third of the time
      project('unit', { include: ['test/unit/**/*.test.ts', 'test/*.test.ts'], isolate: false }),
      project('property', { isolate: false }),
      project('integration', { testTimeout: 20_000, isolate: false }),
      project('security', { testTimeout: 20_000, isolate: false }),
      project('killed'),
      project('nginx', { testTimeout: 30_000, hookTimeout: 60_000 }),
      // the same files, with the committed nginx configuration in front of every gate
      {
        test: {
          name: 'security-through-nginx',
          include: ['test/security/**/*.test.ts'],
          pool: 'forks' as const,
          env: { GATE_TEST_THROUGH: process.env['GATE_TEST_THROUGH'] ?? 'nginx' },
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      project('programs', { testTimeout: 60_000, hookTimeout: 60_000 }),
      project('prometheus', { testTimeout: 90_000, hookTimeout: 120_000 }),
      project('containers', {
        globalSetup: ['test/containers/global-setup.ts'],
        testTimeout: 600_000,
        hookTimeout: 900_000,
        fileParallelism: false,
      }),
      project('openwebui', {
        globalSetup: ['test/openwebui/global-setup.ts'],
        testTimeout: 120_000,
        hookTimeout: 300_000,
        fileParallelism: false,
      }),
    ],
  },
});
