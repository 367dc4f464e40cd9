/**
 * Counters and histograms of the hot path: plain numbers while requests are served, the text of Prometheus (exposition
 * format 0.0.4) when it is asked for. prom-client's own build and check a label object at every addition, and took 7 ms
 * to write 3,000 rows; here a row's text up to its number is made once.
 */
import type { StoreFigures } from '../store/store-view.ts';

/** Most rows of a label that comes from the database; an organization has two, permits and denials. */
const MAX_ORGANIZATION_ROWS = 4_000;
const MAX_GRANT_ROWS = 1_000;

/** All begin at 0 with the process. */
export function createCounters() {
  const count = (name: string, help: string, labels: readonly string[], maxRows = Infinity) =>
    createCounter({ name: `modelgate_${name}_total`, help, labels, maxRows });
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
    sessions: count('issued_sessions', 'Sessions that the backend issued, by why the gate does not know their user.', [
      'fault',
    ]),
    failures: count('failures', 'Requests that failed, by code of the error table.', ['code']),
    limited: count('limited_requests', 'Requests that were refused by a limit.', ['limit']),
  };
}

const LATENCY_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1];
const UPSTREAM_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
const DECISION_SECONDS = [0.000005, 0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.01, 0.1];

export function createHistograms() {
  const time = (name: string, help: string, bounds: readonly number[]) =>
    createHistogram(`modelgate_${name}_seconds`, help, bounds);
  return {
    decision: time('decision_duration', 'Duration of one decision, reads of the database included.', DECISION_SECONDS),
    added: time(
      'added_latency',
      'Latency added by the gate: from the arrival of a request until it is sent to the backend, and for filtering its answer.',
      LATENCY_SECONDS,
    ),
    firstByte: time(
      'upstream_first_byte',
      'Time to first byte: from the request sent to the backend to its response headers.',
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
export function createStoreCounters(read: () => StoreFigures) {
  return [
    readCounter(
      {
        name: 'modelgate_cache_lookups_total',
        help: 'Lookups in the caches of the database, by cache; outcome is hit or miss.',
        labels: ['cache', 'outcome'],
      },
      () =>
        read().caches.flatMap(({ name, hits, misses }) => [
          [[name, 'hit'], hits] as const,
          [[name, 'miss'], misses] as const,
        ]),
    ),
    readCounter(
      {
        name: 'modelgate_database_errors_total',
        help: "Reads of the database that failed, by SQLite's code.",
        labels: ['code'],
      },
      () => [...read().errors].map(([code, count]) => [[code], count] as const),
    ),
    readCounter(
      {
        name: 'modelgate_database_write_errors_total',
        help: "Writes to the database that failed, by operation and SQLite's code.",
        labels: ['write', 'code'],
      },
      () => read().writeErrors.map(({ write, code, count }) => [[write, code], count] as const),
    ),
  ];
}

interface CounterOptions {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  /** Most rows; what comes later is added to rows whose first label says `other`. */
  readonly maxRows?: number;
}

interface Row {
  readonly head: string;
  value: number;
}

/** @returns a counter that costs a map lookup; `text` gives help, type and rows, ending in a newline */
function createCounter({ name, help, labels, maxRows = Infinity }: CounterOptions) {
  const rows = new Map<string, Row>();
  // ids that differ only behind the characters that are shown share a row: Prometheus takes none twice
  const shown = new Map<string, Row>();
  const rowOf = (values: readonly string[]): Row => {
    const head = rowHead(name, labels, rows.size < maxRows ? values : ['other', ...values.slice(1)]);
    const row = shown.get(head) ?? { head, value: 0 };
    shown.set(head, row);
    return row;
  };
  return {
    add(amount: number, ...values: readonly string[]): void {
      const key = values.length === 1 ? (values[0] ?? '') : values.join('\0');
      let row = rows.get(key);
      if (row === undefined) {
        row = rowOf(values);
        if (rows.size < maxRows) rows.set(key, row);
      }
      row.value += amount;
    },
    text(): string {
      let text = headOf(name, help, 'counter');
      for (const { head, value } of shown.values()) text += `${head}${value}\n`;
      return text;
    },
  };
}

/** @returns a histogram that costs an addition */
function createHistogram(name: string, help: string, bounds: readonly number[]) {
  const counts = new Array<number>(bounds.length + 1).fill(0);
  const heads = [...bounds.map(String), '+Inf'].map((bound) => rowHead(`${name}_bucket`, ['le'], [bound]));
  let sum = 0;
  return {
    observe(seconds: number): void {
      let at = 0;
      while (at < bounds.length && seconds > (bounds[at] ?? Infinity)) at += 1;
      counts[at] = (counts[at] ?? 0) + 1;
      sum += seconds;
    },
    text(): string {
      let total = 0;
      let text = headOf(name, help, 'histogram');
      for (const [at, head] of heads.entries()) text += `${head}${(total += counts[at] ?? 0)}\n`;
      return `${text}${name}_sum ${sum}\n${name}_count ${total}\n`;
    },
  };
}

/** @returns a counter that is kept elsewhere and read when it is shown */
function readCounter(
  { name, help, labels }: CounterOptions,
  read: () => Iterable<readonly [values: readonly string[], value: number]>,
) {
  return {
    text(): string {
      let text = headOf(name, help, 'counter');
      for (const [values, value] of read()) text += `${rowHead(name, labels, values)}${value}\n`;
      return text;
    },
  };
}

const headOf = (name: string, help: string, type: string): string => `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;

function rowHead(name: string, labels: readonly string[], values: readonly string[]): string {
  const pairs = labels.map((label, index) => `${label}="${escaped(values[index] ?? '')}"`);
  return `${name}{${pairs.join(',')}} `;
}

/** The database bounds neither the length of ids nor their characters. */
const LONGEST_VALUE = 200;
const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '"': '\\"', '\n': '\\n' };

function escaped(value: string): string {
  const short = value.length > LONGEST_VALUE ? `${value.slice(0, LONGEST_VALUE)}…` : value;
  return short.toWellFormed().replace(/[\\"\n]/g, (character) => ESCAPES[character] ?? character);
}
