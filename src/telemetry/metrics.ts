/**
 * Every figure that Prometheus reads, and the only import of prom-client. Labels are bounded: surfaces, reasons, list
 * shapes and codes are closed vocabularies, organizations and grants are those of the database and are capped besides;
 * users, and models as clients spell them, never become labels.
 *
 * What requests add to are plain numbers (`figures.ts`); prom-client keeps the process's own figures and the gauges.
 */
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { Decision } from '../policy/decision.ts';
import type { StoreFigures, StoreHealth } from '../store/store-view.ts';
import { createCounters, createHistograms, createStoreCounters } from './figures.ts';

interface MetricsOptions {
  readonly version: string;
  /** Read at each use: it may change. */
  readonly mode: 'enforce' | 'report';
  readonly bypass: boolean;
  /** Asked at each scrape. */
  readonly storeHealth: () => Promise<Pick<StoreHealth, 'readable' | 'ageMs' | 'writeProblem'>>;
  /** Asked at each scrape. */
  readonly storeFigures?: () => StoreFigures;
}

interface RequestFigures {
  readonly surface: string;
  readonly status: number;
  /** The decision's effect, or `none`. */
  readonly decision: 'permit' | 'deny' | 'none';
  /** What the gate added: from the arrival until it was sent upstream, and for rewriting the answer; undefined where it was not sent. */
  readonly addedMs: number | undefined;
  /** From the request sent upstream to its response headers; undefined where none came. */
  readonly firstByteMs: number | undefined;
  /** From the request sent upstream to the end of its answer; undefined where none came. */
  readonly upstreamMs: number | undefined;
}

export type Metrics = ReturnType<typeof createMetrics>;

/** @returns recorders on a registry of their own, so that two gates in one process do not meet */
export function createMetrics(options: MetricsOptions) {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  describeGate(registry, options);
  const counters = createCounters();
  const histograms = createHistograms();
  const gauges = createGauges(registry);
  const storeCounters = options.storeFigures === undefined ? [] : createStoreCounters(options.storeFigures);
  const figures = [...Object.values(counters), ...Object.values(histograms), ...storeCounters];
  return {
    requestStarted: () => gauges.inFlight.add(1),
    requestEnded({ surface, status, decision, addedMs, firstByteMs, upstreamMs }: RequestFigures): void {
      gauges.inFlight.add(-1);
      counters.requests.add(1, surface, statusClass(status), decision);
      if (addedMs !== undefined) histograms.added.observe(addedMs / 1000);
      if (firstByteMs !== undefined) histograms.firstByte.observe(firstByteMs / 1000);
      if (upstreamMs !== undefined) histograms.upstream.observe(upstreamMs / 1000);
    },
    /** A request that the listener answered by itself, before there was anything to time. */
    requestAnswered: (status: number) => counters.requests.add(1, 'none', statusClass(status), 'none'),
    streamOpened: () => gauges.streams.add(1),
    streamClosed: () => gauges.streams.add(-1),
    socketOpened: () => gauges.sockets.add(1),
    socketClosed: () => gauges.sockets.add(-1),
    /**
     * @param durationMs time that the decision took, reads included; undefined where it was not measured
     * @param organizations of a denied user
     */
    decided(decision: Decision, durationMs: number | undefined, organizations: readonly string[] = []): void {
      countDecision(counters, decision, String(options.mode === 'enforce'), organizations);
      if (durationMs !== undefined) histograms.decision.observe(durationMs / 1000);
    },
    listFiltered(shape: string, kept: number, removed: number): void {
      counters.lists.add(1, shape);
      counters.listEntries.add(kept, 'kept');
      counters.listEntries.add(removed, 'removed');
    },
    answerUnreadable: (shape: string) => counters.unreadable.add(1, shape),
    /** @param fault why the gate does not know the user of a session that the backend issued; undefined where it does */
    sessionIssued: (fault: string | undefined) => counters.sessions.add(1, fault ?? 'none'),
    /** Whether the gate knows none of the users who sign in. */
    identityProblem: (isThere: boolean) => gauges.identityProblem.set(Number(isThere)),
    /** @param code row of the error table */
    failed: (code: string) => counters.failures.add(1, code),
    /** @param limit the limit that refused a request */
    limited: (limit: string) => counters.limited.add(1, limit),
    invocationStarted: () => gauges.invocations.add(1),
    invocationEnded: () => gauges.invocations.add(-1),
    /** @returns the text that Prometheus reads, with its content type */
    exposition: async (): Promise<{ contentType: string; text: string }> => ({
      contentType: registry.contentType,
      text: `${await registry.metrics()}${figures.map((figure) => figure.text()).join('')}`,
    }),
  };
}

function createGauges(registry: Registry) {
  const gauge = (name: string, help: string) => {
    let value = 0;
    measure(registry, name, help, () => value);
    return {
      add: (amount: number) => void (value += amount),
      set: (amount: number) => void (value = amount),
    };
  };
  return {
    inFlight: gauge('requests_in_flight', 'Requests whose answer is not complete.'),
    streams: gauge('streams_open', 'Answers that are being streamed as events (SSE).'),
    invocations: gauge('invocations_in_flight', 'Answers of models that are not complete.'),
    sockets: gauge('sockets_open', 'WebSocket tunnels that are open.'),
    identityProblem: gauge(
      'identity_problem',
      '1 if the gate does not know the user of the last session that the backend issued: then it knows none who signs in.',
    ),
  };
}

/** @param read asked at each scrape */
function measure(registry: Registry, name: string, help: string, read: () => number | Promise<number>): void {
  new Gauge({
    name: `modelgate_${name}`,
    help,
    registers: [registry],
    async collect() {
      this.set(await read());
    },
  });
}

/** What the gate is and how it is switched, so that an alert can say so. */
function describeGate(registry: Registry, options: MetricsOptions): void {
  const { version, bypass, storeHealth } = options;
  const labels = { version, node: process.version };
  new Gauge({
    name: 'modelgate_build_info',
    help: 'Version of modelgate and of Node.',
    labelNames: Object.keys(labels),
    registers: [registry],
  }).set(labels, 1);
  const flag = (name: string, help: string, read: () => boolean | Promise<boolean>) =>
    measure(registry, name, help, async () => Number(await read()));
  flag('bypass', '1 if all filtering and refusing is switched off.', () => bypass);
  flag('report_mode', '1 if decisions are only reported.', () => options.mode === 'report');
  flag('database_readable', '1 if the database can be read.', async () => (await storeHealth()).readable);
  flag(
    'database_write_problem',
    '1 if the disk of the database is full, or the last enrolment of a new user failed.',
    async () => (await storeHealth()).writeProblem !== undefined,
  );
  measure(
    registry,
    'database_age_seconds',
    'Time since the database was last seen to agree with what is served.',
    async () => (await storeHealth()).ageMs / 1000,
  );
}

function countDecision(
  counters: ReturnType<typeof createCounters>,
  decision: Decision,
  enforced: string,
  organizations: readonly string[],
): void {
  if (decision.effect === 'deny') {
    counters.denials.add(1, decision.reason, enforced);
    for (const organization of organizations) counters.organizations.add(1, organization, 'deny');
    return;
  }
  counters.permits.add(1, decision.reason);
  const { grant } = decision;
  if (grant === undefined) return;
  counters.organizations.add(1, grant.organization, 'permit');
  counters.grants.add(1, grant.pattern);
}

const STATUS_CLASSES = ['unknown', '1xx', '2xx', '3xx', '4xx', '5xx'];

/** 499 is a client that left: no failure, so it has a class of its own. */
function statusClass(status: number): string {
  return status === 499 ? 'client_gone' : (STATUS_CLASSES[Math.floor(status / 100)] ?? 'unknown');
}
