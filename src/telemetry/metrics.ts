/**
 * Every figure that Prometheus reads, and the only import of prom-client. Labels are bounded: surfaces, reasons and
 * list shapes are closed vocabularies; users and models never become labels.
 *
 * The hot path adds to plain numbers, which are copied into prom-client's objects when they are asked for.
 */
import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';
import type { Histogram } from 'prom-client';
import type { Decision } from '../policy/decision.ts';

export interface MetricsOptions {
  readonly version: string;
  readonly mode: 'enforce' | 'report';
  readonly bypass: boolean;
  /** Asked at each scrape. */
  readonly storeHealth: () => { readonly readable: boolean; readonly ageMs: number };
}

export interface RequestFigures {
  readonly surface: string;
  readonly status: number;
  /** The decision's effect, or `none`. */
  readonly decision: 'permit' | 'deny' | 'none';
  /** From the request's arrival until it was sent upstream; undefined where it was not. */
  readonly addedMs: number | undefined;
  /** From the request sent upstream to its response headers; undefined where none came. */
  readonly firstByteMs: number | undefined;
}

export interface Metrics {
  requestStarted(): void;
  requestEnded(figures: RequestFigures): void;
  socketOpened(): void;
  socketClosed(): void;
  /** @param durationMs time that the decision took, reads included; undefined where nobody measured it */
  decided(decision: Decision, durationMs: number | undefined): void;
  listFiltered(shape: string, kept: number, removed: number): void;
  answerUnreadable(shape: string): void;
  /** @param code row of the error table */
  failed(code: string): void;
  /** @returns the text that Prometheus reads, with its content type */
  exposition(): Promise<{ readonly contentType: string; readonly text: string }>;
}

const LATENCY_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1];
const UPSTREAM_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
const DECISION_SECONDS = [0.000005, 0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.01, 0.1];

/** @returns recorders on a registry of their own, so that two gates in one process do not meet */
export function createMetrics(options: MetricsOptions): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  describeGate(registry, options);
  const counters = createCounters(registry);
  const { decision: decisionTime, added, firstByte } = createTimes(registry);
  const inFlight = liveGauge(registry, 'modelgate_requests_in_flight', 'Requests whose answer is not complete.');
  const sockets = liveGauge(registry, 'modelgate_sockets_open', 'WebSocket tunnels that are open.');
  const enforced = String(options.mode === 'enforce');
  return {
    requestStarted: () => inFlight.add(1),
    requestEnded({ surface, status, decision, addedMs, firstByteMs }) {
      inFlight.add(-1);
      counters.requests.add(1, surface, statusClass(status), decision);
      if (addedMs !== undefined) added.observe(addedMs / 1000);
      if (firstByteMs !== undefined) firstByte.observe(firstByteMs / 1000);
    },
    socketOpened: () => sockets.add(1),
    socketClosed: () => sockets.add(-1),
    decided(decision, durationMs) {
      if (decision.effect === 'deny') counters.denials.add(1, decision.reason, enforced);
      else counters.permits.add(1, decision.reason);
      if (durationMs !== undefined) decisionTime.observe(durationMs / 1000);
    },
    listFiltered(shape, kept, removed) {
      counters.lists.add(1, shape);
      counters.listEntries.add(kept, 'kept');
      counters.listEntries.add(removed, 'removed');
    },
    answerUnreadable: (shape) => counters.unreadable.add(1, shape),
    failed: (code) => counters.failures.add(1, code),
    exposition: async () => ({ contentType: registry.contentType, text: await registry.metrics() }),
  };
}

function createCounters(
  registry: Registry,
): Record<'requests' | 'denials' | 'permits' | 'lists' | 'listEntries' | 'unreadable' | 'failures', Tally> {
  const count = (name: string, help: string, labels: readonly string[]): Tally =>
    tally(registry, `modelgate_${name}_total`, help, labels);
  return {
    requests: count('requests', 'Requests by what their endpoint does with models, status class and decision.', [
      'surface',
      'status',
      'decision',
    ]),
    denials: count('denials', 'Denials by reason; enforced is false in report mode.', ['reason', 'enforced']),
    permits: count('permits', 'Permits by reason.', ['reason']),
    lists: count('lists_filtered', 'Answers that list models, by shape.', ['shape']),
    listEntries: count('list_entries', 'Entries of lists of models, kept or removed.', ['outcome']),
    unreadable: count('unreadable_answers', 'Lists that could not be read and were replaced by an empty one.', [
      'shape',
    ]),
    failures: count('failures', 'Requests that failed, by code of the error table.', ['code']),
  };
}

function createTimes(registry: Registry): Record<'decision' | 'added' | 'firstByte', Times> {
  const time = (name: string, help: string, bounds: readonly number[]): Times =>
    times(registry, `modelgate_${name}_seconds`, help, bounds);
  return {
    decision: time('decision_duration', 'Time of one decision, reads from the database included.', DECISION_SECONDS),
    added: time('added_latency', 'From the arrival of a request until it is sent to the backend.', LATENCY_SECONDS),
    firstByte: time(
      'upstream_first_byte',
      'From the request sent to the backend to its response headers.',
      UPSTREAM_SECONDS,
    ),
  };
}

const STATUS_CLASSES = ['unknown', '1xx', '2xx', '3xx', '4xx', '5xx'];

/** 499 stands for a client that left: it is no failure of anybody, so it has a class of its own. */
function statusClass(status: number): string {
  return status === 499 ? 'client_gone' : (STATUS_CLASSES[Math.floor(status / 100)] ?? 'unknown');
}

interface Tally {
  add(amount: number, ...values: readonly string[]): void;
}

/** A counter that costs a map lookup: prom-client's own builds and checks a label object each time. */
function tally(registry: Registry, name: string, help: string, labelNames: readonly string[]): Tally {
  const rows = new Map<string, { readonly labels: Record<string, string>; value: number }>();
  new Counter({
    name,
    help,
    labelNames: [...labelNames],
    registers: [registry],
    collect() {
      this.reset();
      for (const { labels, value } of rows.values()) this.inc(labels, value);
    },
  });
  return {
    add(amount, ...values) {
      const key = values.length === 1 ? (values[0] ?? '') : values.join('|');
      const row = rows.get(key);
      if (row !== undefined) row.value += amount;
      else
        rows.set(key, {
          labels: Object.fromEntries(labelNames.map((label, index) => [label, values[index] ?? ''])),
          value: amount,
        });
    },
  };
}

interface Times {
  observe(seconds: number): void;
}

/** A histogram that costs an addition: prom-client's own makes two closures and checks labels at each observation. */
function times(registry: Registry, name: string, help: string, bounds: readonly number[]): Times {
  const counts = new Array<number>(bounds.length + 1).fill(0);
  let sum = 0;
  const values = () => {
    let total = 0;
    const buckets = counts.map((count, index) => ({
      metricName: `${name}_bucket`,
      labels: { le: bounds[index] ?? '+Inf' },
      value: (total += count),
    }));
    const sums = { sum, count: total };
    return [
      ...buckets,
      ...Object.entries(sums).map(([what, value]) => ({ metricName: `${name}_${what}`, labels: {}, value })),
    ];
  };
  // All that the registry asks of a metric; its type wants the whole class
  const metric = {
    name,
    get: () => Promise.resolve({ name, help, type: 'histogram', aggregator: 'sum', values: values() }),
  };
  registry.registerMetric(metric as unknown as Histogram);
  return {
    observe(seconds) {
      let at = 0;
      while (at < bounds.length && seconds > (bounds[at] ?? Infinity)) at += 1;
      counts[at] = (counts[at] ?? 0) + 1;
      sum += seconds;
    },
  };
}

function liveGauge(registry: Registry, name: string, help: string): { add(amount: number): void } {
  let value = 0;
  measured(registry, name, help, () => value);
  return {
    add(amount) {
      value += amount;
    },
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
function describeGate(registry: Registry, { version, mode, bypass, storeHealth }: MetricsOptions): void {
  new Gauge({
    name: 'modelgate_build_info',
    help: 'Version of modelgate and of Node.',
    labelNames: ['version', 'node'],
    registers: [registry],
  }).set({ version, node: process.version }, 1);
  measured(registry, 'modelgate_bypass', 'Whether all filtering and refusing is switched off.', () => Number(bypass));
  measured(registry, 'modelgate_report_mode', 'Whether decisions are only reported.', () => Number(mode === 'report'));
  measured(registry, 'modelgate_policy_readable', 'Whether the database can be read.', () =>
    Number(storeHealth().readable),
  );
  measured(
    registry,
    'modelgate_policy_age_seconds',
    'Time since the policy was last compared with the database.',
    () => storeHealth().ageMs / 1000,
  );
}
