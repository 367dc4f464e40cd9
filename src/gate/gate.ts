/**
 * The composition root, and the first file to read: which parts there are, and the order of the stages. Both doors are
 * here, `handle` for requests and `upgrade` for WebSockets.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { isDeepStrictEqual } from 'node:util';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { type MiddlewareHandler, Hono } from 'hono';
import type { Config } from '../config/schema.ts';
import { type Refusal, createRefusal } from '../enforcement/answers.ts';
import { authorize } from '../enforcement/authorize.ts';
import { filterModels } from '../enforcement/filter-models.ts';
import { type Judge, type ProviderModels, createJudge, createProviderModels } from '../enforcement/judge.ts';
import { type ListReading, createListReading } from '../enforcement/list-reading.ts';
import { type Identity, authenticate, createIdentity } from '../identity/authenticate.ts';
import type { Allowances } from '../limits/allowance.ts';
import { type Limits, createLimits, provedUser } from '../limits/limits.ts';
import { createMemoryAllowances } from '../limits/memory.ts';
import { type ChatOrder, createChatOrder } from '../openwebui/chat-order.ts';
import { createSurfaceDecider } from '../openwebui/decide-surface.ts';
import { answeringOf, countedAs, runsModel } from '../openwebui/endpoints.ts';
import { listedBy } from '../openwebui/model-page.ts';
import { socketSurface } from '../openwebui/sockets.ts';
import { canonicalPath, createTargetReader } from '../openwebui/target.ts';
import { type Reading, createReading } from '../reading/reading.ts';
import type { Store } from '../store/store-view.ts';
import { type Audit, createAudit } from '../telemetry/audit.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { type Observer, createUntrustedProxyWarning, createObserver } from '../telemetry/observe.ts';
import type { RecentDecisions } from '../telemetry/recent-decisions.ts';
import { createClientAddress, createPeerLookup } from '../transport/client.ts';
import { type HeldBodies, createHeldBodies } from '../transport/body.ts';
import { createDownstream, listenOn } from '../transport/listener.ts';
import { type Upstream, createUpstream } from '../transport/upstream.ts';
import { type SecureAnswers, createSecureAnswers } from './answer-headers.ts';
import type { GateEnv } from './scope.ts';
import { createSessionWatch } from './session-watch.ts';
import { createSocketDoor } from './socket-door.ts';
import { begin, forwardTo, letThrough, refuseMalformed } from './stages.ts';

interface GateParts {
  readonly config: Config;
  readonly store: Store;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly decisions: RecentDecisions;
  /** What limits go by: monotonic, in milliseconds. Absent: the process's own. */
  readonly now?: () => number;
}

export interface Gate {
  /** @throws the system's error (`EADDRINUSE`, …) where it cannot listen */
  listen(): Promise<{ readonly url: string; readonly port: number }>;
  /**
   * From the next request on: modes, denial, access, answers, limits, trusted proxies. Other differences are
   * ignored. Counts start anew only where limits differ.
   */
  reconfigure(changed: Config): void;
  /** Why the backend does not answer, undefined where it does; never rejects. */
  upstreamProblem(): Promise<string | undefined>;
  /** Why the sessions that the backend issues are not known to the gate; undefined while they are, as far as is known. */
  identityProblem(): string | undefined;
  /** Stops accepting, finishes what runs, at most `drainTimeoutMs`. @returns how many requests were cut */
  drain(): Promise<number>;
  isDraining(): boolean;
}

export function createGate(parts: GateParts): Gate {
  const { config } = parts;
  const { trustedProxies, maxHeaderBytes } = config;
  const upstream = createUpstream({ ...config.upstream, trustedProxies, maxHeaderBytes, probePath: '/health' });
  const identity = createIdentity(config.identity);
  const sessionWatch = createSessionWatch({ ...parts, identity });
  const lasting: LastingParts = {
    ...parts,
    upstream,
    identity,
    watchSessions: sessionWatch.stage,
    providerModels: createProviderModels(),
    order: createChatOrder(),
    reading: createReading(),
    lists: createListReading(),
    bodies: createHeldBodies(config.maxBodyBytes),
    allowances: allowancesOf(parts),
  };
  let doors = createDoors(lasting);
  const downstream = createDownstream({
    handle: (incoming, outgoing) => void doors.app.fetch(UNREAD, { incoming, outgoing }),
    refuse: (incoming, outgoing, fault) => void doors.app.fetch(UNREAD, { incoming, outgoing, fault }),
    upgrade: (incoming: IncomingMessage, socket: Duplex, head: Buffer) => void doors.socketDoor(incoming, socket, head),
    mayUpgrade: (incoming) => socketSurface(incoming) !== undefined,
    ownAnswerEdit: (lines, status, incoming) => doors.secureAnswers.editOwn(lines, status, incoming),
    answered: (own) => doors.observer.answered(own),
    limits: { idleTimeoutMs: config.upstream.idleTimeoutMs, maxHeaderBytes },
  });
  let draining = false;
  return {
    listen: () => listenOn(downstream.server, config.listen),
    reconfigure(changed) {
      const keepsCounts = isDeepStrictEqual(changed.limits, doors.limits);
      const allowances = keepsCounts ? doors.allowances : allowancesOf({ ...parts, config: changed });
      doors = createDoors({ ...lasting, config: changed, allowances });
    },
    upstreamProblem: () => upstream.findProblem(),
    identityProblem: sessionWatch.problem,
    async drain() {
      draining = true;
      const cut = await downstream.drain(config.drainTimeoutMs);
      await Promise.all([upstream.close(), lasting.reading.close(), lasting.lists.close()]);
      return cut;
    },
    isDraining: () => draining,
  };
}

const UNREAD = new Request('http://gate/');

/** What outlives a change of the configuration: connections, caches, and whatever the gate has learned or counts. */
interface LastingParts extends GateParts {
  readonly upstream: Upstream;
  readonly identity: Identity;
  readonly watchSessions: MiddlewareHandler<GateEnv>;
  readonly providerModels: ProviderModels;
  readonly order: ChatOrder;
  readonly reading: Reading;
  readonly lists: ListReading;
  readonly bodies: HeldBodies;
  readonly allowances: Allowances;
}

/** Counts are kept in this process: what several replicas could share would be made here. */
const allowancesOf = ({ config, now = () => performance.now() }: GateParts): Allowances =>
  createMemoryAllowances(config.limits, now);

interface SharedParts extends LastingParts {
  readonly mode: Config['policy']['mode'];
  readonly maxBodyBytes: number;
  readonly payerOf: typeof provedUser;
  readonly judge: Judge;
  readonly audit: Audit;
  readonly observer: Observer;
  readonly refusal: Refusal;
  readonly secureAnswers: SecureAnswers;
  readonly limits: Limits;
}

/** Both doors of one configuration. Requests that one pair has begun, it ends. */
function createDoors(lasting: LastingParts) {
  const { config, log, metrics, decisions, allowances } = lasting;
  const { mode, bypass, denial } = config.policy;
  const upstream = { ...lasting.upstream, peerOf: createPeerLookup(config.trustedProxies) };
  const judge = createJudge(config.policy, lasting.providerModels);
  const audit = createAudit({ log, metrics, mode, decisions, store: lasting.store });
  const observer = createObserver({ log, metrics, mode });
  const secureAnswers = createSecureAnswers(config, upstream.peerOf);
  const refusal = createRefusal({
    audit,
    log,
    metrics,
    denial,
    answeringOf,
    allowOrigin: secureAnswers.allowOrigin,
  });
  const clientAddress = createClientAddress(config.trustedProxies, createUntrustedProxyWarning(log));
  const limits = createLimits({ allowances, clientAddress, countedAs, runsModel, metrics });
  const { maxBodyBytes } = config;
  const rules = { mode, maxBodyBytes, payerOf: provedUser };
  const shared: SharedParts = {
    ...lasting,
    ...rules,
    upstream,
    judge,
    audit,
    observer,
    refusal,
    secureAnswers,
    limits,
  };
  const socketDoor = createSocketDoor({ ...shared, open: bypass !== undefined });
  return { app: createStages(shared), socketDoor, secureAnswers, observer, allowances, limits: config.limits };
}

/**
 * The path of a request, one stage a line. Composing by Hono costs about 2 µs of processor time a request, some 2 % of what
 * the gate takes. The request that Hono is given is never read: node-server's listener would read target and Host itself,
 * and answer what it cannot read before any stage sees it. The path that is judged is the one of `canonicalPath`.
 */
function createStages(parts: SharedParts): Hono<GateEnv> {
  const { observer, limits, refusal, secureAnswers } = parts;
  const app = new Hono<GateEnv>();
  app.use(begin(secureAnswers));
  app.use(observer.observe);
  app.use(refuseMalformed);
  if (parts.config.policy.bypass === undefined) {
    app.use(canonicalPath(createTargetReader()));
    app.use(parts.watchSessions);
    app.use(authenticate(parts));
    app.use(limits.limit);
    app.use(authorize({ ...parts, decide: createSurfaceDecider(parts) }));
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
