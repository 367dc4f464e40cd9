/**
 * Every figure that Prometheus reads, and the only import of prom-client. Labels are bounded: surfaces, reasons, list
 * shapes and codes are closed vocabularies, organizations and grants stand in the database and are capped besides;
 * users, and models as clients spell them, never become labels.
 *
 * What requests add to are plain numbers (`figures.ts`); prom-client keeps the process's own figures and the gauges.
 */
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { Decision } from '../policy/decision.ts';
import type { Figure } from './figures.ts';
import { createCounters, createHistograms, createStoreCounters } from './gate-figures.ts';
import type { StoreFigures } from './gate-figures.ts';

export interface MetricsOptions {
  readonly version: string;
  /** Looked at whenever it matters: it may change. */
  readonly mode: 'enforce' | 'report';
  readonly bypass: boolean;
  /** Asked at each scrape. */
  readonly storeHealth: () => Readonly<{ readable: boolean; ageMs: number; writeProblem: string | undefined }>;
  /** Asked at each scrape; absent where nobody counts. */
  readonly storeFigures?: () => StoreFigures;
}

export interface RequestFigures {
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

export interface Metrics {
  requestStarted(): void;
  requestEnded(figures: RequestFigures): void;
  /** A request that the listener answered by itself, before there was anything to time. */
  requestAnswered(status: number): void;
  streamOpened(): void;
  streamClosed(): void;
  socketOpened(): void;
  socketClosed(): void;
  /**
   * @param durationMs time that the decision took, reads included; undefined where nobody measured it
   * @param organizations of a denied user
   */
  decided(decision: Decision, durationMs: number | undefined, organizations?: readonly string[]): void;
  listFiltered(shape: string, kept: number, removed: number): void;
  answerUnreadable(shape: string): void;
  /** @param fault why a session that the backend has issued is nobody's here; undefined where it is somebody's */
  sessionIssued(fault: string | undefined): void;
  /** Whether nobody who signs in is known to the gate. */
  identityProblem(isThere: boolean): void;
  /** @param code row of the error table */
  failed(code: string): void;
  /** @param limit the limit that refused a request */
  limited(limit: string): void;
  invocationStarted(): void;
  invocationEnded(): void;
  /** @returns the text that Prometheus reads, with its content type */
  exposition(): Promise<{ readonly contentType: string; readonly text: string }>;
}

/** @returns recorders on a registry of their own, so that two gates in one process do not meet */
export function createMetrics(options: MetricsOptions): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  describeGate(registry, options);
  const counters = createCounters();
  const histograms = createHistograms();
  const inFlight = liveGauge(registry, 'modelgate_requests_in_flight', 'Requests whose answer is not complete.');
  const streams = liveGauge(registry, 'modelgate_streams_open', 'Answers that are being streamed as events (SSE).');
  const invocations = liveGauge(registry, 'modelgate_invocations_in_flight', 'Answers of models, not complete yet.');
  const sockets = liveGauge(registry, 'modelgate_sockets_open', 'WebSocket tunnels that are open.');
  const identityProblem = liveGauge(
    registry,
    'modelgate_identity_problem',
    'Whether the last session that the backend issued is nobody to the gate, as nobody is who signs in then.',
  );
  const storeCounters = options.storeFigures === undefined ? [] : createStoreCounters(options.storeFigures);
  const figures: Figure[] = [...Object.values(counters), ...Object.values(histograms), ...storeCounters];
  return {
    requestStarted: () => inFlight.add(1),
    requestEnded({ surface, status, decision, addedMs, firstByteMs, upstreamMs }) {
      inFlight.add(-1);
      counters.requests.add(1, surface, statusClass(status), decision);
      if (addedMs !== undefined) histograms.added.observe(addedMs / 1000);
      if (firstByteMs !== undefined) histograms.firstByte.observe(firstByteMs / 1000);
      if (upstreamMs !== undefined) histograms.upstream.observe(upstreamMs / 1000);
    },
    requestAnswered: (status) => counters.requests.add(1, 'none', statusClass(status), 'none'),
    streamOpened: () => streams.add(1),
    streamClosed: () => streams.add(-1),
    socketOpened: () => sockets.add(1),
    socketClosed: () => sockets.add(-1),
    decided(decision, durationMs, organizations = NO_ORGANIZATIONS) {
      countDecision(counters, decision, String(options.mode === 'enforce'), organizations);
      if (durationMs !== undefined) histograms.decision.observe(durationMs / 1000);
    },
    listFiltered(shape, kept, removed) {
      counters.lists.add(1, shape);
      counters.listEntries.add(kept, 'kept');
      counters.listEntries.add(removed, 'removed');
    },
    answerUnreadable: (shape) => counters.unreadable.add(1, shape),
    sessionIssued: (fault) => counters.sessions.add(1, fault ?? 'none'),
    identityProblem: (isThere) => identityProblem.set(Number(isThere)),
    failed: (code) => counters.failures.add(1, code),
    limited: (limit) => counters.limited.add(1, limit),
    invocationStarted: () => invocations.add(1),
    invocationEnded: () => invocations.add(-1),
    exposition: async () => ({
      contentType: registry.contentType,
      text: `${await registry.metrics()}${figures.map((figure) => figure.text()).join('')}`,
    }),
  };
}

const NO_ORGANIZATIONS: readonly string[] = [];

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

/** 499 stands for a client that left: it is no failure of anybody, so it has a class of its own. */
function statusClass(status: number): string {
  return status === 499 ? 'client_gone' : (STATUS_CLASSES[Math.floor(status / 100)] ?? 'unknown');
}

interface LiveGauge {
  add(amount: number): void;
  set(amount: number): void;
}

function liveGauge(registry: Registry, name: string, help: string): LiveGauge {
  let value = 0;
  measured(registry, name, help, () => value);
  return {
    add: (amount) => void (value += amount),
    set: (amount) => void (value = amount),
  };
}

function measured(registry: Registry, name: string, help: string, read: () => number): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      this.set(read());
    },
  });
}

/** What the gate is and how it is switched, so that an alert can say so. */
function describeGate(registry: Registry, options: MetricsOptions): void {
  const { version, bypass, storeHealth } = options;
  new Gauge({
    name: 'modelgate_build_info',
    help: 'Version of modelgate and of Node.',
    labelNames: ['version', 'node'],
    registers: [registry],
  }).set({ version, node: process.version }, 1);
  measured(registry, 'modelgate_bypass', 'Whether all filtering and refusing is switched off.', () => Number(bypass));
  measured(registry, 'modelgate_report_mode', 'Whether decisions are only reported.', () =>
    Number(options.mode === 'report'),
  );
  measured(registry, 'modelgate_database_readable', 'Whether the database can be read.', () =>
    Number(storeHealth().readable),
  );
  measured(
    registry,
    'modelgate_database_write_problem',
    'Whether the disk of the database is full, or the last enrolment of a new user failed.',
    () => Number(storeHealth().writeProblem !== undefined),
  );
  measured(
    registry,
    'modelgate_database_age_seconds',
    'Time since the database was last seen to agree with what is served.',
    () => storeHealth().ageMs / 1000,
  );
}
