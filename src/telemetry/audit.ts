/** What was decided, found again by the id that the client has received: never a credential, a query string or a body. */
import { randomFillSync } from 'node:crypto';
import { isPolicyUnavailable } from '../errors.ts';
import type { Scope } from '../gate/scope.ts';
import type { Decision } from '../policy/decision.ts';
import { type StoreView, NotLoaded } from '../store/store-view.ts';
import type { FlatFields, Log } from './log.ts';
import type { Metrics } from './metrics.ts';

type Mode = 'enforce' | 'report';

interface AuditParts {
  readonly log: Pick<Log, 'record' | 'explain' | 'sparingly'>;
  readonly metrics: Pick<Metrics, 'decided' | 'listFiltered' | 'answerUnreadable'>;
  readonly mode: Mode;
  readonly decisions: Pick<RecentDecisions, 'keep'>;
  readonly store: { current(): Pick<StoreView, 'grantsOf'> };
}

export type Audit = ReturnType<typeof createAudit>;

export function createAudit({ log, metrics, mode, decisions, store }: AuditParts) {
  const take = (scope: Scope, decision: Decision, durationMs: number | undefined) => {
    const id = createDecisionId();
    const organizations = decision.effect === 'permit' ? NONE : grantingOrganizations(scope, store);
    metrics.decided(decision, durationMs, organizations);
    log.explain?.(
      {
        ...readerFields(scope, store),
        access: decision.effect,
        ...decisionFields(scope, decision, id, mode),
        grant: decision.effect === 'permit' ? decision.grant?.pattern : undefined,
      },
      'access to a model was decided',
    );
    return { id, end: decisions.keep(id, scope, decision, organizations, mode) };
  };
  const writeLine = (scope: Scope, decision: Decision, id: string): void => {
    const fields = { request_id: scope.requestId, ...decisionFields(scope, decision, id, mode) };
    log.record(decision.effect === 'deny' ? 'warn' : 'info', fields, 'decision');
  };
  return {
    /** The access line shows the first denial or the last permit. @returns the decision id for the client */
    recordDecision(scope: Scope, decision: Decision, durationMs?: number): string {
      const { id, end } = take(scope, decision, durationMs);
      const earlier = scope.decisionId === undefined ? undefined : scope.decision;
      if (earlier?.effect === 'deny') {
        writeLine(scope, decision, id);
        return id;
      }
      if (earlier !== undefined && earlier !== decision) writeLine(scope, earlier, scope.decisionId ?? id);
      scope.decision = decision;
      scope.decisionId = id;
      scope.decisionEnd = end;
      return id;
    },
    /** For the frames of a socket, after its access line was written. */
    recordLateDecision(scope: Scope, decision: Decision): void {
      writeLine(scope, decision, take(scope, decision, undefined).id);
    },
    recordList(scope: Scope, shape: string, kept: number, removed: number): void {
      metrics.listFiltered(shape, kept, removed);
      log.explain?.(
        { ...readerFields(scope, store), list: shape, kept, removed },
        'a list of models was cut to what may be accessed',
      );
    },
    recordUnreadable(scope: Scope, shape: string, error: unknown): void {
      metrics.answerUnreadable(shape);
      const fields = { request_id: scope.requestId, path: scope.path, list: shape, cause: causeOf(error) };
      log.sparingly('warn', `${shape} ${fields.cause}`, fields, UNREADABLE[mode]);
    },
  };
}

const UNREADABLE = {
  enforce: 'an answer that lists models could not be read: an empty list was sent',
  report: 'an answer that lists models could not be read, and was sent as it is',
};

const NONE: readonly string[] = [];

/** The organizations that give this user anything; none while that cannot be read. */
function grantingOrganizations({ principal }: Scope, store: AuditParts['store']): readonly string[] {
  if (principal.kind !== 'user') return NONE;
  try {
    return store
      .current()
      .grantsOf(principal)
      .map(({ organization }) => organization);
  } catch (error) {
    if (isPolicyUnavailable(error) || error instanceof NotLoaded) return NONE;
    throw error;
  }
}

/** V8 quotes what it could not read, and that must not reach a log. */
function causeOf(error: unknown): string {
  if (error instanceof SyntaxError) return 'the answer is no JSON';
  return error instanceof Error ? error.message : 'unknown';
}

function readerFields(scope: Scope, store: AuditParts['store']): FlatFields {
  const { id: user, role } = scope.principal.kind === 'user' ? scope.principal : {};
  return { request_id: scope.requestId, user, role, organizations: grantingOrganizations(scope, store).join(', ') };
}

/** @returns the decision as fields of a log line; `enforced: false` marks a denial that was only reported */
export function decisionFields(
  { principal }: Scope,
  decision: Decision,
  id: string | undefined,
  mode: Mode,
): FlatFields {
  return {
    decision: decision.effect,
    reason: decision.reason,
    decision_id: id,
    model: decision.model,
    chain: decision.chain.length > 1 ? decision.chain.join(' > ') : undefined,
    user: principal.kind === 'user' ? principal.id : undefined,
    anonymous: principal.kind === 'anonymous' ? principal.because : undefined,
    organization: decision.effect === 'permit' ? decision.grant?.organization : undefined,
    enforced: decision.effect === 'deny' && mode === 'report' ? false : undefined,
  };
}

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const LETTERS = 10;
const random = Buffer.alloc(LETTERS * 256);
let usedRandom = random.length;

/** `d-` and 50 random bits: unique among the decisions of months, and does not tell their number. */
function createDecisionId(): string {
  if (usedRandom === random.length) {
    randomFillSync(random);
    usedRandom = 0;
  }
  let id = 'd-';
  for (const end = usedRandom + LETTERS; usedRandom < end; usedRandom += 1) {
    id += ALPHABET.charAt((random[usedRandom] ?? 0) & 31);
  }
  return id;
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

function toKept(id: string, scope: Scope, decision: Decision, organizations: readonly string[], mode: Mode) {
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
    chain: chain.length > 1 ? chain.map(bounded) : NONE,
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
export function pathOf({ path = '', incoming }: { path?: string; incoming: Pick<Scope['incoming'], 'url'> }): string {
  const shown = path === '' ? ((incoming.url ?? '').split('?', 1)[0] ?? '') : path;
  return shown.length > LONGEST_PATH ? `${shown.slice(0, LONGEST_PATH)}…` : shown;
}
