/** The listener for operators: health, readiness, metrics, decisions. Nothing of it is on the public port. */
import { once } from 'node:events';
import type { Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import { accepts } from 'hono/accepts';
import { html } from 'hono/html';
import type { Bypass, ListenAddress } from '../config/schema.ts';
import type { StoreHealth } from '../store/store.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { NoRecord, RecentDecisions } from '../telemetry/recent-decisions.ts';
import { listenOn } from '../transport/listener.ts';

interface ReadinessParts {
  readonly version: string;
  readonly mode: () => 'enforce' | 'report';
  readonly bypass: Bypass | undefined;
  readonly storeHealth: () => Promise<StoreHealth>;
  /** Undefined where there is no provider door. */
  readonly ledger: { readonly state: () => LedgerState } | undefined;
  /** Undefined where this process counts the limits by itself. */
  readonly redis: { readonly state: () => RedisState } | undefined;
  readonly upstreamProblem: () => Promise<string | undefined>;
  readonly identityProblem: () => string | undefined;
  readonly isDraining: () => boolean;
}

interface RedisState {
  /** Where it is, without credentials. */
  readonly redis: string;
  readonly gates: number;
  readonly without: 'local' | 'refuse' | 'open';
  readonly problem: { readonly problem: string; readonly since: number } | undefined;
  readonly warning: string | undefined;
}

interface LedgerState {
  readonly problem: { readonly problem: string; readonly remedy: string; readonly forMs: number } | undefined;
  readonly whenDown: 'refuse' | 'pass';
}

/** Probes that come faster share one answer. */
const PROBE_SHARED_MS = 1_000;

/** @returns what tells whether requests can be served now, and if not why; it never rejects */
export function createReadiness(parts: ReadinessParts, now = () => performance.now()) {
  let probe: Promise<string | undefined> | undefined;
  let probedAt = -Infinity;
  return async () => {
    if (probe === undefined || now() - probedAt >= PROBE_SHARED_MS) {
      probedAt = now();
      probe = parts.upstreamProblem();
    }
    const unreached = await probe;
    const { readable, ageMs, missing, problem = null, writeProblem = null } = await parts.storeHealth();
    const reachable = unreached === undefined;
    const draining = parts.isDraining();
    return {
      ready: readable && reachable && !draining,
      draining,
      mode: parts.mode(),
      bypass: parts.bypass ?? null,
      /** With a `write_problem` no new user can be enrolled. */
      database: { readable, age_ms: Math.round(ageMs), missing, problem, write_problem: writeProblem },
      upstream: { reachable, problem: unreached ?? null },
      /** The gate stays ready: a gate behind which nothing can be counted still serves pages, lists and chats that are stored. */
      ledger: describeLedger(parts.ledger?.state()),
      /** The gate stays ready: what happens without it is a setting. */
      redis: describeRedis(parts.redis?.state()),
      /** The gate stays ready: only a session that the backend issues can show that the problem is over. */
      identity: { problem: parts.identityProblem() ?? null },
      version: parts.version,
    };
  };
}

/** @returns null where there is none */
function describeLedger(state: LedgerState | undefined) {
  if (state === undefined) return null;
  const { problem, whenDown } = state;
  if (problem === undefined) return { writable: true, problem: null, since: null, remedy: null };
  return {
    writable: false,
    problem: problem.problem,
    since: new Date(Date.now() - problem.forMs).toISOString(),
    remedy: `${WHEN_DOWN[whenDown]}. ${problem.remedy}`,
  };
}

/** @returns null where there is none */
function describeRedis(state: RedisState | undefined) {
  if (state === undefined) return null;
  const { redis: address, gates, without, problem, warning = null } = state;
  const reachable = problem === undefined;
  const since = reachable ? null : new Date(problem.since).toISOString();
  return { address, reachable, problem: problem?.problem ?? null, warning, since, gates, without_redis: without };
}

const WHEN_DOWN = {
  refuse: 'What runs a model is refused (503)',
  pass: 'What runs a model goes on, and what it uses is in the log alone',
} as const satisfies Record<LedgerState['whenDown'], string>;

type Readiness = Awaited<ReturnType<ReturnType<typeof createReadiness>>>;

interface AdminParts {
  readonly address: ListenAddress;
  readonly readiness: () => Promise<Readiness>;
  readonly metrics: Pick<Metrics, 'exposition'>;
  readonly decisions: Pick<RecentDecisions, 'find'>;
  readonly reportError: (error: Error) => void;
}

export function createAdminServer(parts: AdminParts) {
  // without TLS options it makes no other kind of server
  const server = createAdaptorServer({
    fetch: createAdminApp(parts).fetch,
    overrideGlobalObjects: false,
    // as the gate's: a browser sends the cookies of a host to all of its ports
    serverOptions: { maxHeaderSize: 64 * 1024 },
  }) as Server;
  return {
    listen: () => listenOn(server, parts.address),
    async close(): Promise<void> {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

const HEADERS = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
};

const WHY_NO_RECORD = {
  malformed: 'A decision id is d- and ten letters or digits.',
  gone: 'This gate keeps no decision of that id: it is older than those that are kept, or another gate has made it.',
} as const satisfies Record<NoRecord['why'], string>;

function createAdminApp({ readiness, metrics, decisions, reportError }: Omit<AdminParts, 'address'>): Hono {
  const app = new Hono();
  app.use(async (c, next) => {
    await next();
    for (const [name, value] of Object.entries(HEADERS)) c.header(name, value);
  });
  app.get('/', async (c) => {
    c.header('vary', 'Accept');
    const types = ['text/html', 'application/json'];
    const wanted = accepts(c, { header: 'Accept', supports: types, default: 'application/json' });
    return wanted === 'text/html' ? c.html(frontPage(await readiness())) : c.json({ paths: ADMIN_PATHS });
  });
  // a database or backend that is away is no reason to restart the gate
  app.get('/healthz', (c) => c.json({ alive: true }));
  app.get('/readyz', async (c) => {
    const state = await readiness();
    return c.json(state, state.ready ? 200 : 503);
  });
  app.get('/metrics', async (c) => {
    const { contentType, text } = await metrics.exposition();
    return c.body(text, 200, { 'content-type': contentType });
  });
  // ids alone: names are in the database, which a reader of this listener need not be able to read
  app.get('/decisions/:id', (c) => {
    const found = decisions.find(c.req.param('id'));
    if ('id' in found) return c.json(found);
    return c.json({ ...found, error: WHY_NO_RECORD[found.why] }, found.why === 'malformed' ? 400 : 404);
  });
  app.notFound((c) => c.json({ error: 'There are only /, /healthz, /readyz, /metrics and /decisions/ID here.' }, 404));
  app.onError((error, c) => {
    reportError(error);
    return c.json({ error: 'The admin listener failed to answer; the log says why.' }, 500);
  });
  return app;
}

const ADMIN_PATHS = {
  '/healthz': 'the process is alive',
  '/readyz': 'whether requests can be served, and if not why',
  '/metrics': 'figures for Prometheus',
} as const;

/** A page without scripts, styles or anything else to load. */
function frontPage({ version, ready, draining, mode, bypass, database, upstream, ledger, redis, identity }: Readiness) {
  const state = ready ? 'Ready' : draining ? 'Not ready: it is shutting down' : 'Not ready';
  const enforced = mode === 'report' ? 'reporting only (MODELGATE_MODE=report)' : 'enforcing';
  const facts = [
    ['Models', bypass === null ? enforced : `everything is let through (${bypass})`],
    ['Database', database.problem ?? (database.readable ? `readable, ${database.age_ms} ms old` : 'not readable')],
    ...(database.missing.length > 0 ? [['Missing in it', database.missing.join(', ')]] : []),
    ['Sessions', identity.problem ?? 'no problem seen'],
    ...(ledger === null ? [] : [['Usage', ledger.problem ?? 'written']]),
    ...(redis === null ? [] : [['Redis', redis.problem ?? `reachable, gates: ${redis.gates}`]]),
    ['Backend', upstream.problem ?? (upstream.reachable ? 'reachable' : 'not reachable')],
  ];
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width" />
        <meta name="color-scheme" content="light dark" />
        <title>modelgate ${version}: ${state}</title>
      </head>
      <body>
        <h1>modelgate ${version}</h1>
        <p><strong>${state}</strong></p>
        <dl>
          ${facts.map(
            ([name, value]) =>
              html`<dt>${name}</dt>
                <dd>${value}</dd>`,
          )}
        </dl>
        ${ready ? '' : html`<p>What to do: run <code>modelgate doctor</code>.</p>`}
        <ul>
          ${Object.entries(ADMIN_PATHS).map(([path, what]) => html`<li><a href="${path}">${path}</a>: ${what}</li>`)}
        </ul>
      </body>
    </html>`;
}
