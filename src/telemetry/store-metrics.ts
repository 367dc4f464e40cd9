/** What the store counts, and how it reads. */
import type { StoreFigures } from '../store/store.ts';
import { LATENCY, createHistogram, gaugeText, readCounter } from './figures.ts';

export function createStoreMetrics(store: () => StoreFigures) {
  return {
    checks: createHistogram(
      'policy_check_seconds One statement to PostgreSQL, which answers all decisions that have waited for it.',
      LATENCY,
    ),
    role: {
      text: () =>
        gaugeText(
          "database_role{role} 1 for what is read: SQLite's file, a primary of PostgreSQL, or no more than a standby, or none.",
          [[1, store().role]],
        ),
    },
    lookups: readCounter(
      'cache_lookups_total{cache,outcome} Lookups in the caches of the database, by cache; outcome is hit or miss.',
      () =>
        store().caches.flatMap(({ name, hits, misses }) => [
          [hits, name, 'hit'] as const,
          [misses, name, 'miss'] as const,
        ]),
    ),
    errors: readCounter(
      'database_errors_total{code} Reads of the database that failed, by the code of SQLite or PostgreSQL.',
      () => [...store().errors].map(([code, count]) => [count, code]),
    ),
    writeErrors: readCounter(
      "database_write_errors_total{write,code} Writes to the database that failed, by operation and SQLite's code.",
      () => store().writeErrors.map(({ write, code, count }) => [count, write, code]),
    ),
  };
}
