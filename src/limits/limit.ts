/**
 * The two places where requests are counted, for both doors.
 *
 * `limit` stands after `authenticate` and counts every API request: on its user, or on its address where nobody is
 * proved; so a forged id or token is paid by the address that sent it. `limitInvocations` stands after `authorize`,
 * because only the decision says whether a model runs and which organization's grant permitted it: a denied request
 * costs its user one API request, no chat, and no organization anything. A request that starts several runs counts as
 * that many.
 *
 * Limits are no policy: `MODELGATE_MODE=report` does not switch them off. A bypassed gate has none: it asks nobody who they
 * are, and its promise is that nothing is refused.
 */
import type { MiddlewareHandler, Next } from 'hono';
import type { Principal, UserId } from '../identity/principal.ts';
import type { Decision } from '../policy/decision.ts';
import type { GateEnv, Scope } from '../scope.ts';
import type { Allowances, Charge, LimitName, Release } from './allowance.ts';
import { createCharging } from './charging.ts';
import { clientNetwork } from './client-network.ts';

export type Counted = 'nothing' | 'request' | 'sign_in';

export interface LimitParts {
  readonly allowances: Allowances;
  /** What the request counts as before anybody has looked into it. */
  readonly countedAs: (scope: Scope) => Counted;
  /** Whether the request runs a model; asked once it was decided. */
  readonly runsModel: (scope: Scope) => boolean;
  readonly clientAddress: (incoming: Scope['incoming']) => string;
  readonly metrics: {
    limited(limit: LimitName): void;
    invocationStarted(): void;
    invocationEnded(): void;
  };
}

export interface Limits {
  /** The stage after `authenticate`. */
  readonly limit: MiddlewareHandler<GateEnv>;
  /** The stage after `authorize`. */
  readonly limitInvocations: MiddlewareHandler<GateEnv>;
  /**
   * What the first stage does.
   * @param counted given by the door that knows better
   * @throws GatewayError `rate_limit_exceeded` (or rejects with it)
   */
  admit(scope: Scope, counted?: Counted): void | Promise<void>;
  /**
   * What the second stage does with a request that runs a model.
   * @returns what to call when the model's answer has ended
   * @throws GatewayError `rate_limit_exceeded` (or rejects with it)
   */
  admitInvocation(scope: Scope, decision: Decision | undefined): Release | Promise<Release>;
}

/** Guessing passwords is what the limit by address is there for, and checking one costs the backend 100 ms and more. */
const SIGN_IN_COST = 10;

/** @returns both stages, and what they do as functions for the upgrade door */
export function createLimits(parts: LimitParts): Limits {
  const { charge } = createCharging(parts);
  const admitInvocation = createInvocations(parts);

  function admit(scope: Scope, counted = parts.countedAs(scope)): void | Promise<void> {
    if (counted === 'nothing') return;
    const user = provedUser(scope.principal);
    const charges: Charge[] = user === undefined ? [] : [{ limit: 'user', key: user, cost: 1 }];
    // Also with a session: whoever has one would otherwise guess the passwords of others on it
    if (user === undefined || counted === 'sign_in') {
      const key = clientNetwork(parts.clientAddress(scope.incoming));
      charges.push({ limit: 'address', key, cost: counted === 'sign_in' ? SIGN_IN_COST : 1 });
    }
    return charge(scope, charges);
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
    limit(c, next) {
      const pending = admit(c.get('scope'));
      return pending === undefined ? next() : pending.then(next);
    },
    limitInvocations(c, next) {
      const scope = c.get('scope');
      return parts.runsModel(scope) ? invoke(scope, next) : next();
    },
  };
}

/** The place comes first, and goes back if the charge is refused: what is refused has cost nothing. */
function createInvocations({ allowances, metrics }: LimitParts): Limits['admitInvocation'] {
  const { charge, refusePlace } = createCharging({ allowances, metrics });

  function chargeFor(
    scope: Scope,
    decision: Decision | undefined,
    place: Release | undefined,
  ): Release | Promise<Release> {
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

  return function admitInvocation(scope, decision) {
    const user = provedUser(scope.principal);
    const place = user === undefined ? NOBODYS : allowances.occupy(user, scope.runs);
    return place instanceof Promise
      ? place.then((late) => chargeFor(scope, decision, late))
      : chargeFor(scope, decision, place);
  };
}

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

/** Only a reported denial runs a model for nobody. */
const NOBODYS: Release = () => undefined;

/** While the database cannot be read, the user whom a token names is proved by its signature alone. */
export function provedUser(principal: Principal): UserId | undefined {
  if (principal.kind === 'user') return principal.id;
  return principal.kind === 'unresolved' ? principal.claimed : undefined;
}
