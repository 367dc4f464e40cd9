/**
 * Watches the sessions that the backend issues through the gate: where one of them is nobody's here, every sign-in
 * succeeds and then sees no model, and only the gate can know why.
 */
import type { MiddlewareHandler } from 'hono';
import { watchIssuedSessions } from './enforcement/session-issuers.ts';
import type { Identity } from './identity/authenticate.ts';
import type { SessionFault } from './identity/issued-session.ts';
import { faultOfIssued, FAULTS } from './identity/issued-session.ts';
import type { GateEnv } from './scope.ts';
import type { Store } from './store/store-view.ts';
import type { Log } from './telemetry/log.ts';
import type { Metrics } from './telemetry/metrics.ts';

export interface SessionWatchParts {
  readonly identity: Identity;
  readonly store: Store;
  readonly log: Pick<Log, 'sparingly'>;
  readonly metrics: Pick<Metrics, 'sessionIssued' | 'identityProblem'>;
}

export interface SessionWatch {
  readonly stage: MiddlewareHandler<GateEnv>;
  /** What was wrong with the last session that was issued, in a sentence; undefined while nothing is known to be. */
  problem(): string | undefined;
}

/** @returns the stage and what it has found; a token is kept nowhere, and never reaches the log */
export function createSessionWatch({ identity, store, log, metrics }: SessionWatchParts): SessionWatch {
  let last: SessionFault | undefined;
  let issued = 0;
  let judged = 0;
  const judge = async (token: string): Promise<void> => {
    const number = ++issued;
    const fault = await faultOfIssued(token, identity, store);
    metrics.sessionIssued(fault);
    if (fault !== undefined) log.sparingly('error', fault, { fault }, FAULTS[fault]);
    // some take longer than others: the youngest says how things are
    if (number < judged) return;
    judged = number;
    if (fault === undefined && last !== undefined) log.sparingly('warn', 'known', {}, KNOWN_AGAIN);
    last = fault;
    metrics.identityProblem(fault !== undefined);
  };
  return {
    stage: watchIssuedSessions((token) => void judge(token)),
    problem: () => (last === undefined ? undefined : FAULTS[last]),
  };
}

const KNOWN_AGAIN = 'the sessions that the backend issues are known to the gate again';
