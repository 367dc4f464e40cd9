/** The last decisions, found again by the id that the client has received. */
import type { Decision } from '../policy/decision.ts';
import type { Principal } from '../policy/principal.ts';
import type { TransportScope } from '../transport/exchange.ts';

export type Mode = 'enforce' | 'report';

/** What is logged of a request, in the words of the rooms that write it. */
export interface TelemetryScope extends Pick<TransportScope, 'requestId' | 'incoming' | 'outgoing' | 'outcome'> {
  readonly startedAt: number;
  readonly path: string;
  readonly surface: { readonly kind: string };
  readonly principal: Principal;
  readonly limit: string | undefined;
  readonly failure: { readonly code: string; readonly cause: string | undefined } | undefined;
  /** What a call to a provider has used, for the access line. */
  usage?: Readonly<Record<string, string | number | undefined>> | undefined;
  /** The first denial or the last permit. */
  decision: Decision | undefined;
  decisionId: string | undefined;
  decisionEnd: ReturnType<RecentDecisions['keep']> | undefined;
}

export type DecisionRecord = ReturnType<typeof toRecord>;

export interface NoRecord {
  readonly why: 'malformed' | 'gone';
  readonly kept: number;
  readonly since: string;
}

const MOST = 10_000;
const MOST_ORGANIZATIONS = 20;
/** An id of a model may have 1,024 characters; these are enough to know it by. */
const LONGEST = 256;
const ID = /^d-[0-9a-hjkmnp-tv-z]{10}$/;
export type RecentDecisions = ReturnType<typeof createRecentDecisions>;

/** The last 10,000 decisions of ordinary requests take 5 MB, the longest possible 20. */
export function createRecentDecisions(redact: (text: string) => string, most = MOST) {
  // a ring without an index: a look-up reads all of it, and is rare; what is kept costs every request
  const ring: Kept[] = [];
  let next = 0;
  const startedAt = Date.now();
  return {
    keep(...made: Parameters<typeof toKept>): Pick<Kept, 'status' | 'duration_ms'> {
      const kept = toKept(...made);
      ring[next] = kept;
      next = (next + 1) % most;
      return kept;
    },
    /** @param text as a person has typed it: letter case, and o for 0, do not matter */
    find(text: string): DecisionRecord | NoRecord {
      const id = asWritten(text);
      const kept = ring.find((one) => one.id === id);
      if (kept !== undefined) return JSON.parse(redact(JSON.stringify(toRecord(kept)))) as DecisionRecord;
      const oldest = ring[ring.length < most ? 0 : next];
      const why = ID.test(id) ? 'gone' : 'malformed';
      return { why, kept: ring.length, since: toIso(oldest?.at ?? startedAt) };
    },
  };
}

type Kept = ReturnType<typeof toKept>;
const UNCHAINED: readonly string[] = [];

function toKept(id: string, scope: TelemetryScope, decision: Decision, organizations: readonly string[], mode: Mode) {
  const { effect, reason, model, chain } = decision;
  return {
    id,
    at: Date.now(),
    decision: effect,
    reason,
    enforced: effect === 'permit' || mode === 'enforce',
    principal: scope.principal,
    organizations: effect === 'permit' ? null : organizations.slice(0, MOST_ORGANIZATIONS),
    model: model === undefined ? null : bounded(model),
    chain: chain.length > 1 ? chain.map(bounded) : UNCHAINED,
    grant: (effect === 'permit' ? decision.grant : undefined) ?? null,
    request_id: scope.requestId,
    method: scope.incoming.method ?? '',
    path: bounded(pathOf(scope)),
    status: null as number | null,
    duration_ms: null as number | null,
  };
}

const toRecord = ({ id, at, decision, reason, enforced, principal, ...rest }: Kept) => ({
  id,
  at: toIso(at),
  decision,
  reason,
  enforced,
  user: principal.kind === 'user' ? { id: principal.id, role: principal.role } : null,
  anonymous: principal.kind === 'anonymous' ? principal.because : null,
  ...rest,
});

const toIso = (ms: number): string => new Date(ms).toISOString();

/** Crockford's base 32 takes o for 0, and i and l for 1. */
const asWritten = (text: string): string => text.trim().toLowerCase().replaceAll('o', '0').replaceAll(/[il]/g, '1');

/** A piece of a text keeps all of that in memory (V8); joining copies it. */
function bounded(text: string): string {
  const shown = text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
  return ` ${shown}`.slice(1);
}

const LONGEST_PATH = 512;

/** The path that was judged, or else the one that was sent, without its query. */
export function pathOf({
  path = '',
  incoming,
}: {
  path?: string;
  incoming: Pick<TransportScope['incoming'], 'url'>;
}): string {
  const shown = path === '' ? ((incoming.url ?? '').split('?', 1)[0] ?? '') : path;
  return shown.length > LONGEST_PATH ? `${shown.slice(0, LONGEST_PATH)}…` : shown;
}
