import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// of the workers, and of the threads and processes that tests start: each would read the same TypeScript again
process.env['NODE_COMPILE_CACHE'] ??= fileURLToPath(new URL('node_modules/.cache/modelgate', import.meta.url));

/** A second, which is Vitest's own, is little for a browser or a process on a busy machine. */
const poll = { timeout: 15_000 };

/** Of the projects that draw random inputs. */
const setupFiles = ['test/support/fixed-seed.ts'];

const project = (name: string, settings: object = {}) => ({
  test: { name, include: [`test/${name}/**/*.test.ts`], pool: 'forks' as const, expect: { poll }, ...settings },
});

export default defineConfig({
  test: {
    // a frozen answer that is missing fails here and on every machine; `-u` writes it
    update: 'none',
    // one more than there are cores: a quarter of the time the tests wait for processes and clocks
    maxWorkers: availableParallelism() + 1,
    projects: [
      // not isolated: nothing here leaves anything behind, and a new process for each file is a third of the time
      project('unit', { include: ['test/unit/**/*.test.ts', 'test/*.test.ts'], isolate: false, testTimeout: 20_000 }),
      // what computes has no deadline of its own, and a busy machine takes several times as long
      project('property', { isolate: false, testTimeout: 60_000, setupFiles }),
      project('integration', { testTimeout: 60_000, hookTimeout: 60_000, isolate: false }),
      project('security', { testTimeout: 60_000, hookTimeout: 60_000, isolate: false }),
      project('killed', { testTimeout: 60_000, hookTimeout: 60_000 }),
      project('nginx', { testTimeout: 30_000, hookTimeout: 60_000 }),
      // the same files, with the committed nginx configuration in front of every gate
      {
        test: {
          name: 'security-through-nginx',
          include: ['test/security/**/*.test.ts'],
          pool: 'forks' as const,
          expect: { poll },
          env: { GATE_TEST_THROUGH: process.env['GATE_TEST_THROUGH'] ?? 'nginx' },
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      // what stands on the policy, once more with that of every gate, store and operation in PostgreSQL
      {
        test: {
          name: 'on-postgres',
          // Left out is
          // - what a file does, or holds: locks, WAL, copies, another file in its place, columns of any type (the rest of store,
          //   diagnosis, upkeep and backend-file, gate/*-file);
          // - initialize, migration and commands: test/replicas does the same with each on both engines, and with the ledger;
          // - headers, framing, usage and prices, which no policy changes.
          include: [
            'test/security/**/*.test.ts',
            'test/property/{one-answer,store}.test.ts',
            'test/integration/diagnosis/rows.test.ts',
            'test/integration/gate/{organizations,session-watch,reconfigured,repeated-attempt,telemetry}.test.ts',
            'test/integration/limits/*.test.ts',
            'test/integration/organizations/{members,grants,synchronization}.test.ts',
            'test/integration/provider-door/{door,backend-settings,organization-keys,transparent}.test.ts',
            'test/integration/store/{budgets,enrolment,view,openrouter-keys,stored-references}.test.ts',
          ],
          // another process withdraws there in a file: test/replicas/withdrawals.test.ts does it on PostgreSQL
          exclude: ['test/security/revocation.test.ts'],
          pool: 'forks' as const,
          expect: { poll },
          globalSetup: ['test/support/database/policy-server.ts'],
          setupFiles,
          testTimeout: 30_000,
          hookTimeout: 60_000,
          isolate: false,
        },
      },
      project('programs', { testTimeout: 60_000, hookTimeout: 60_000, setupFiles }),
      // PostgreSQL, PgBouncer, Redis and several gates, which measure rates and waits: one file would take the time of another
      project('replicas', { testTimeout: 90_000, hookTimeout: 60_000, fileParallelism: false, setupFiles }),
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
