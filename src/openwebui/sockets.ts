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

/**
 * - `events`: Socket.IO; no event of it runs a model, so it is tunnelled untouched.
 * - `terminal`: a shell of the backend's; no models.
 * - `realtime`: voice calls; the first frame names the caller and the chat model (routers/audio/realtime.py, 0.12.4).
 */
type SocketSurface = 'events' | 'terminal' | 'realtime';

const SOCKETS: readonly (readonly [pattern: RegExp, surface: SocketSurface])[] = [
  [/^\/ws\/socket\.io\/?$/, 'events'],
  [/^\/api\/v1\/audio\/realtime$/, 'realtime'],
  [/^\/api\/v1\/terminals\/[^/]+\/api\/terminals\/[^/]+$/, 'terminal'],
];

/** @returns undefined on every other path: `Upgrade` is dropped there and the request served as an ordinary one */
export function socketSurface(incoming: IncomingMessage): SocketSurface | undefined {
  try {
    const { path } = readTarget(incoming.url ?? '');
    return SOCKETS.find(([pattern]) => pattern.test(path))?.[1];
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

/**
 * @returns the decision by which the connection goes on, from the text of its first message, or undefined where it does
 *   not; rejects where policy cannot be read
 */
export function createRealtimeJudge(
  parts: RealtimeParts,
): (scope: Scope, text: string) => Promise<Decision | undefined> {
  return async function judgeFirstMessage(scope, text) {
    const decision = await parts.store.patiently(() => parts.store.ask(() => decideFrame(parts, scope, text)));
    // No answer carries this decision, so the log has to
    parts.audit.recordLateDecision(scope, decision);
    return decision.effect === 'permit' || parts.mode === 'report' ? decision : undefined;
  };
}

/** The token of the frame counts, not that of the handshake: it is the one that the backend reads. */
async function decideFrame(
  { store, judge, resolveToken }: RealtimeParts,
  scope: Scope,
  text: string,
): Promise<Decision> {
  const frame = parseStrictText(text);
  const { token, model_id: named } = isObject(frame) ? frame : {};
  if (typeof token !== 'string') return deny('not_authenticated');
  const model = parseModelId(named);
  if (model === undefined) return deny(named === undefined ? 'model_missing' : 'reference_unreadable');
  const view = store.current();
  const principal = await resolveToken(token, view);
  scope.principal = principal;
  if (principal.kind === 'user') await store.load(judge.needs(principal, () => [model]));
  return judge.one(store.current(), principal, model);
}
