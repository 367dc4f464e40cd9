/**
 * The provider door: between the backend and its providers, where the model that is about to run and the person for whom
 * it runs stand in one request. The order of its stages is one list, as at the front door.
 */
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { type MiddlewareHandler, Hono } from 'hono';
import type { Config } from '../config/schema.ts';
import { type Answering, createRefusal } from '../enforcement/answers.ts';
import { authorize } from '../enforcement/authorize.ts';
import { createJudge } from '../enforcement/judge.ts';
import { createForwardedUsers, identifyForwarded } from '../identity/forwarded-user.ts';
import { createReading } from '../reading/reading.ts';
import type { Store } from '../store/store.ts';
import { createAudit } from '../telemetry/audit.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { createObserver } from '../telemetry/observe.ts';
import type { RecentDecisions } from '../telemetry/recent-decisions.ts';
import { createHeldBodies } from '../transport/body.ts';
import { createDownstream, listenOn } from '../transport/listener.ts';
import { createUpstream } from '../transport/upstream.ts';
import { createAdmissions } from '../usage/admission.ts';
import type { Ledger } from '../usage/ledger.ts';
import { account } from './account.ts';
import { createAddresses } from './address.ts';
import { admit, createAccessKeys } from './admit.ts';
import { createProviderDecider } from './decide.ts';
import { dialectOfPath } from './endpoints.ts';
import { answerLists, createListCache } from './lists.ts';
import { createUsageAsking, prepare } from './prepare.ts';
import { createOwnKeys } from './provider-key.ts';
import { createReconciliation } from './reconcile.ts';
import { type Provider, type ProviderEnv, type ProviderScope, createProviderScope } from './scope.ts';

interface ProviderDoorParts {
  readonly config: Config;
  readonly provider: NonNullable<Config['provider']>;
  readonly usage: NonNullable<Config['usage']>;
  readonly store: Store;
  readonly ledger: Ledger;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly decisions: RecentDecisions;
}

export function createProviderDoor(parts: ProviderDoorParts) {
  const { config, provider } = parts;
  const lasting = createLastingParts(parts);
  let app = createStages(lasting);
  const reconciliation = createReconciliation(lasting);
  const downstream = createDownstream({
    handle: (incoming, outgoing) => void app.fetch(UNREAD, { incoming, outgoing }),
    refuse: (incoming, outgoing, fault) => void app.fetch(UNREAD, { incoming, outgoing, fault }),
    upgrade: (_incoming, socket) => socket.destroy(),
    mayUpgrade: () => false,
    answered: (own) => createObserver<ProviderScope>({ ...lasting, mode: config.policy.mode }).answered(own),
    limits: { idleTimeoutMs: config.upstream.idleTimeoutMs, maxHeaderBytes: config.maxHeaderBytes },
  });
  return {
    address: provider.listen,
    /** @throws the system's error (`EADDRINUSE`, …) where it cannot listen */
    listen: () => listenOn(downstream.server, provider.listen),
    reconfigure(changed: Config): void {
      app = createStages({ ...lasting, config: changed });
    },
    announceDrain: () => downstream.announceDrain(),
    async drain(): Promise<number> {
      const cut = await downstream.drain(config.drainTimeoutMs);
      await Promise.all([
        reconciliation.close(),
        ...lasting.providers.map(({ upstream }) => upstream.close()),
        lasting.reading.close(),
      ]);
      return cut;
    },
  };
}

/** The caller closes each `upstream`. */
export const connectProviders = ({ maxHeaderBytes, upstream }: Config, { providers }: ProviderDoorParts['provider']) =>
  providers.map((one): Provider => ({
    ...one,
    // a provider does not learn who asks
    upstream: { ...createUpstream({ ...upstream, ...one, maxHeaderBytes, probePath: '/' }), peerOf: undefined },
  }));

function createLastingParts(parts: ProviderDoorParts) {
  const { config, provider, log, metrics } = parts;
  const providers = connectProviders(config, provider);
  return {
    ...parts,
    log: { ...log, record: withDoor(log) },
    metrics: metricsOfDoor(metrics),
    providers,
    ownKeyOf: createOwnKeys({ ...parts, ...provider, keysSecret: config.keysSecret }),
    reading: createReading(),
    bodies: createHeldBodies(config.maxBodyBytes),
    listFor: createListCache({ freshMs: provider.listCacheMs }),
    usageAsking: createUsageAsking({ refusing: provider.noStreamOptions, warn: log.warn }),
  };
}

/** Both doors write into one log. */
const withDoor =
  (log: Log): Log['record'] =>
  (level, fields, message) =>
    log.record(level, { door: 'provider', ...fields }, message);

/** Decisions and failures count beside those of the front door; requests count apart, by provider and endpoint. */
function metricsOfDoor(metrics: Metrics) {
  const { provider } = metrics;
  return {
    ...metrics,
    requestAnswered: (status: number) => provider.requestEnded('none', 'none', { status, decision: 'none' }),
    requestEnded(
      figures: Parameters<Metrics['requestEnded']>[0],
      { provider: { url }, endpoint }: ProviderScope,
    ): void {
      metrics.inFlight(-1);
      provider.requestEnded(url.host, endpoint?.name ?? 'none', figures);
    },
    decided(...decided: Parameters<Metrics['decided']>): void {
      metrics.decided(...decided);
      provider.decided(decided[0]);
    },
  };
}

type LastingParts = ReturnType<typeof createLastingParts>;

/** Hono's `fetch` wants one: node-server's would read target and Host itself, and answer what it cannot read. */
const UNREAD = new Request('http://provider-door/');

function createStages(parts: LastingParts): Hono<ProviderEnv> {
  const { config, provider, providers, store, log, metrics } = parts;
  const { mode, denial, bypass } = config.policy;
  const { user, otherHeaders } = provider;
  const audit = createAudit({ ...parts, mode });
  const refusal = createRefusal({
    audit,
    log,
    metrics,
    denial,
    answeringOf,
    allowOrigin: () => undefined,
    upstream: 'provider',
  });
  const decide = createProviderDecider({
    ...parts,
    ...provider,
    judge: createJudge(config.policy),
    maxBodyBytes: config.maxBodyBytes,
    anonymousBodyBytes: config.maxBodyBytes,
    payerOf: (principal) => (principal.kind === 'user' ? principal.id : 'backend'),
  });
  const forwardedUser = createForwardedUsers(user);
  const identify = (scope: ProviderScope) => identifyForwarded(scope, { forwardedUser, store });
  const app = new Hono<ProviderEnv>();
  app.use(begin(providers));
  app.use(createObserver<ProviderScope>({ ...parts, mode }).observe);
  app.use(refuseMalformed);
  app.use(
    admit({
      placesOfKey: createAccessKeys(provider.accessKeys),
      readAddress: createAddresses(providers),
      identityHeaders: new Set([user.userIdHeader, user.tokenHeader, ...otherHeaders]),
    }),
  );
  const authorization = { store, identify, decide, refusal, audit, mode };
  // who pays is found out even where nothing is refused
  app.use(authorize<ProviderScope>(bypass === undefined ? authorization : { ...authorization, ...UNENFORCED }));
  app.use(answerLists(parts));
  app.use(prepare({ ...parts, userField: provider.userField }));
  app.use(
    account({
      ...parts,
      admissions: createAdmissions({ store, mode: bypass === undefined ? mode : 'report', ...parts.usage }),
      disconnect: provider.disconnect,
      chatHeader: provider.chatHeader,
      authTypeHeader: provider.authTypeHeader,
    }),
  );
  app.use(forwardTo(parts));
  app.onError((error, c) => {
    refusal.fail(c.get('scope'), error);
    return RESPONSE_ALREADY_SENT;
  });
  return app;
}

/** Nothing is refused, and nothing recorded as a decision. */
const UNENFORCED = { mode: 'report', audit: { recordDecision: () => '' } } as const;

function begin(providers: readonly Provider[]): MiddlewareHandler<ProviderEnv> {
  const [first] = providers;
  if (first === undefined) throw new TypeError('a provider door leads to at least one provider');
  return function begin(c, next) {
    const { incoming, outgoing } = c.env;
    c.set('scope', createProviderScope(incoming, outgoing, first));
    return next();
  };
}

/** What the listener found wrong is answered here, where it is observed and has a dialect. */
const refuseMalformed: MiddlewareHandler<ProviderEnv> = function refuseMalformed(c, next) {
  if (c.env.fault !== undefined) throw c.env.fault;
  return next();
};

const answeringOf = ({ endpoint, path }: ProviderScope): Answering => ({
  dialect: endpoint?.dialect ?? dialectOfPath(path),
  insteadOfDenial: undefined,
});

function forwardTo({ bodies, metrics, usageAsking }: LastingParts): MiddlewareHandler<ProviderEnv> {
  const onStream = (isOpen: boolean) => metrics.streams(isOpen ? 1 : -1);
  const events = { onStream, onUploaded: bodies.release };
  return async function forwardTo(c) {
    const scope = c.get('scope');
    scope.outcome = await usageAsking.send(scope, events);
    return RESPONSE_ALREADY_SENT;
  };
}
