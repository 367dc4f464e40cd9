/** Watches the sessions that the backend issues: what clients send can be forged, and proves nothing. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Identity, orUndefined } from '../identity/authenticate.ts';
import type { TokenFault } from '../identity/session-token.ts';
import { watchIssuedSessions } from '../openwebui/endpoints.ts';
import type { Store } from '../store/store.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';

interface SessionWatchParts {
  readonly identity: Pick<Identity, 'faultOf' | 'resolveToken'>;
  readonly store: Pick<Store, 'ask' | 'current' | 'patiently' | 'health'>;
  readonly log: Pick<Log, 'sparingly'>;
  readonly metrics: Pick<Metrics, 'sessionIssued' | 'identityProblem'>;
}

export function createSessionWatch(parts: SessionWatchParts) {
  const { log, metrics } = parts;
  let last: SessionFault | undefined;
  let issued = 0;
  let judged = 0;
  const judge = async (token: string): Promise<void> => {
    const number = ++issued;
    const fault = await faultOfIssued(token, parts);
    metrics.sessionIssued(fault);
    if (fault !== undefined) log.sparingly('error', fault, { fault }, FAULTS[fault]);
    if (number < judged) return;
    judged = number;
    if (fault === undefined && last !== undefined) log.sparingly('warn', 'known', {}, KNOWN_AGAIN);
    last = fault;
    metrics.identityProblem(fault !== undefined);
  };
  return {
    stage: watchIssuedSessions((token) => void judge(token)),
    /** Undefined while nothing is known to be wrong. */
    problem: () => (last === undefined ? undefined : FAULTS[last]),
  };
}

const KNOWN_AGAIN = 'the sessions that the backend issues are known to the gate again';
type SessionFault = TokenFault | 'user_missing';

const sentence = (what: string): string =>
  `The backend just issued a session ${what}. No user who signs in is known to the gate.`;

const FAULTS: Readonly<Record<SessionFault, string>> = {
  other_key: sentence("that this gate cannot verify: WEBUI_SECRET_KEY is not the backend's"),
  unknown_form: sentence('in a form that this modelgate does not know: the backend may be newer than it'),
  early: sentence("that begins in the future: the clock of the backend is ahead of this machine's"),
  over: sentence("that is over already: the clock of this machine is ahead of the backend's"),
  user_missing: sentence("of a user whom the gate's database does not have: DATABASE_URL is not the backend's"),
};

/** What another connection has just written may be seen a moment later. */
const LOOK_AGAIN_MS = 1_000;

/** @returns undefined where the gate knows its user, and where that cannot be found out now */
async function faultOfIssued(token: string, { identity, store }: SessionWatchParts): Promise<SessionFault | undefined> {
  const isUserMissing = async (): Promise<boolean> => {
    const view = () => orUndefined(() => store.current());
    const principal = await store.patiently(() => store.ask(() => identity.resolveToken(token, view())));
    const isUnknown = principal.kind === 'anonymous' && principal.because === 'user_unknown';
    return isUnknown && (await store.health()).problem === undefined;
  };
  const fault = await identity.faultOf(token);
  if (fault !== undefined || !(await isUserMissing())) return fault;
  await sleep(LOOK_AGAIN_MS, undefined, { ref: false });
  return (await isUserMissing()) ? 'user_missing' : undefined;
}
