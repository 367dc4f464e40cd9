/** The composition root, and the first file to read: which parts there are, the order of the stages, and both doors. */
import { isDeepStrictEqual } from 'node:util';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { type MiddlewareHandler, Hono } from 'hono';
import type { Config } from '../config/schema.ts';
import { createRefusal } from '../enforcement/answers.ts';
import { authorize } from '../enforcement/authorize.ts';
import { filterModels } from '../enforcement/filter-models.ts';
import { createJudge, createProviderModels } from '../enforcement/judge.ts';
import { createListReading } from '../enforcement/list-reading.ts';
import { authenticate, createIdentity, identify } from '../identity/authenticate.ts';
import { type Revocations, askRevocation, unlessRevoked } from '../identity/revocation.ts';
import { refuseUsedUp } from '../limits/budgets.ts';
import { createLimits } from '../limits/limits.ts';
import { createMemoryAllowances } from '../limits/memory.ts';
import type { RedisLimits } from '../limits/redis.ts';
import { createSurfaceDecider } from '../openwebui/decide-surface.ts';
import { answeringOf, countedAs, runsModel, socketSurface } from '../openwebui/endpoints.ts';
import { canonicalPath } from '../openwebui/match.ts';
import { listedBy } from '../openwebui/pages.ts';
import { createChatOrder } from '../openwebui/saved-chats.ts';
import { provedUser } from '../policy/principal.ts';
import { createReading } from '../reading/reading.ts';
import type { Store } from '../store/store.ts';
import { createAudit } from '../telemetry/audit.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { createObserver, createUntrustedProxyWarning } from '../telemetry/observe.ts';
import type { RecentDecisions } from '../telemetry/recent-decisions.ts';
import { createHeldBodies } from '../transport/body.ts';
import { createClientAddress, createPeerLookup } from '../transport/client.ts';
import { forward } from '../transport/forward.ts';
import { createDownstream, listenOn } from '../transport/listener.ts';
import { createUpstream } from '../transport/upstream.ts';
import { createAdmissions } from '../usage/admission.ts';
import type { Ledger } from '../usage/ledger.ts';
import { createSecureAnswers } from './answer-headers.ts';
import { type GateEnv, type Scope, createScope } from './scope.ts';
import { createSessionWatch } from './session-watch.ts';
import { createSocketDoor } from './socket-door.ts';

interface GateParts {
  readonly config: Config;
  readonly store: Store;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly decisions: RecentDecisions;
  /** Where there is a provider door: what is used up is refused here too. */
  readonly ledger?: Ledger | undefined;
  /** Undefined: limits are counted in this process. */
  readonly redis?: Pick<RedisLimits, 'allowancesFor'> | undefined;
  /** Undefined: which sessions the backend has ended one by one is left to it. */
  readonly revocations?: Revocations | undefined;
  readonly now?: () => number;
}

export function createGate(parts: GateParts) {
  const { config } = parts;
  const lasting = createLastingParts(parts);
  const { upstream } = lasting;
  let doors = createDoors(lasting);
  const downstream = createDownstream({
    handle: (incoming, outgoing) => void doors.app.fetch(UNREAD, { incoming, outgoing }),
    refuse: (incoming, outgoing, fault) => void doors.app.fetch(UNREAD, { incoming, outgoing, fault }),
    upgrade: (...upgrade) => void doors.socketDoor(...upgrade),
    mayUpgrade: (incoming) => socketSurface(incoming) !== undefined,
    ownAnswerEdit: (lines, status, incoming) => doors.secureAnswers.editOwn(lines, status, incoming),
    answered: (own) => doors.observer.answered(own),
    limits: { idleTimeoutMs: config.upstream.idleTimeoutMs, maxHeaderBytes: config.maxHeaderBytes },
  });
  let draining = false;
  return {
    /** @throws the system's error (`EADDRINUSE`, …) where it cannot listen */
    listen: () => listenOn(downstream.server, config.listen),
    /** Modes, denial, access, answers, limits, trusted proxies. Counts start anew where limits differ. */
    reconfigure(changed: Config): void {
      const keepsCounts = isDeepStrictEqual(changed.limits, doors.config.limits);
      const allowances = keepsCounts ? doors.allowances : allowancesOf({ ...parts, config: changed });
      doors = createDoors({ ...lasting, config: changed, allowances });
    },
    upstreamProblem: () => upstream.findProblem(),
    identityProblem: lasting.sessions.problem,
    /** `/readyz` says no, and each answer ends its connection; all goes on being served until `drain`. */
    announceDrain(): void {
      draining = true;
      downstream.announceDrain();
    },
    async drain(): Promise<number> {
      draining = true;
      const cut = await downstream.drain(config.drainTimeoutMs);
      await Promise.all([upstream.close(), lasting.reading.close(), lasting.lists.close()]);
      return cut;
    },
    isDraining: () => draining,
  };
}

function createLastingParts(parts: GateParts) {
  const { maxHeaderBytes, maxBodyBytes, ...config } = parts.config;
  const identity = createIdentity(config.identity);
  const providerModels = createProviderModels();
  return {
    ...parts,
    upstream: createUpstream({ ...config.upstream, maxHeaderBytes, probePath: '/health' }),
    identity,
    sessions: createSessionWatch({ ...parts, identity }),
    providerModels,
    order: createChatOrder({ shared: parts.store.saves }),
    reading: createReading(),
    lists: createListReading(providerModels.learn),
    bodies: createHeldBodies(maxBodyBytes),
    allowances: allowancesOf(parts),
  };
}

const allowancesOf = ({ config, redis, now = () => performance.now() }: GateParts) =>
  redis?.allowancesFor(config.limits) ?? createMemoryAllowances(config.limits, now);

/** Both doors of one configuration. Requests that one pair has begun, it ends. */
function createDoors(lasting: ReturnType<typeof createLastingParts>) {
  const parts = createSharedParts(lasting);
  return {
    ...parts,
    app: createStages(parts),
    socketDoor: createSocketDoor({ ...parts, open: parts.config.policy.bypass !== undefined }),
  };
}

function createSharedParts(lasting: ReturnType<typeof createLastingParts>) {
  const { config, log, metrics, allowances } = lasting;
  const { mode, denial } = config.policy;
  const peerOf = createPeerLookup(config.trustedProxies);
  const audit = createAudit({ ...lasting, mode });
  const secureAnswers = createSecureAnswers(config, peerOf);
  const clientAddress = createClientAddress(config.trustedProxies, peerOf, createUntrustedProxyWarning(log));
  return {
    ...lasting,
    mode,
    maxBodyBytes: config.maxBodyBytes,
    payerOf: provedUser,
    upstream: { ...lasting.upstream, peerOf },
    judge: createJudge(config.policy, lasting.providerModels),
    audit,
    observer: createObserver({ log, metrics, mode }),
    refusal: createRefusal({ audit, log, metrics, denial, answeringOf, allowOrigin: secureAnswers.allowOrigin }),
    secureAnswers,
    limits: createLimits<Scope>({ allowances, clientAddress, countedAs, runsModel, isAwaitedLater, metrics }),
  };
}

type SharedParts = ReturnType<typeof createSharedParts>;

/** Hono's `fetch` wants one: node-server's would read target and Host itself, and answer what it cannot read. */
const UNREAD = new Request('http://gate/');

/** The path of a request. Composing by Hono costs about 2 µs a request, some 2 % of what the gate takes. */
function createStages(parts: SharedParts): Hono<GateEnv> {
  const { observer, limits, refusal } = parts;
  const app = new Hono<GateEnv>();
  app.use(begin(parts));
  app.use(observer.observe);
  app.use(refuseMalformed);
  if (parts.config.policy.bypass === undefined) {
    app.use(canonicalPath);
    app.use(parts.sessions.stage);
    app.use(authenticate(parts, parts.store.isRemote ? whenFar : undefined));
    for (const stage of revocationOf(parts)) app.use(stage);
    app.use(limits.limit);
    const { decide, foresee } = createSurfaceDecider(parts);
    app.use(
      authorize<Scope>({
        ...parts,
        identify: (scope) => identify(scope, parts),
        decide: unlessRevoked(decide),
        foresee,
      }),
    );
    for (const stage of budgetsOf(parts)) app.use(stage);
    app.use(limits.limitInvocations);
    app.use(filterModels({ ...parts, listedBy }));
  } else app.use(letThrough);
  app.use(forwardTo(parts));
  app.onError((error, c) => {
    refusal.fail(c.get('scope'), error);
    return RESPONSE_ALREADY_SENT;
  });
  return app;
}

/** With a long body, what a limit refuses is refused before it is read. */
const isAwaitedLater = ({ claim, incoming }: Scope): boolean =>
  claim !== undefined && Number(incoming.headers['content-length'] ?? Infinity) <= SHORT_BODY_BYTES;
const SHORT_BODY_BYTES = 64 * 1024;

/** What nothing is decided about never waits for a database that is far; what runs a model asks it once, when its name is known. */
function whenFar({ surface }: Scope) {
  if (surface.kind === 'invokes') return 'with_decision';
  return isDecided({ surface }) ? 'now' : 'never';
}

const isDecided = ({ surface }: Pick<Scope, 'surface'>): boolean =>
  surface.kind !== 'neutral' || surface.unlisted !== undefined;

const revocationOf = ({ identity, revocations }: SharedParts) =>
  revocations === undefined ? [] : [askRevocation<Scope>({ identity, revocations }, isDecided)];

function budgetsOf({ ledger, store, metrics, mode, config: { usage } }: SharedParts) {
  if (ledger === undefined || usage === undefined) return [];
  const admissions = createAdmissions({ store, mode, ...usage });
  return [refuseUsedUp<Scope>({ ledger, admissions, metrics, runsModel })];
}

function begin({ secureAnswers }: SharedParts): MiddlewareHandler<GateEnv> {
  return function begin(c, next) {
    const { incoming, outgoing } = c.env;
    c.set('scope', createScope(incoming, outgoing, secureAnswers.editsFor(incoming)));
    return next();
  };
}

/** What the listener found wrong is answered here, where it is observed and has a dialect. */
const refuseMalformed: MiddlewareHandler<GateEnv> = function refuseMalformed(c, next) {
  if (c.env.fault !== undefined) throw c.env.fault;
  return next();
};

/** The only stage of a bypassed gate: the request goes on as it came. */
const letThrough: MiddlewareHandler<GateEnv> = function letThrough(c, next) {
  const scope = c.get('scope');
  scope.target = scope.incoming.url ?? '/';
  scope.surface = { kind: 'neutral' };
  return next();
};

function forwardTo({ upstream, bodies, metrics }: SharedParts): MiddlewareHandler<GateEnv> {
  const onStream = (isOpen: boolean) => metrics.streams(isOpen ? 1 : -1);
  const events = { onStream, onUploaded: bodies.release };
  return async function forwardTo(c) {
    const scope = c.get('scope');
    scope.outcome = await forward(upstream, scope, events);
    return RESPONSE_ALREADY_SENT;
  };
}
