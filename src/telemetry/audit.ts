/** What was decided, as log lines and figures: never a credential, a query string or a body. */
import { randomFillSync } from 'node:crypto';
import { isPolicyUnavailable } from '../errors.ts';
import type { Decision } from '../policy/decision.ts';
import { type StoreView, NotLoaded } from '../store/store-view.ts';
import type { FlatFields, Log } from './log.ts';
import type { Metrics } from './metrics.ts';
import type { Mode, RecentDecisions, TelemetryScope } from './recent-decisions.ts';

interface AuditParts {
  readonly log: Pick<Log, 'record' | 'explain' | 'sparingly'>;
  readonly metrics: Pick<Metrics, 'decided' | 'listFiltered' | 'answerUnreadable'>;
  readonly mode: Mode;
  readonly decisions: Pick<RecentDecisions, 'keep'>;
  readonly store: { current(): Pick<StoreView, 'grantsOf'> };
}

export type Audit = ReturnType<typeof createAudit>;

export function createAudit({ log, metrics, mode, decisions, store }: AuditParts) {
  const take = (scope: TelemetryScope, decision: Decision, durationMs: number | undefined) => {
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
  const writeLine = (scope: TelemetryScope, decision: Decision, id: string): void => {
    const fields = { request_id: scope.requestId, ...decisionFields(scope, decision, id, mode) };
    log.record(decision.effect === 'deny' ? 'warn' : 'info', fields, 'decision');
  };
  return {
    /** The access line shows the first denial or the last permit. @returns the decision id for the client */
    recordDecision(scope: TelemetryScope, decision: Decision, durationMs?: number): string {
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
    recordLateDecision(scope: TelemetryScope, decision: Decision): void {
      writeLine(scope, decision, take(scope, decision, undefined).id);
    },
    recordList(scope: TelemetryScope, shape: string, kept: number, removed: number): void {
      metrics.listFiltered(shape, kept, removed);
      log.explain?.(
        { ...readerFields(scope, store), list: shape, kept, removed },
        'a list of models was cut to what may be accessed',
      );
    },
    recordUnreadable(scope: TelemetryScope, shape: string, error: unknown): void {
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
function grantingOrganizations({ principal }: TelemetryScope, store: AuditParts['store']): readonly string[] {
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

function readerFields(scope: TelemetryScope, store: AuditParts['store']): FlatFields {
  const { id: user, role } = scope.principal.kind === 'user' ? scope.principal : {};
  return { request_id: scope.requestId, user, role, organizations: grantingOrganizations(scope, store).join(', ') };
}

/** @returns the decision as fields of a log line; `enforced: false` marks a denial that was only reported */
export function decisionFields(
  { principal }: TelemetryScope,
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
