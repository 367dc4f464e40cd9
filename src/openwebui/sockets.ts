/** Which paths are sockets, and what a socket that runs a model must say in its first frame. */
import type { IncomingMessage } from 'node:http';
import type { Judge } from '../enforcement/judge.ts';
import type { Scope } from '../gate/scope.ts';
import type { Principal } from '../identity/principal.ts';
import { type Decision, deny } from '../policy/decision.ts';
import { parseModelId } from '../policy/grant.ts';
import { isObject, parseStrictText } from '../references/json.ts';
import type { Store, StoreView } from '../store/store-view.ts';
import type { Audit } from '../telemetry/audit.ts';
import { readTarget } from './target.ts';

const SOCKETS = {
  /** Socket.IO; no event of it runs a model, so it is tunnelled untouched. */
  events: /^\/ws\/socket\.io\/?$/,
  /** Voice calls; the first frame names the caller and the chat model (routers/audio/realtime.py, 0.12.4). */
  realtime: /^\/api\/v1\/audio\/realtime$/,
  terminal: /^\/api\/v1\/terminals\/[^/]+\/api\/terminals\/[^/]+$/,
};

/** @returns undefined on every other path: `Upgrade` is dropped there and the request served as an ordinary one */
export function socketSurface(incoming: IncomingMessage): string | undefined {
  try {
    const { path } = readTarget(incoming.url ?? '');
    return Object.entries(SOCKETS).find(([, pattern]) => pattern.test(path))?.[0];
  } catch {
    // An ambiguous target is refused by the ordinary door, in the caller's dialect
    return undefined;
  }
}

export interface RealtimeParts {
  readonly store: Pick<Store, 'ask' | 'current' | 'failures' | 'load' | 'patiently'>;
  readonly judge: Judge;
  readonly resolveToken: (token: string, view: StoreView) => Principal | Promise<Principal>;
  readonly audit: Pick<Audit, 'recordLateDecision'>;
  readonly mode: 'enforce' | 'report';
}

/** @returns what gives the decision by which the connection goes on, or undefined; rejects where policy cannot be read */
export function createRealtimeJudge({ store, judge, resolveToken, audit, mode }: RealtimeParts) {
  /** The token of the frame counts, not that of the handshake: it is the one that the backend reads. */
  async function decideFrame(scope: Scope, text: string): Promise<Decision> {
    const frame = parseStrictText(text);
    const { token, model_id: named } = isObject(frame) ? frame : {};
    if (typeof token !== 'string') return deny('not_authenticated');
    const model = parseModelId(named);
    if (model === undefined) return deny(named === undefined ? 'model_missing' : 'reference_unreadable');
    const principal = await resolveToken(token, store.current());
    scope.principal = principal;
    if (principal.kind === 'user') await store.load(judge.needs(principal, () => [model]));
    return judge.one(store.current(), principal, model);
  }
  return async function judgeFirstMessage(scope: Scope, text: string): Promise<Decision | undefined> {
    const decision = await store.patiently(() => store.ask(() => decideFrame(scope, text)));
    // No answer carries this decision, so the log has to
    audit.recordLateDecision(scope, decision);
    return decision.effect === 'permit' || mode === 'report' ? decision : undefined;
  };
}
