/**
 * What was decided, about whom and why, so that it can be found again by the id which the client was told.
 *
 * A request that has a decision writes one line, not two: its access line (`observe.ts`) carries both. A decision
 * that comes later than that, on the frames of a socket, has a line of its own.
 */
import { randomFillSync } from 'node:crypto';
import { GatewayError } from '../errors.ts';
import type { Scope } from '../gate/scope.ts';
import type { UserPrincipal } from '../identity/principal.ts';
import type { Decision } from '../policy/decision.ts';
import type { Store } from '../store/store-view.ts';
import type { FlatFields, Log } from './log.ts';
import type { Metrics } from './metrics.ts';
import type { RecentDecisions } from './recent-decisions.ts';

export interface AuditOptions {
  readonly log: Pick<Log, 'record' | 'explain' | 'sparingly'>;
  readonly metrics: Pick<Metrics, 'decided' | 'listFiltered' | 'answerUnreadable'>;
  readonly mode: 'enforce' | 'report';
  readonly decisions: Pick<RecentDecisions, 'keep'>;
  /** The organizations that give this user anything; none while that cannot be read. Must not throw. */
  readonly organizationsOf: (user: UserPrincipal) => readonly string[];
}

export interface Audit {
  /**
   * Attaches the decision to the request, whose access line will show it: the first denial or the last permit.
   * @param durationMs time that the decision took
   * @returns the decision id for the client
   */
  recordDecision(scope: Scope, decision: Decision, durationMs?: number): string;
  /** Writes the decision's own line at once, for what is decided after the access line was written. */
  recordLateDecision(scope: Scope, decision: Decision, durationMs?: number): string;
  /** Counts a list of models that was cut to what its reader may use. */
  recordList(scope: Scope, shape: string, kept: number, removed: number): void;
  /** Counts an answer that should list models, could not be read, and was replaced by an empty list. */
  recordUnreadable(scope: Scope, shape: string, cause: unknown): void;
}

/** @returns what the stages of one gate tell of their decisions to */
export function createAudit({ log, metrics, mode, decisions, organizationsOf }: AuditOptions): Audit {
  const belongings = ({ principal }: Scope): readonly string[] =>
    principal.kind === 'user' ? organizationsOf(principal) : [];
  /** Counts and keeps it. */
  const take = (scope: Scope, decision: Decision, durationMs: number | undefined) => {
    const id = createDecisionId();
    const organizations = decision.effect === 'permit' ? NONE : belongings(scope);
    metrics.decided(decision, durationMs, organizations);
    explain(scope, decision, id);
    return { id, end: decisions.keep(id, scope, decision, organizations, mode) };
  };
  /** In the words that the guide's search looks for: organization, model, access. */
  const explain = (scope: Scope, decision: Decision, id: string): void =>
    log.explain?.(
      {
        request_id: scope.requestId,
        ...whoAsks(scope, belongings(scope)),
        access: decision.effect,
        ...decisionFields(scope, decision, id, mode),
        grant: decision.effect === 'permit' ? decision.grant?.pattern : undefined,
      },
      'access to a model was decided',
    );
  const writeLine = (scope: Scope, decision: Decision, id: string): void => {
    const fields = { request_id: scope.requestId, ...decisionFields(scope, decision, id, mode) };
    log.record(decision.effect === 'deny' ? 'warn' : 'info', fields, 'decision');
  };
  return {
    recordDecision(scope, decision, durationMs) {
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
    recordLateDecision(scope, decision, durationMs) {
      const { id } = take(scope, decision, durationMs);
      writeLine(scope, decision, id);
      return id;
    },
    recordList(scope, shape, kept, removed) {
      metrics.listFiltered(shape, kept, removed);
      log.explain?.(
        { request_id: scope.requestId, ...whoAsks(scope, belongings(scope)), list: shape, kept, removed },
        'a list of models was cut to what may be accessed',
      );
    },
    recordUnreadable(scope, shape, error) {
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

/** V8 quotes what it could not read, which is nothing for a log. */
function causeOf(error: unknown): string {
  if (error instanceof SyntaxError) return 'the answer is no JSON';
  return error instanceof Error ? error.message : 'unknown';
}
const NONE: readonly string[] = [];

const whoAsks = ({ principal }: Scope, organizations: readonly string[]): FlatFields => ({
  user: principal.kind === 'user' ? principal.id : undefined,
  role: principal.kind === 'user' ? principal.role : undefined,
  organizations: organizations.join(', '),
});

/** @returns the decision in DESIGN's words; `enforced: false` marks a denial that was only reported */
export function decisionFields(
  { principal }: Scope,
  decision: Decision,
  id: string | undefined,
  mode: 'enforce' | 'report',
): FlatFields {
  return {
    decision: decision.effect,
    reason: decision.reason,
    decision_id: id,
    model: decision.model,
    // the walk says more than the model itself only where there was one
    chain: decision.chain.length > 1 ? decision.chain.join(' > ') : undefined,
    user: principal.kind === 'user' ? principal.id : undefined,
    anonymous: principal.kind === 'anonymous' ? principal.because : undefined,
    organization: decision.effect === 'permit' ? decision.grant?.organization : undefined,
    enforced: decision.effect === 'deny' && mode === 'report' ? false : undefined,
  };
}

/** Crockford's base 32: nothing that is read out wrongly on the telephone. */
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const ID_LENGTH = 10;
const pool = Buffer.allocUnsafe(ID_LENGTH * 256);
let used = pool.length;

/** @returns `d-` and 50 random bits: unique among the decisions of months, and says nothing about their number */
function createDecisionId(): string {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  let id = 'd-';
  for (const end = used + ID_LENGTH; used < end; used += 1) id += ALPHABET.charAt((pool[used] ?? 0) & 31);
  return id;
}

// Which organizations give a user anything, for whoever has to explain or count a decision.

/** @returns a function that answers from the caches of the decision itself, and with none while they cannot be read */
export function createBelongings(store: Pick<Store, 'current'>): (user: UserPrincipal) => readonly string[] {
  return (user) => {
    try {
      return store
        .current()
        .grantsOf(user)
        .map(({ organization }) => organization);
    } catch (error) {
      if (error instanceof GatewayError && error.code === 'policy_unavailable') return NONE;
      throw error;
    }
  };
}
