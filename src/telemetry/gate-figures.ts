/** Which counters and histograms there are: names, labels, bounds. What they count is said in their help texts. */
import type { Figure, Tally, Times } from './figures.ts';
import { createTally, createTimes, readTally } from './figures.ts';

const LATENCY_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1];
const UPSTREAM_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
const DECISION_SECONDS = [0.000005, 0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.01, 0.1];
/** Of a label that comes from the database. Two rows an organization: permits and denials. */
const MAX_ORGANIZATION_ROWS = 4_000;
const MAX_GRANT_ROWS = 1_000;

/** What the store counts by itself. */
export interface StoreFigures {
  /** Look-ups in its caches. */
  readonly caches: readonly { readonly name: string; readonly hits: number; readonly misses: number }[];
  /** Failed reads, by SQLite's code. */
  readonly errors: ReadonlyMap<string, number>;
  /** Failed writes, by what was to be written and SQLite's code. */
  readonly writeErrors: readonly { readonly write: string; readonly code: string; readonly count: number }[];
}

type CounterName =
  | 'requests'
  | 'denials'
  | 'permits'
  | 'organizations'
  | 'grants'
  | 'lists'
  | 'listEntries'
  | 'unreadable'
  | 'sessions'
  | 'failures'
  | 'limited';

/** All begin at 0 with the process. */
export function createCounters(): Record<CounterName, Tally> {
  const count = (name: string, help: string, labels: readonly string[], maxRows = Infinity): Tally =>
    createTally({ name: `modelgate_${name}_total`, help, labels, maxRows });
  return {
    requests: count('requests', 'Requests by what their endpoint does with models, status class and decision.', [
      'surface',
      'status',
      'decision',
    ]),
    denials: count('denials', 'Denials by reason; enforced is false in report mode.', ['reason', 'enforced']),
    permits: count('permits', 'Permits by reason.', ['reason']),
    organizations: count(
      'organization_decisions',
      'Permits by the organization whose grant decided; denials by each organization of the user.',
      ['organization', 'decision'],
      MAX_ORGANIZATION_ROWS,
    ),
    grants: count(
      'grant_permits',
      'Permits by the grant that covers the model: its id, or a prefix that ends in *.',
      ['model'],
      MAX_GRANT_ROWS,
    ),
    lists: count('lists_filtered', 'Answers that list models, by shape.', ['shape']),
    listEntries: count('list_entries', 'Entries of lists of models, kept or removed.', ['outcome']),
    unreadable: count('unreadable_answers', 'Lists that could not be read and were replaced by an empty one.', [
      'shape',
    ]),
    sessions: count('issued_sessions', 'Sessions that the backend issued, by what makes them nobody to the gate.', [
      'fault',
    ]),
    failures: count('failures', 'Requests that failed, by code of the error table.', ['code']),
    limited: count('limited_requests', 'Requests that were refused by a limit.', ['limit']),
  };
}

/** All in seconds. */
export function createHistograms(): Record<'decision' | 'added' | 'firstByte' | 'upstream', Times> {
  const time = (name: string, help: string, bounds: readonly number[]): Times =>
    createTimes(`modelgate_${name}_seconds`, help, bounds);
  return {
    decision: time('decision_duration', 'Time of one decision, reads from the database included.', DECISION_SECONDS),
    added: time(
      'added_latency',
      'What the gate adds: from the arrival of a request until it is sent to the backend, and for filtering its answer.',
      LATENCY_SECONDS,
    ),
    firstByte: time(
      'upstream_first_byte',
      'From the request sent to the backend to its response headers.',
      UPSTREAM_SECONDS,
    ),
    upstream: time(
      'upstream_duration',
      'From the request sent to the backend to the end of its answer.',
      UPSTREAM_SECONDS,
    ),
  };
}

/** @param read asked at each scrape */
export function createStoreCounters(read: () => StoreFigures): Figure[] {
  return [
    readTally(
      {
        name: 'modelgate_cache_lookups_total',
        help: 'Look-ups in the caches of what the database says, by cache and outcome.',
        labels: ['cache', 'outcome'],
      },
      () =>
        read().caches.flatMap(({ name, hits, misses }) => [
          [[name, 'hit'], hits] as const,
          [[name, 'miss'], misses] as const,
        ]),
    ),
    readTally(
      {
        name: 'modelgate_database_errors_total',
        help: "Reads of the database that failed, by SQLite's code.",
        labels: ['code'],
      },
      () => [...read().errors].map(([code, count]) => [[code], count] as const),
    ),
    readTally(
      {
        name: 'modelgate_database_write_errors_total',
        help: "Writes into the database that failed, by what was to be written and SQLite's code.",
        labels: ['write', 'code'],
      },
      () => read().writeErrors.map(({ write, code, count }) => [[write, code], count] as const),
    ),
  ];
}
