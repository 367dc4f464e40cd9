/** The stage that refuses: a request goes on only if every model that it names or would run is permitted. */
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { Next } from 'hono';
import { type ErrorCode, GatewayError } from '../errors.ts';
import { type Decision, type Deny, deny } from '../policy/decision.ts';
import type { Principal } from '../policy/principal.ts';
import type { Reading } from '../reading/reading.ts';
import type { BodyQuestion, BodyRecords } from '../references/records.ts';
import type { Stage } from '../stage.ts';
import type { Need } from '../store/foresight.ts';
import type { Store } from '../store/store.ts';
import type { Audit } from '../telemetry/audit.ts';
import type { HeldBodies } from '../transport/body.ts';
import type { EnforcementScope, Refusal } from './answers.ts';

/** @returns undefined where there is nothing to decide; rejects with GatewayError where it cannot be decided */
export type Decide<Scope> = (scope: Scope) => Promise<Decision | undefined>;

interface AuthorizeParts<Scope extends EnforcementScope> {
  readonly store: Pick<Store, 'ask' | 'patiently'>;
  /** Asked again where the database could not be read for it before, or was not asked. */
  readonly identify: (scope: Scope) => void | Promise<void>;
  readonly decide: Decide<Scope>;
  /** Reads the body. @returns what the decision will ask; undefined where who asks must be known first */
  readonly foresee?: (scope: Scope) => Promise<Need | undefined>;
  /** In `report` mode the gate decides, records and lets everything go on. */
  readonly mode: 'enforce' | 'report';
  readonly refusal: Pick<Refusal<Scope>, 'deny'>;
  readonly audit: Pick<Audit, 'recordDecision'>;
}

export function authorize<Scope extends EnforcementScope>(parts: AuthorizeParts<Scope>): Stage<Scope> {
  const { store, refusal, audit, mode } = parts;

  return function authorize(c, next) {
    const scope = c.get('scope');
    const { surface } = scope;
    // Nothing to decide costs no promise: chats, files and the page itself
    if (surface.kind === 'neutral' && surface.unlisted === undefined) return next();
    return decideThen(scope, next);
  };

  async function decideThen(scope: Scope, next: Next): ReturnType<Stage<Scope>> {
    const deciding = Promise.resolve(store.patiently(() => attempt(scope, parts))).catch((error: unknown) =>
      reported(scope, error),
    );
    const { admission } = scope;
    // a limit that refuses counts before a denial
    const decision = await (admission === undefined ? deciding : deciding.finally(() => admission));
    if (decision?.effect === 'deny' && mode === 'enforce') {
      refusal.deny(scope, decision);
      scope.endSave?.(true);
      return RESPONSE_ALREADY_SENT;
    }
    if (decision !== undefined) audit.recordDecision(scope, decision, scope.decisionMs);
    if (scope.endSave === undefined) return next();
    try {
      await next();
    } finally {
      scope.endSave(scope.outcome !== undefined && !scope.outcome.truncated);
    }
  }

  /** Reporting refuses nothing that can still be sent on; what cannot be judged is reported as a denial. */
  function reported(scope: Scope, error: unknown): Deny {
    scope.endSave?.(true);
    if (mode !== 'report' || !(error instanceof GatewayError) || !REPORTABLE.has(error.code)) throw error;
    // A thread that was stopped has taken the body with it: nothing is left to be sent on
    if (error.code === 'body_too_complex' && scope.body === undefined) throw error;
    return deny('reference_unreadable');
  }
}

/**
 * Who asks and what may run are one question where the names are known first: one check of the database answers both. It
 * begins when the whole request is here, so that whatever was withdrawn before it was sent, or while it came, is in force.
 */
async function attempt<Scope extends EnforcementScope>(
  scope: Scope,
  { store, identify, decide, foresee }: AuthorizeParts<Scope>,
): Promise<Decision | undefined> {
  if (scope.isPrincipalCurrent) return decide(scope);
  const identifiedAndDecided = async () => {
    await identify(scope);
    return decide(scope);
  };
  const need = await foresee?.(scope);
  if (need === undefined) return identifiedAndDecided();
  const startedAt = performance.now();
  try {
    return await store.ask(identifiedAndDecided, need);
  } finally {
    scope.decisionMs = performance.now() - startedAt;
  }
}

const REPORTABLE: ReadonlySet<ErrorCode> = new Set([
  'body_unreadable',
  'body_too_complex',
  'identity_conflict',
  'policy_unavailable',
]);

export interface RecordReaderParts {
  readonly bodies: Pick<HeldBodies, 'read'>;
  readonly maxBodyBytes: number;
  /** Whose share a long body is taken from, and whose turn its reading is. */
  readonly payerOf: (principal: Principal) => string | undefined;
  readonly reading: Pick<Reading, 'read'>;
  /** Longer bodies need a user who is answerable for their memory. */
  readonly anonymousBodyBytes?: number;
}

export type RecordReader = ReturnType<typeof createRecordReader>;

/** Reads what a body says of models, once: a decision that is tried again finds record and body as they were left. */
export function createRecordReader(parts: RecordReaderParts) {
  const { bodies, maxBodyBytes, payerOf, reading, anonymousBodyBytes = 256 * 1024 } = parts;
  const records = new WeakMap<EnforcementScope, unknown>();
  return async function recordOf<Q extends BodyQuestion>(
    scope: EnforcementScope,
    question: Q,
  ): Promise<BodyRecords[Q['kind']]> {
    if (!records.has(scope)) {
      const { principal, outgoing } = scope;
      const payer = payerOf(principal) ?? 'anonymous';
      const longest = principal.kind === 'anonymous' ? Math.min(maxBodyBytes, anonymousBodyBytes) : maxBodyBytes;
      const received = scope.body ?? (await bodies.read(outgoing, longest, payer));
      scope.body = undefined;
      const read = await reading.read(question, received, payer, outgoing);
      scope.body = read.body;
      if ('failure' in read) throw read.failure;
      records.set(scope, read.record);
    }
    return records.get(scope) as BodyRecords[Q['kind']];
  };
}
