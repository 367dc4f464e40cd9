/** Charges requests, tells their clients what is left, and refuses what is not covered. */
import { GatewayError } from '../errors.ts';
import type { Scope } from '../scope.ts';
import type { Allowances, Charge, LimitName, Standing } from './allowance.ts';
import { announceNoPlace, createAnnouncement } from './announce.ts';

export interface ChargingParts {
  readonly allowances: Allowances;
  readonly metrics: { limited(limit: LimitName): void };
}

export interface Charging {
  /** @throws GatewayError `rate_limit_exceeded` (or rejects with it): then nothing was charged */
  charge(scope: Scope, charges: readonly Charge[]): void | Promise<void>;
  /** @throws GatewayError `rate_limit_exceeded` */
  refusePlace(scope: Scope): never;
}

/** One for each stage that counts: what they share is the request's scope. */
export function createCharging({ allowances, metrics }: ChargingParts): Charging {
  const tell = createAnnouncement(allowances.rates);

  /** Of what several limits have left, the least is told. */
  function settle(scope: Scope, standing: Standing | undefined): void {
    if (standing === undefined) return;
    const { allowance: told } = scope;
    if (!standing.admitted || told === undefined || standing.remaining < told.remaining) scope.allowance = standing;
    if (told === undefined) scope.answerEdits = [...scope.answerEdits, (lines) => tell(lines, scope.allowance)];
    if (standing.admitted) return;
    const seconds = Math.max(1, Math.ceil(standing.moreInMs / 1000));
    refuse(scope, standing.limit, `${OF_WHOM[standing.limit]} Try again in ${seconds} s.`);
  }

  function refuse(scope: Scope, limit: LimitName, detail: string): never {
    scope.limit = limit;
    metrics.limited(limit);
    throw new GatewayError('rate_limit_exceeded', { detail });
  }

  return {
    charge(scope, charges) {
      const standing = allowances.take(charges);
      return standing instanceof Promise ? standing.then((late) => settle(scope, late)) : settle(scope, standing);
    },
    refusePlace(scope) {
      const places = allowances.concurrentChats ?? 0;
      scope.answerEdits = [...scope.answerEdits, announceNoPlace(places)];
      return refuse(scope, 'concurrent-chats', `At most ${places} of yours may run a model at the same time.`);
    },
  };
}

/** The page of Open WebUI shows this to people. */
const OF_WHOM: Record<Standing['limit'], string> = {
  address: 'This address has sent more than it may.',
  user: 'You have sent more than you may.',
  chat: 'You have asked more of models than you may.',
  organization: 'Your organization has asked more of models than it may.',
};
