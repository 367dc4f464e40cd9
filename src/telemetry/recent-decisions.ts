/**
 * The last decisions of this gate in memory, so that an id which a client has received can be explained. It holds what
 * the access line has and a little more: never a credential, a query string or a byte of a body.
 */
import type { AnonymousPrincipal } from '../identity/principal.ts';
import type { Decision, DenyReason, PermitReason } from '../policy/decision.ts';
import type { Scope } from '../gate/scope.ts';

/** What is known of a decision; absent things are null. */
export interface DecisionRecord {
  readonly id: string;
  /** ISO 8601, UTC. */
  readonly at: string;
  readonly decision: Decision['effect'];
  readonly reason: PermitReason | DenyReason;
  /** False where a denial was only reported (`MODELGATE_MODE=report`). */
  readonly enforced: boolean;
  /** Null for an anonymous request. */
  readonly user: { readonly id: string; readonly role: string } | null;
  readonly anonymous: AnonymousPrincipal['because'] | null;
  /** Of a denial: those that gave the user anything, at most 20; null for a permit, whose grant names its own. */
  readonly organizations: readonly string[] | null;
  readonly model: string | null;
  readonly chain: readonly string[];
  readonly grant: { readonly organization: string; readonly pattern: string } | null;
  readonly request_id: string;
  readonly method: string;
  /** Without its query. */
  readonly path: string;
  /** Null while the request runs. */
  readonly status: number | null;
  readonly duration_ms: number | null;
}

/** Why there is no record. */
export interface NoRecord {
  readonly why: 'malformed' | 'gone';
  /** How many are kept. */
  readonly kept: number;
  /** When the oldest of them was made, or else when the gate started; ISO 8601, UTC. */
  readonly since: string;
}

interface RecentDecisionsOptions {
  /** Blanks out what looks like a secret, as in the log. */
  readonly redact: (text: string) => string;
  /** How many are kept. */
  readonly most?: number;
}

type Mode = 'enforce' | 'report';

const MOST = 10_000;
const MOST_ORGANIZATIONS = 20;
/** An id of a model may have 1,024 characters; these are enough to know it by. */
const LONGEST = 256;
const NONE: readonly string[] = [];
const ID = /^d-[0-9a-hjkmnp-tv-z]{10}$/;

export type RecentDecisions = ReturnType<typeof createRecentDecisions>;

/** @returns an empty record; the last 10,000 decisions of ordinary requests take 5 MB, the longest possible 20 */
export function createRecentDecisions({ redact, most = MOST }: RecentDecisionsOptions) {
  // a ring without an index: a look-up reads all of it, and is rare; what is kept costs every request
  const ring: Kept[] = [];
  let next = 0;
  const startedAt = Date.now();
  return {
    /**
     * @param organizations of a denial
     * @param mode of the gate now
     * @returns where to write how the request ended; its fields are undefined while it runs
     */
    keep(
      id: string,
      scope: Scope,
      decision: Decision,
      organizations: readonly string[],
      mode: Mode,
    ): Pick<Kept, 'status' | 'durationMs'> {
      const kept = toKept(id, scope, decision, organizations, mode);
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

function toKept(id: string, scope: Scope, decision: Decision, organizations: readonly string[], mode: Mode) {
  const { model, chain } = decision;
  return {
    id,
    at: Date.now(),
    requestId: scope.requestId,
    principal: scope.principal,
    method: scope.incoming.method ?? '',
    path: bounded(pathOf(scope)),
    effect: decision.effect,
    reason: decision.reason,
    model: model === undefined ? undefined : bounded(model),
    chain: chain.length > 1 ? chain.map(bounded) : NONE,
    grant: decision.effect === 'permit' ? decision.grant : undefined,
    organizations:
      organizations.length > MOST_ORGANIZATIONS ? organizations.slice(0, MOST_ORGANIZATIONS) : organizations,
    mode,
    status: undefined as number | undefined,
    durationMs: undefined as number | undefined,
  };
}

function toRecord(kept: Kept): DecisionRecord {
  const { id, principal, model, grant, organizations, effect, status, durationMs } = kept;
  return {
    id,
    at: toIso(kept.at),
    decision: effect,
    reason: kept.reason,
    enforced: effect === 'permit' || kept.mode === 'enforce',
    user: principal.kind === 'user' ? { id: principal.id, role: principal.role } : null,
    anonymous: principal.kind === 'anonymous' ? principal.because : null,
    organizations: effect === 'permit' ? null : organizations,
    model: model ?? null,
    chain: kept.chain,
    grant: grant ?? null,
    request_id: kept.requestId,
    method: kept.method,
    path: kept.path,
    status: status ?? null,
    duration_ms: durationMs === undefined ? null : roundedMs(durationMs),
  };
}

const toIso = (ms: number): string => new Date(ms).toISOString();

/** Crockford's base 32 takes o for 0, and i and l for 1. */
const asWritten = (text: string): string => text.trim().toLowerCase().replaceAll('o', '0').replaceAll(/[il]/g, '1');

/** A piece of a longer text keeps all of that in memory (V8), such as a path its query; joining copies it. */
function bounded(text: string): string {
  const shown = text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
  return ` ${shown}`.slice(1);
}

// What every line and record has of a request.

/** HTTP sets no bound to a path. */
const LONGEST_PATH = 512;

interface ShownPath {
  readonly path?: string;
  readonly incoming: Pick<Scope['incoming'], 'url'>;
}

/** The path that was judged, or where none was, the one that was sent, without its query. */
export function pathOf({ path = '', incoming }: ShownPath): string {
  const shown = path === '' ? ((incoming.url ?? '').split('?', 1)[0] ?? '') : path;
  return shown.length > LONGEST_PATH ? `${shown.slice(0, LONGEST_PATH)}…` : shown;
}

/** @returns milliseconds with two decimals */
export const roundedMs = (ms: number): number => Math.round(ms * 100) / 100;
