/** Labels are bounded: closed vocabularies, capped organizations and grants; never users, or models as spelled. */
import { Gauge, Registry, collectDefaultMetrics } from 'prom-client';
import type { Decision } from '../policy/decision.ts';
import type { StoreFigures, StoreHealth } from '../store/store.ts';
import {
  LATENCY,
  UPSTREAM,
  createCounter,
  createHistogram,
  partsOf,
  readCounter,
  readGauge,
  statusClass,
} from './figures.ts';
import { type RedisState, addRedisGauges, createRedisFigures } from './redis-metrics.ts';
import { type BudgetFigures, budgetsText, createProviderMetrics, createUsageMetrics } from './provider-metrics.ts';

interface MetricsOptions extends RedisState {
  readonly version: string;
  readonly mode: () => 'enforce' | 'report';
  readonly bypass: boolean;
  readonly storeHealth: () => Promise<Pick<StoreHealth, 'readable' | 'ageMs' | 'writeProblem'>>;
  readonly storeFigures: () => StoreFigures;
  /** Undefined where there is no provider door. */
  readonly ledger?: () => WatchedLedger | undefined;
}

interface WatchedLedger {
  /** Calls of all gates on the file, and the backlog of this one. */
  state(): Readonly<Record<'open' | 'interrupted' | 'backlog', number>> & { readonly problem: object | undefined };
  /** Those in force; never rejects. */
  budgets(): Promise<readonly BudgetFigures[]>;
}

interface RequestFigures {
  readonly surface: string;
  readonly status: number;
  readonly decision: Decision['effect'] | 'none';
  readonly addedMs: number | undefined;
  readonly firstByteMs: number | undefined;
  readonly upstreamMs: number | undefined;
}

export type Metrics = ReturnType<typeof createMetrics>;

/** @returns recorders on a registry of their own, so that two gates in one process do not meet */
export function createMetrics(options: MetricsOptions) {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const gauges = createGauges(registry, options);
  const figures = createFigures();
  const stored = createStoreFigures(options.storeFigures);
  const redis = createRedisFigures();
  const { figures: ofProviders, ...providers } = createProviderMetrics(options.mode);
  const { figures: ofUsage, ...usage } = createUsageMetrics();
  return {
    requestStarted: () => gauges.inFlight(1),
    requestEnded({ surface, status, decision, addedMs, firstByteMs, upstreamMs }: RequestFigures): void {
      gauges.inFlight(-1);
      figures.requests.add(1, surface, statusClass(status), decision);
      if (addedMs !== undefined) figures.added.observe(addedMs / 1000);
      if (firstByteMs !== undefined) figures.firstByte.observe(firstByteMs / 1000);
      if (upstreamMs !== undefined) figures.upstream.observe(upstreamMs / 1000);
    },
    requestAnswered: (status: number) => figures.requests.add(1, 'none', statusClass(status), 'none'),
    ...gauges,
    decided(decision: Decision, durationMs: number | undefined, organizations: readonly string[] = []): void {
      if (durationMs !== undefined) figures.decision.observe(durationMs / 1000);
      if (decision.effect === 'deny') {
        figures.denials.add(1, decision.reason, String(options.mode() === 'enforce'));
        for (const organization of organizations) figures.organizations.add(1, organization, 'deny');
        return;
      }
      figures.permits.add(1, decision.reason);
      if (decision.grant === undefined) return;
      figures.organizations.add(1, decision.grant.organization, 'permit');
      figures.grants.add(1, decision.grant.pattern);
    },
    listFiltered(shape: string, kept: number, removed: number): void {
      figures.lists.add(1, shape);
      figures.listEntries.add(kept, 'kept');
      figures.listEntries.add(removed, 'removed');
    },
    policyChecked: (ms: number) => stored.checks.observe(ms / 1000),
    redis: {
      answered: (ms: number) => redis.answered.observe(ms / 1000),
      without: (how: string) => redis.without.add(1, how),
    },
    provider: providers,
    usage,
    answerUnreadable: (shape: string) => figures.unreadable.add(1, shape),
    sessionIssued: (fault: string | undefined) => figures.sessions.add(1, fault ?? 'none'),
    failed: (code: string) => figures.failures.add(1, code),
    limited: (limit: string) => figures.limited.add(1, limit),
    exposition: async (): Promise<{ contentType: string; text: string }> => ({
      contentType: registry.contentType,
      text: `${await registry.metrics()}${[figures, stored, redis, ofProviders, ofUsage]
        .flatMap((group) => Object.values<{ text(): string }>(group))
        .map((figure) => figure.text())
        .join('')}${budgetsText((await options.ledger?.()?.budgets()) ?? [])}`,
    }),
  };
}

/** Most rows of a label that comes from the database; an organization has two, permits and denials. */
const MAX_ORGANIZATION_ROWS = 4_000;
const MAX_GRANT_ROWS = 1_000;
const DECISION = [0.000005, 0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.01, 0.1];

function createFigures() {
  return {
    requests: createCounter(
      'requests_total{surface,status,decision} Requests by what their endpoint does with models, status class and decision.',
    ),
    denials: createCounter('denials_total{reason,enforced} Denials by reason; enforced is false in report mode.'),
    permits: createCounter('permits_total{reason} Permits by reason.'),
    organizations: createCounter(
      'organization_decisions_total{organization,decision} Permits by the organization whose grant decided; denials by each organization of the user.',
      MAX_ORGANIZATION_ROWS,
    ),
    grants: createCounter(
      'grant_permits_total{model} Permits by the grant that covers the model: its id, or a prefix that ends in *.',
      MAX_GRANT_ROWS,
    ),
    lists: createCounter('lists_filtered_total{shape} Answers that list models, by shape.'),
    listEntries: createCounter('list_entries_total{outcome} Entries of lists of models, kept or removed.'),
    unreadable: createCounter(
      'unreadable_answers_total{shape} Lists that could not be read and were replaced by an empty one.',
    ),
    sessions: createCounter(
      'issued_sessions_total{fault} Sessions that the backend issued, by why the gate does not know their user.',
    ),
    failures: createCounter('failures_total{code} Requests that failed, by code of the error table.'),
    limited: createCounter('limited_requests_total{limit} Requests that were refused by a limit.'),
    decision: createHistogram(
      'decision_duration_seconds Duration of one decision, reads of the database included.',
      DECISION,
    ),
    added: createHistogram(
      'added_latency_seconds Latency added by the gate: from the arrival of a request until it is sent to the backend, and for filtering its answer.',
      LATENCY,
    ),
    firstByte: createHistogram(
      'upstream_first_byte_seconds Time to first byte: from the request sent to the backend to its response headers.',
      UPSTREAM,
    ),
    upstream: createHistogram(
      'upstream_duration_seconds From the request sent to the backend to the end of its answer.',
      UPSTREAM,
    ),
  };
}

/** What the store counts, and how it reads. */
function createStoreFigures(store: () => StoreFigures) {
  return {
    checks: createHistogram(
      'policy_check_seconds One statement to PostgreSQL, which answers all decisions that have waited for it.',
      LATENCY,
    ),
    role: readGauge(
      "database_role{role} 1 for what is read: SQLite's file, a primary of PostgreSQL, or no more than a standby, or none.",
      () => [[1, store().role]],
    ),
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

function createGauges(registry: Registry, options: MetricsOptions) {
  const { version, bypass, storeHealth } = options;
  const registers = [registry];
  const labels = { version, node: process.version };
  const build = { name: 'modelgate_build_info', help: 'Version of modelgate and of Node.' };
  new Gauge({ ...build, labelNames: Object.keys(labels), registers }).set(labels, 1);
  const gauge = (series: string, read: () => number | boolean | Promise<number | boolean>) =>
    new Gauge({
      ...partsOf(series),
      registers,
      async collect() {
        this.set(Number(await read()));
      },
    });
  const level = (series: string) => {
    let value = 0;
    gauge(series, () => value);
    return (change: number) => void (value += change);
  };
  gauge('bypass 1 if all filtering and refusing is switched off.', () => bypass);
  gauge('report_mode 1 if decisions are only reported.', () => options.mode() === 'report');
  gauge('database_readable 1 if the database can be read.', async () => (await storeHealth()).readable);
  gauge(
    'database_write_problem 1 if the disk of the database is full, or the last enrolment of a new user failed.',
    async () => (await storeHealth()).writeProblem !== undefined,
  );
  gauge(
    'database_age_seconds Time since the database was last seen to agree with what is served.',
    async () => (await storeHealth()).ageMs / 1000,
  );
  const ledger = () => options.ledger?.()?.state();
  gauge(
    'ledger_problem 1 if the ledger cannot be written: calls are refused, or what they use is in the log alone.',
    () => ledger()?.problem !== undefined,
  );
  gauge('ledger_backlog Writes that wait for the ledger.', () => ledger()?.backlog ?? 0);
  gauge('ledger_open_requests Calls that run, of all gates on it.', () => ledger()?.open ?? 0);
  gauge(
    'ledger_unresolved Calls that were cut, and of which it is still to be found out what they have used.',
    () => ledger()?.interrupted ?? 0,
  );
  addRedisGauges(gauge, options);
  let hasIdentityProblem = false;
  gauge(
    'identity_problem 1 if the gate does not know the user of the last session that the backend issued: then it knows none who signs in.',
    () => hasIdentityProblem,
  );
  return {
    inFlight: level('requests_in_flight Requests whose answer is not complete.'),
    streams: level('streams_open Answers that are being streamed as events (SSE).'),
    invocations: level('invocations_in_flight Answers of models that are not complete.'),
    sockets: level('sockets_open WebSocket tunnels that are open.'),
    identityProblem: (isThere: boolean) => void (hasIdentityProblem = isThere),
  };
}
