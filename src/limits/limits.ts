/**
 * The two places where requests are counted, for both doors.
 *
 * `limit` comes after `authenticate` and counts every API request: on its user, or on its address where no user is proved;
 * so a forged id or token is paid by the address that sent it. `limitInvocations` comes after `authorize`, because only the
 * decision says whether a model runs and which organization's grant permitted it: a denied request costs its user one API
 * request, no chat, and no organization anything. A request that starts several runs counts as that many.
 *
 * Limits are no policy: `MODELGATE_MODE=report` does not switch them off. A bypassed gate has none: it identifies no user,
 * and it promises that nothing is refused.
 */
import type { Context, Next } from 'hono';
import { GatewayError } from '../errors.ts';
import type { GateEnv, Scope } from '../gate/scope.ts';
import type { Principal, UserId } from '../identity/principal.ts';
import type { Decision } from '../policy/decision.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { clientNetwork } from '../transport/client.ts';
import type { Allowances, Charge, LimitName, Release, Standing } from './allowance.ts';
import { announceNoPlace, createAnnouncement } from './headers.ts';

interface LimitParts {
  readonly allowances: Allowances;
  /** What the request counts as before its body is looked at. */
  readonly countedAs: (scope: Scope) => 'nothing' | 'request' | 'sign_in';
  /** Whether the request runs a model; asked once it was decided. */
  readonly runsModel: (scope: Scope) => boolean;
  readonly clientAddress: (incoming: Scope['incoming']) => string;
  readonly metrics: Pick<Metrics, 'limited' | 'invocationStarted' | 'invocationEnded'>;
}

/** Guessing passwords is what the limit by address is there for, and checking one costs the backend 100 ms and more. */
const SIGN_IN_COST = 10;

export type Limits = ReturnType<typeof createLimits>;

/** @returns both stages, and what they do as functions for the upgrade door */
export function createLimits(parts: LimitParts) {
  const charging = createCharging(parts);
  const admitInvocation = createInvocations(parts, charging);

  /**
   * What the first stage does.
   *
   * @param counted given by the door that knows better
   * @throws GatewayError `rate_limit_exceeded` (or rejects with it)
   */
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

  /** However the answer ends, `next` is settled then: sent, cut, refused, or the client gone. */
  async function invoke(scope: Scope, next: Next): Promise<void> {
    const admitted = admitInvocation(scope, scope.decision);
    const release = admitted instanceof Promise ? await admitted : admitted;
    try {
      await next();
    } finally {
      release();
    }
  }

  return {
    admit,
    admitInvocation,
    /** The stage after `authenticate`. */
    limit(c: Context<GateEnv>, next: Next): Promise<void> {
      const pending = admit(c.get('scope'));
      return pending === undefined ? next() : pending.then(next);
    },
    /** The stage after `authorize`. */
    limitInvocations(c: Context<GateEnv>, next: Next): Promise<void> {
      const scope = c.get('scope');
      return parts.runsModel(scope) ? invoke(scope, next) : next();
    },
  };
}

/** The place comes first, and goes back if the charge is refused: what is refused has cost nothing. */
function createInvocations({ allowances, metrics }: LimitParts, { charge, refusePlace }: Charging) {
  function chargeFor(scope: Scope, decision: Decision | undefined, place?: Release): Release | Promise<Release> {
    if (place === undefined) return refusePlace(scope);
    const giveBack = (error: unknown): never => {
      place();
      throw error;
    };
    try {
      const pending = charge(scope, invocationCharges(scope, decision));
      return pending === undefined ? started(place) : pending.then(() => started(place), giveBack);
    } catch (error) {
      return giveBack(error);
    }
  }

  function started(place: Release): Release {
    metrics.invocationStarted();
    let isRunning = true;
    return () => {
      if (!isRunning) return;
      isRunning = false;
      place();
      metrics.invocationEnded();
    };
  }

  /**
   * What the second stage does with a request that runs a model.
   *
   * @returns what to call when the model's answer has ended
   * @throws GatewayError `rate_limit_exceeded` (or rejects with it)
   */
  return function admitInvocation(scope: Scope, decision: Decision | undefined): Release | Promise<Release> {
    const user = provedUser(scope.principal);
    const place = user === undefined ? NO_PLACE_NEEDED : allowances.occupy(user, scope.runs);
    return place instanceof Promise
      ? place.then((late) => chargeFor(scope, decision, late))
      : chargeFor(scope, decision, place);
  };
}

/** Without a user only a denial that is reported, and not enforced, runs a model. */
const NO_PLACE_NEEDED: Release = () => undefined;

/** Without a grant, as for images and speech, there is no organization to charge. */
function invocationCharges({ principal, runs, runsByOrganization }: Scope, decision: Decision | undefined): Charge[] {
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

/** While the database cannot be read, the user whom a token names is proved by its signature alone. */
export function provedUser(principal: Principal): UserId | undefined {
  if (principal.kind === 'user') return principal.id;
  return principal.kind === 'unresolved' ? principal.claimed : undefined;
}

type Charging = ReturnType<typeof createCharging>;

/** Charges requests, announces to their clients what is left, and refuses what is not covered. */
function createCharging({ allowances, metrics }: LimitParts) {
  const announce = createAnnouncement(allowances.rates);

  /** Of several limits the one with least left is announced. */
  function settle(scope: Scope, standing: Standing | undefined): void {
    if (standing === undefined) return;
    const { allowance: announced } = scope;
    if (!standing.admitted || announced === undefined || standing.remaining < announced.remaining) {
      scope.allowance = standing;
    }
    if (announced === undefined)
      scope.answerEdits = [...scope.answerEdits, (lines) => announce(lines, scope.allowance)];
    if (standing.admitted) return;
    const seconds = Math.max(1, Math.ceil(standing.moreInMs / 1000));
    refuse(scope, standing.limit, `${EXCEEDED[standing.limit]} Try again in ${seconds} s.`);
  }

  function refuse(scope: Scope, limit: LimitName, detail: string): never {
    scope.limit = limit;
    metrics.limited(limit);
    throw new GatewayError('rate_limit_exceeded', { detail });
  }

  return {
    /** @throws GatewayError `rate_limit_exceeded` (or rejects with it): then nothing was charged */
    charge(scope: Scope, charges: readonly Charge[]): void | Promise<void> {
      const standing = allowances.take(charges);
      return standing instanceof Promise ? standing.then((late) => settle(scope, late)) : settle(scope, standing);
    },
    /** @throws GatewayError `rate_limit_exceeded` */
    refusePlace(scope: Scope): never {
      const places = allowances.concurrentChats ?? 0;
      scope.answerEdits = [...scope.answerEdits, announceNoPlace(places)];
      return refuse(scope, 'concurrent-chats', `At most ${places} of yours may run a model at the same time.`);
    },
  };
}

/** The page of Open WebUI shows this to people. */
const EXCEEDED: Record<Standing['limit'], string> = {
  address: 'This address has sent more than it may.',
  user: 'You have sent more than you may.',
  chat: 'You have asked more of models than you may.',
  organization: 'Your organization has asked more of models than it may.',
};
