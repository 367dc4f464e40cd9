/** A forged token is paid by the address that sent it. Report mode does not switch limits off; a bypass does. */
import type { Next } from 'hono';
import { GatewayError } from '../errors.ts';
import type { Decision } from '../policy/decision.ts';
import { type Principal, provedUser } from '../policy/principal.ts';
import type { Stage } from '../stage.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { clientNetwork } from '../transport/client.ts';
import type { TransportScope } from '../transport/exchange.ts';
import { type RateName, type Rates, type Standing, announceNoPlace, createAnnouncement } from './headers.ts';

export interface Charge {
  readonly limit: RateName;
  readonly key: string;
  /** More than a limit ever has at once count as all that it has. */
  readonly cost: number;
}

export type Release = () => void;

/** Without `release` there was no place, or `standing` refuses, and then nothing was taken. */
export interface Start {
  readonly release?: Release | undefined;
  readonly standing?: Standing | undefined;
}

/** The counter of requests: in this process, or shared by several replicas, which may answer by promises. */
export interface Allowances {
  readonly rates: Rates;
  readonly concurrentChats: number | undefined;
  /** All or none, as in nginx. @returns the limit that refused (the longest wait), or that has least left */
  take(charges: readonly Charge[]): Standing | undefined | Promise<Standing | undefined>;
  /** Takes places for models that run at the same time, and charges for them: all or nothing. */
  start(user: string, places: number, charges: readonly Charge[]): Start | Promise<Start>;
}

export interface LimitsScope extends Pick<TransportScope, 'incoming' | 'answerEdits'> {
  readonly principal: Principal;
  readonly decision: Decision | undefined;
  /** How many runs of models the request starts, if it starts any. */
  readonly runs: number;
  /** Where several runs or models are named: how many each organization's grants permitted. */
  readonly runsByOrganization: ReadonlyMap<string, number> | undefined;
  allowance: Standing | undefined;
  /** What the limits by user and address say of it, where a later stage waits for it. */
  admission: Promise<void> | undefined;
  limit: RateName | 'concurrent-chats' | undefined;
}

interface LimitParts<Scope> {
  readonly allowances: Allowances;
  readonly countedAs: (scope: Scope) => 'nothing' | 'request' | 'sign_in';
  readonly runsModel: (scope: Scope) => boolean;
  /** Whether `authorize` waits for `admission`: the database is asked meanwhile. */
  readonly isAwaitedLater?: (scope: Scope) => boolean;
  readonly clientAddress: (incoming: LimitsScope['incoming']) => string;
  readonly metrics: Pick<Metrics, 'limited' | 'invocations'>;
}

/** The limit by address stops the guessing of passwords, and checking one costs the backend 100 ms and more. */
const SIGN_IN_COST = 10;
export type Limits<Scope extends LimitsScope> = ReturnType<typeof createLimits<Scope>>;

/** @returns both stages, and what they do as functions for the socket door */
export function createLimits<Scope extends LimitsScope>(parts: LimitParts<Scope>) {
  const charging = createCharging(parts);
  const admitInvocation = createInvocations(parts, charging);
  /** @throws GatewayError `rate_limit_exceeded` (or rejects with it) */
  function admit(scope: Scope, counted = parts.countedAs(scope)): void | Promise<void> {
    if (counted === 'nothing') return;
    const user = provedUser(scope.principal);
    const charges: Charge[] = user === undefined ? [] : [{ limit: 'user', key: user, cost: 1 }];
    // With a session too: it would otherwise be a way to guess the passwords of others
    if (user === undefined || counted === 'sign_in') {
      const key = clientNetwork(parts.clientAddress(scope.incoming));
      charges.push({ limit: 'address', key, cost: counted === 'sign_in' ? SIGN_IN_COST : 1 });
    }
    return charging.charge(scope, charges);
  }
  async function invoke(scope: Scope, next: Next): Promise<void> {
    const release = await admitInvocation(scope, scope.decision);
    try {
      await next();
    } finally {
      release();
    }
  }
  const limit: Stage<Scope> = (c, next) => {
    const scope = c.get('scope');
    const pending = admit(scope);
    if (pending === undefined) return next();
    if (parts.isAwaitedLater?.(scope) !== true) return pending.then(next);
    scope.admission = pending;
    // it may be refused before it is waited for
    pending.catch(() => undefined);
    return next();
  };
  const limitInvocations: Stage<Scope> = (c, next) => {
    const scope = c.get('scope');
    return parts.runsModel(scope) ? invoke(scope, next) : next();
  };
  return { admit, admitInvocation, limit, limitInvocations };
}

type ChargingParts = Omit<LimitParts<LimitsScope>, 'countedAs' | 'runsModel' | 'isAwaitedLater'>;

function createInvocations(
  { allowances, metrics }: ChargingParts,
  { settle, refuse }: ReturnType<typeof createCharging>,
) {
  /** @returns what to call when the answer has ended */
  return async function admitInvocation(scope: LimitsScope, decision: Decision | undefined): Promise<Release> {
    const user = provedUser(scope.principal);
    const charges = invocationCharges(scope, decision);
    // Without a user only a denial that is reported, and not enforced, runs a model
    const { release, standing }: Start =
      user === undefined
        ? { release: () => undefined, standing: await allowances.take(charges) }
        : await allowances.start(user, scope.runs, charges);
    settle(scope, standing);
    if (release === undefined) {
      const places = allowances.concurrentChats ?? 0;
      scope.answerEdits = [...scope.answerEdits, announceNoPlace(places)];
      return refuse(scope, 'concurrent-chats', `At most ${places} of yours may run a model at the same time.`);
    }
    metrics.invocations(1);
    let isRunning = true;
    return () => {
      if (!isRunning) return;
      isRunning = false;
      release();
      metrics.invocations(-1);
    };
  };
}

/** Without a grant, as for images and speech, there is no organization to charge. */
function invocationCharges(
  { principal, runs, runsByOrganization }: LimitsScope,
  decision: Decision | undefined,
): Charge[] {
  const user = provedUser(principal);
  const charges: Charge[] = user === undefined ? [] : [{ limit: 'chat', key: user, cost: runs }];
  if (runsByOrganization !== undefined) {
    for (const [key, cost] of runsByOrganization) charges.push({ limit: 'organization', key, cost });
    return charges;
  }
  const organization = decision?.effect === 'permit' ? decision.grant?.organization : undefined;
  if (organization !== undefined) charges.push({ limit: 'organization', key: organization, cost: 1 });
  return charges;
}

function createCharging({ allowances, metrics }: ChargingParts) {
  const announce = createAnnouncement(allowances.rates);
  function refuse(scope: LimitsScope, limit: NonNullable<LimitsScope['limit']>, detail: string): never {
    scope.limit = limit;
    metrics.limited(limit);
    throw new GatewayError('rate_limit_exceeded', { detail });
  }
  function settle(scope: LimitsScope, standing: Standing | undefined): void {
    if (standing === undefined) return;
    const { allowance: known } = scope;
    if (!standing.admitted || known === undefined || standing.remaining < known.remaining) scope.allowance = standing;
    if (known === undefined) scope.answerEdits = [...scope.answerEdits, (lines) => announce(lines, scope.allowance)];
    if (standing.admitted) return;
    const seconds = Math.max(1, Math.ceil(standing.moreInMs / 1000));
    refuse(scope, standing.limit, `${EXCEEDED[standing.limit]} Try again in ${seconds} s.`);
  }
  function charge(scope: LimitsScope, charges: readonly Charge[]): void | Promise<void> {
    const standing = allowances.take(charges);
    return standing instanceof Promise ? standing.then((late) => settle(scope, late)) : settle(scope, standing);
  }
  return { charge, settle, refuse };
}

const EXCEEDED: Record<RateName, string> = {
  address: 'This address has sent more than it may.',
  user: 'You have sent more than you may.',
  chat: 'You have asked more of models than you may.',
  organization: 'Your organization has asked more of models than it may.',
};
