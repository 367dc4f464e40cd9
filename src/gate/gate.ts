/**
 * The composition root, and the first file to read: which parts there are, and the one place where the order of the
 * stages stands. Both doors are here, `handle` for requests and `upgrade` for WebSockets.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { isDeepStrictEqual } from 'node:util';
import type { MiddlewareHandler } from 'hono';
import { Hono } from 'hono';
import type { Config } from '../config/schema.ts';
import type { Refusal } from '../enforcement/answers.ts';
import { createRefusal } from '../enforcement/answers.ts';
import { authorize, createSurfaceDecider } from '../enforcement/authorize.ts';
import { filterModels } from '../enforcement/filter-models.ts';
import type { Judge, ProviderModels } from '../enforcement/judge.ts';
import { createJudge, createProviderModels } from '../enforcement/judge.ts';
import type { ListReading } from '../enforcement/list-reading.ts';
import { createListReading } from '../enforcement/list-reading.ts';
import type { Identity } from '../identity/authenticate.ts';
import { authenticate, createIdentity, identify } from '../identity/authenticate.ts';
import type { Allowances } from '../limits/allowance.ts';
import type { Limits } from '../limits/limits.ts';
import { createLimits, provedUser } from '../limits/limits.ts';
import { createMemoryAllowances } from '../limits/memory.ts';
import type { ChatOrder } from '../openwebui/chat-order.ts';
import { createChatOrder } from '../openwebui/chat-order.ts';
import { countedAs, runsModel } from '../openwebui/endpoints.ts';
import { socketSurface } from '../openwebui/sockets.ts';
import { canonicalPath, createTargetReader } from '../openwebui/target.ts';
import type { Decision } from '../policy/decision.ts';
import type { Reading } from '../reading/reading.ts';
import { createReading } from '../reading/reading.ts';
import type { Store } from '../store/store-view.ts';
import type { Audit } from '../telemetry/audit.ts';
import { createAudit } from '../telemetry/audit.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Observer } from '../telemetry/observe.ts';
import { createUntrustedProxyWarning, createObserver } from '../telemetry/observe.ts';
import type { RecentDecisions } from '../telemetry/recent-decisions.ts';
import { createClientAddress, createPeerLookup } from '../transport/client.ts';
import type { HeldBodies } from '../transport/body.ts';
import { createHeldBodies } from '../transport/body.ts';
import { createDownstream, listenOn } from '../transport/listener.ts';
import type { Upstream } from '../transport/upstream.ts';
import { createUpstream } from '../transport/upstream.ts';
import type { SecureAnswers } from './answer-headers.ts';
import { createSecureAnswers } from './answer-headers.ts';
import type { GateEnv, Scope } from './scope.ts';
import { createSessionWatch } from './session-watch.ts';
import { createSocketDoor } from './socket-door.ts';
import { ANSWERED, begin, forwardTo, inOrder, letThrough, refuseMalformed } from './stages.ts';

export interface GateParts {
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
   * From the next request on: modes, denial, access, answers, limits, trusted proxies. Whatever else differs is not
   * looked at. Counts start anew only where limits differ.
   */
  reconfigure(changed: Config): void;
  /** Why the backend does not answer, undefined where it does; never rejects. */
  upstreamProblem(): Promise<string | undefined>;
  /** Why nobody who signs in is known to the gate; undefined while that is not known to be so. */
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
    // Stages use the raw request alone: node-server's reading of the target would hide spellings that must be judged
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
  const refusal = createRefusal({ audit, log, metrics, denial, allowOrigin: secureAnswers.allowOrigin });
  const clientAddress = createClientAddress(config.trustedProxies, createUntrustedProxyWarning(log));
  const limits = createLimits({ allowances, clientAddress, countedAs, runsModel, metrics });
  const shared = { ...lasting, upstream, judge, audit, observer, refusal, secureAnswers, limits, mode };
  const socketDoor = createSocketDoor({
    ...shared,
    record: (scope, decision) => audit.recordLateDecision(scope, decision),
    open: bypass !== undefined,
  });
  return { app: createStages(shared), socketDoor, secureAnswers, observer, allowances, limits: config.limits };
}

/** The path of a request, one stage a line. */
function createStages(parts: SharedParts) {
  const { config, store, metrics, upstream, identity, judge, audit, observer } = parts;
  const { refusal, secureAnswers, limits, order, reading, lists, bodies, watchSessions } = parts;
  const { mode, bypass } = config.policy;
  const { maxBodyBytes } = config;
  const decideOnce = createSurfaceDecider({ store, judge, order, reading, bodies, maxBodyBytes, payerOf: provedUser });
  const identifyAndDecide = async (scope: Scope) => {
    await identify(scope, { identity, store });
    return decideOnce(scope);
  };
  const decideSurface = async (scope: Scope) =>
    store.patiently(() => (scope.isPrincipalCurrent ? decideOnce(scope) : identifyAndDecide(scope)));
  const record = (scope: Scope, decision: Decision) => audit.recordDecision(scope, decision, scope.decisionMs);
  const onStream = (isOpen: boolean) => (isOpen ? metrics.streamOpened() : metrics.streamClosed());

  // Hono is not asked to read a path: which stage looks at it how stands in `canonicalPath` alone
  const app = new Hono<GateEnv>({ getPath: () => '/' });
  const judged = [
    canonicalPath(createTargetReader()),
    watchSessions,
    authenticate({ identity, store }),
    limits.limit,
    authorize({ decideSurface, mode, refuse: (scope, denial) => refusal.deny(scope, denial), record }),
    limits.limitInvocations,
    filterModels({ store, judge, lists, mode, ...audit }),
  ];
  const checked = bypass === undefined ? judged : [letThrough];
  app.use(
    inOrder([
      begin(secureAnswers),
      observer.observe,
      refuseMalformed,
      ...checked,
      forwardTo(upstream, onStream, bodies),
    ]),
  );
  app.onError((error, c) => {
    refusal.fail(c.get('scope'), error);
    return ANSWERED;
  });
  return app;
}
