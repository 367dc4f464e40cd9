import type { IncomingMessage } from 'node:http';
import type { MiddlewareHandler, Next } from 'hono';
import type { ErrorCode } from '../errors.ts';
import { GatewayError } from '../errors.ts';
import type { GateEnv, Scope } from '../gate/scope.ts';
import type { Principal } from '../identity/principal.ts';
import type { ChatOrder } from '../openwebui/chat-order.ts';
import { createChatOrder } from '../openwebui/chat-order.ts';
import { judgeInvocation } from '../openwebui/invocations.ts';
import type { PassedBody } from '../openwebui/passthrough.ts';
import { judgePassthrough } from '../openwebui/passthrough.ts';
import { judgePreset } from '../openwebui/presets.ts';
import type { Judging } from '../openwebui/saved-chats.ts';
import { judgeDeletion, judgeSave } from '../openwebui/saved-chats.ts';
import { queryValue } from '../openwebui/target.ts';
import type { Decision, Deny } from '../policy/decision.ts';
import { deny } from '../policy/decision.ts';
import type { ModelId } from '../policy/grant.ts';
import type { Reading } from '../reading/reading.ts';
import type { BodyQuestion, BodyRecords } from '../references/body-record.ts';
import type { PresetForm } from '../references/records.ts';
import type { ChatForm } from '../references/records.ts';
import type { Store } from '../store/store-view.ts';
import type { HeldBodies } from '../transport/body.ts';
import type { Judge } from './judge.ts';

export interface AuthorizeParts {
  /** @returns undefined where there is nothing to decide; rejects with GatewayError where it cannot be decided */
  readonly decideSurface: (scope: Scope) => Promise<Decision | undefined>;
  /** In `report` mode the gate decides, records and lets everything go on. */
  readonly mode: 'enforce' | 'report';
  /** Logs the denial and answers the request. */
  readonly refuse: (scope: Scope, denial: Deny) => void;
  /** Logs a decision that lets the request go on. */
  readonly record: (scope: Scope, decision: Decision) => void;
}

/** The stage that refuses: a request goes on only if every model that it names or would run is permitted. */
export function authorize(parts: AuthorizeParts): MiddlewareHandler<GateEnv> {
  return function authorize(c, next) {
    const scope = c.get('scope');
    const { surface } = scope;
    // Nothing to decide costs no promise: chats, files and the page itself
    if (surface.kind === 'neutral' && surface.unlisted === undefined) return next();
    return decideThen(scope, next);
  };

  async function decideThen(scope: Scope, next: Next): ReturnType<MiddlewareHandler<GateEnv>> {
    const decision = await parts.decideSurface(scope).catch((error: unknown) => reported(scope, error));
    if (decision?.effect === 'deny' && parts.mode === 'enforce') {
      parts.refuse(scope, decision);
      scope.endSave?.(true);
      return;
    }
    if (decision !== undefined) parts.record(scope, decision);
    // Only a save that runs wait for is waited for here
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
    if (parts.mode !== 'report' || !(error instanceof GatewayError) || !REPORTABLE.has(error.code)) throw error;
    // A thread that was stopped has taken the body with it: nothing is left to be sent on
    if (error.code === 'body_too_complex' && scope.body === undefined) throw error;
    return deny('reference_unreadable');
  }
}

const REPORTABLE: ReadonlySet<ErrorCode> = new Set(['body_unreadable', 'body_too_complex', 'policy_unavailable']);

// From a request to a decision: who may come here at all, what has to be read, and which judge looks at it.

export interface SurfaceDeciderParts {
  readonly store: Pick<Store, 'ask' | 'current' | 'load' | 'stored'>;
  readonly judge: Judge;
  /** Of the whole process, unless a test has its own. */
  readonly order?: ChatOrder;
  readonly bodies: Pick<HeldBodies, 'read'>;
  readonly maxBodyBytes: number;
  /** Whose share a long body is taken from, and whose turn its reading; undefined for nobody in particular. */
  readonly payerOf: (principal: Principal) => string | undefined;
  readonly reading: Pick<Reading, 'read'>;
}

/** What nobody is answerable for is not held in memory at length: whatever is invoked or saved needs a session. */
const STRANGERS_BODY_BYTES = 256 * 1024;

/** @returns how long a body may be that is read before it is sent on */
function longestBody({ kind }: Principal, maxBytes: number): number {
  return kind === 'anonymous' ? Math.min(maxBytes, STRANGERS_BODY_BYTES) : maxBytes;
}

/** @returns a function as `AuthorizeParts.decideSurface` wants it */
export function createSurfaceDecider(parts: SurfaceDeciderParts) {
  const { store, judge, order = createChatOrder() } = parts;
  const recordOf = createRecordReader(parts);

  return async function decideSurface(scope: Scope): Promise<Decision | undefined> {
    const { surface, principal } = scope;
    // An earlier attempt may have begun a save, of which nothing was sent
    scope.endSave?.(true);
    scope.endSave = undefined;
    if (surface.kind === 'neutral') return surface.unlisted === true ? decideUnlisted(scope) : undefined;
    if (surface.kind === 'lists' && surface.withoutUser === 'empty') return undefined;
    if (principal.kind !== 'user') return refuseStranger(principal);
    const judging: Judging = { judge, order, store, user: principal };
    switch (surface.kind) {
      case 'refused':
        if (principal.role !== 'admin') {
          // a denial is counted for the user's organizations
          await store.load({ user: principal });
          return deny('path_unlisted');
        }
        return surface.judged === true ? decidePassthrough(recordOf, judging, scope) : undefined;
      case 'lists':
        // Without policy a list is refused, not shown empty: only then does the client ask again
        store.current();
        return undefined;
      case 'manages':
        // The backend's admins manage what exists
        return principal.role === 'admin' ? undefined : decidePreset(recordOf, judging, scope, surface.form);
      case 'saves':
        return decideSavedChat(recordOf, judging, scope, surface.form);
      case 'invokes': {
        const { rules, mentions = false, modelRequired } = surface;
        const record = await recordOf(scope, { kind: 'invocation', rules, mentions, mayBeEmpty: !modelRequired });
        const named = () => [...record.references.models, ...record.mentioned.map(({ text }) => text as ModelId)];
        return timed(scope, judging, () => judgeInvocation(judging, surface, scope, record), named);
      }
    }
  };

  /** A path under `/api` that no table lists: whatever JSON it carries is searched, and nothing else is asked of it. */
  async function decideUnlisted(scope: Scope): Promise<Decision | undefined> {
    if (!hasBody(scope.incoming)) return undefined;
    // What a new route means by a key that cannot be read is not known
    const references = await recordOf(scope, { kind: 'any' });
    if (references === undefined || references.models.size === 0) return undefined;
    if (scope.principal.kind !== 'user') return refuseStranger(scope.principal);
    const { principal: user } = scope;
    return store.ask(
      () => judge.all(store.current(), user, references.models),
      judge.needs(user, () => references.models),
    );
  }
}

async function decidePreset(recordOf: RecordReader, judging: Judging, scope: Scope, form: PresetForm) {
  const { judge, store, user } = judging;
  const queryId = queryValue(scope.query, 'id');
  const record = await recordOf(scope, { kind: 'presets', form, mayBeEmpty: form === 'preset_switch', queryId });
  const named = () => record?.rows.flatMap((row) => [...row.named, ...row.ids]) ?? [];
  return timed(scope, judging, () => judgePreset(judge, store.current(), user, form, record), named);
}

async function decideSavedChat(recordOf: RecordReader, judging: Judging, scope: Scope, form: ChatForm) {
  const chatId = scope.pathIds['id'];
  if (form === 'message_deletion') return timed(scope, judging, () => judgeDeletion(judging, chatId ?? ''));
  const names = await recordOf(scope, { kind: 'save', form });
  // Most parts of a chat name nothing, and are saved also while policy cannot be read
  if (names.places.size === 0 && names.answers.length === 0 && names.timers.length === 0) return undefined;
  return timed(scope, judging, async () => {
    const { decision, end } = await judgeSave(judging, names, chatId);
    scope.endSave = end;
    return decision;
  });
}

async function decidePassthrough(recordOf: RecordReader, judging: Judging, scope: Scope) {
  const { judge, store, user } = judging;
  const body = await readPassed(recordOf, scope);
  const named = () => (body.kind === 'json' ? body.references.models : []);
  return timed(scope, judging, () => judgePassthrough(judge, store.current(), user, scope, body), named);
}

async function readPassed(recordOf: RecordReader, scope: Scope): Promise<PassedBody> {
  if (!hasBody(scope.incoming)) return { kind: 'none' };
  const contentType = scope.incoming.headers['content-type'] ?? '';
  if (IS_FORM.test(contentType)) {
    const named = await recordOf(scope, { kind: 'form', contentType });
    if (isEmpty(scope)) return { kind: 'none' };
    return named === undefined ? { kind: 'unreadable' } : { kind: 'form', named };
  }
  const references = await recordOf(scope, { kind: 'any' });
  if (isEmpty(scope)) return { kind: 'none' };
  return references === undefined ? { kind: 'unreadable' } : { kind: 'json', references };
}

type RecordReader = ReturnType<typeof createRecordReader>;

/**
 * Reads the body of a request once: where the database could not be read, the decision is tried again, and finds record
 * and body where the first attempt left them.
 */
function createRecordReader({ bodies, maxBodyBytes, payerOf, reading }: SurfaceDeciderParts) {
  const records = new WeakMap<Scope, { readonly record: unknown }>();
  return async function recordOf<Question extends BodyQuestion>(
    scope: Scope,
    question: Question,
  ): Promise<BodyRecords[Question['kind']]> {
    const known = records.get(scope);
    if (known !== undefined) return known.record as BodyRecords[Question['kind']];
    const { principal, incoming, outgoing } = scope;
    const payer = payerOf(principal) ?? 'anonymous';
    const longest = longestBody(principal, maxBodyBytes);
    const received = scope.body ?? (await bodies.read(incoming, outgoing, longest, payer));
    scope.body = undefined;
    const read = await reading.read(question, received, payer, outgoing);
    scope.body = read.body;
    if ('failure' in read) throw read.failure;
    records.set(scope, read);
    return read.record as BodyRecords[Question['kind']];
  };
}

/** @param named what the decision is about, as far as it is known: it is loaded together */
async function timed<T>(
  scope: Scope,
  { judge, store, user }: Judging,
  decide: () => T | Promise<T>,
  named: () => Iterable<ModelId> = () => [],
): Promise<T> {
  const startedAt = performance.now();
  try {
    return await store.ask(decide, judge.needs(user, named));
  } finally {
    scope.decisionMs = performance.now() - startedAt;
  }
}

/** @throws GatewayError `policy_unavailable` where it is the database, not the caller, that fails to say who it is */
function refuseStranger(principal: Exclude<Principal, { kind: 'user' }>): Deny {
  if (principal.kind === 'unresolved') throw new GatewayError('policy_unavailable');
  return deny('not_authenticated');
}

const IS_FORM = /^\s*(?:multipart\/|application\/x-www-form-urlencoded)/i;

const isEmpty = ({ body }: Scope): boolean => body?.length === 0;

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
