/**
 * From a request to a decision: who may come here at all, what has to be read, and which judge looks at it.
 */
import type { IncomingMessage } from 'node:http';
import { GatewayError } from '../errors.ts';
import type { Principal, UserPrincipal } from '../identity/principal.ts';
import type { Decision, Deny } from '../policy/decision.ts';
import { deny } from '../policy/decision.ts';
import type { Scope } from '../scope.ts';
import type { Store } from '../store/store-view.ts';
import type { ChatOrder } from './chat-order.ts';
import { createChatOrder } from './chat-order.ts';
import { judgeInvocation } from './judge-invocation.ts';
import type { PassedBody } from './judge-passthrough.ts';
import { judgePassthrough, readForm } from './judge-passthrough.ts';
import { judgePreset } from './judge-preset.ts';
import type { ChatForm } from './judge-saved-chat.ts';
import { judgeDeletion, judgeSave, namesOfSave } from './judge-saved-chat.ts';
import type { Judge } from './judge.ts';
import { collectReferences, isObject } from '../references/references.ts';
import { parseStrictJson, storedReadings } from '../references/strict-json.ts';

export interface SurfaceDeciderParts {
  readonly store: Pick<Store, 'current'>;
  readonly judge: Judge;
  /** Of the whole process, unless a test has its own. */
  readonly order?: ChatOrder;
  /** Reads the body of the request once, bounded. */
  readonly readBody: (scope: Scope) => Buffer | Promise<Buffer>;
}

/** What nobody is answerable for is not held in memory at length: whatever is invoked or saved needs a session. */
const STRANGERS_BODY_BYTES = 256 * 1024;

/** @returns how long a body may be that is read before it is sent on */
export function longestBody({ kind }: Principal, maxBytes: number): number {
  return kind === 'anonymous' ? Math.min(maxBytes, STRANGERS_BODY_BYTES) : maxBytes;
}

/** @returns a function as `AuthorizeParts.decideSurface` wants it, which may be called again for the same request */
export function createSurfaceDecider(parts: SurfaceDeciderParts) {
  const attempt = createAttempt(parts);
  return function decideSurface(scope: Scope): Promise<Decision | undefined> {
    // Of an attempt that came to nothing: the request must not wait for itself
    scope.endSave?.(true);
    scope.endSave = undefined;
    return attempt(scope);
  };
}

function createAttempt({ store, judge, order = createChatOrder(), readBody }: SurfaceDeciderParts) {
  return async function decideSurface(scope: Scope): Promise<Decision | undefined> {
    const { surface, principal } = scope;
    if (surface.kind === 'neutral') return surface.unlisted === true ? decideUnlisted(scope) : undefined;
    if (surface.kind === 'lists' && surface.withoutUser === 'empty') return undefined;
    if (principal.kind !== 'user') return refuseStranger(principal);
    switch (surface.kind) {
      case 'refused':
        if (principal.role !== 'admin') return deny('path_unlisted');
        return surface.judged === true ? decidePassthrough(scope, principal) : undefined;
      case 'lists':
        // Without policy a list is refused, not shown empty: only then does the client ask again
        store.current();
        return undefined;
      case 'manages':
        // The backend's admins manage what exists
        if (principal.role === 'admin') return undefined;
        scope.body = await readBody(scope);
        return timed(scope, () => judgePreset(judge, store.current(), principal, surface, scope, parseBody(scope)));
      case 'saves':
        return decideSavedChat(scope, principal, surface.form);
      case 'invokes': {
        scope.body = await readBody(scope);
        const body = parseBody(scope);
        if (surface.runs !== undefined) await order.settled(chatOf(scope, body));
        return timed(scope, () => judgeInvocation(judge, store.current(), principal, surface, scope, body, order));
      }
    }
  };

  async function decideSavedChat(scope: Scope, user: UserPrincipal, form: ChatForm): Promise<Decision | undefined> {
    const chatId = scope.pathIds['id'];
    if (form === 'message_deletion') return judgeDeletion(judge, store.current(), user, chatId ?? '');
    scope.body = await readBody(scope);
    const names = namesOfSave(form, storedReadings(parseBody(scope), scope.body));
    // Most parts of a chat name nothing, and are saved also while policy cannot be read
    if (names.models.size === 0 && names.parents.size === 0 && names.timers.size === 0) return undefined;
    return timed(scope, () => {
      const { decision, keeps } = judgeSave(judge, store.current(), user, names, chatId);
      if (keeps && chatId !== undefined) scope.endSave = order.begin(chatId);
      return decision;
    });
  }

  /** A path under `/api` that no table lists: whatever JSON it carries is searched, and nothing else is asked of it. */
  async function decideUnlisted(scope: Scope): Promise<Decision | undefined> {
    if (!hasBody(scope.incoming)) return undefined;
    scope.body = await readBody(scope);
    // What a new route means by a key that cannot be read is not known
    const { models } = collectReferences(parsePossibleJson(scope.body));
    if (models.size === 0) return undefined;
    if (scope.principal.kind !== 'user') return refuseStranger(scope.principal);
    return judge.all(store.current(), scope.principal, models);
  }

  async function decidePassthrough(scope: Scope, user: UserPrincipal): Promise<Decision | undefined> {
    const body = await readPassed(scope, readBody);
    return timed(scope, () => judgePassthrough(judge, store.current(), user, scope, body));
  }
}

/** Where no model has to be named, no body has to be there. @throws GatewayError `body_unreadable` */
function parseBody({ body, surface }: Scope): unknown {
  const mayBeEmpty =
    surface.kind === 'saves' ||
    (surface.kind === 'invokes' && !surface.modelRequired) ||
    (surface.kind === 'manages' && surface.form === 'preset_switch');
  return body === undefined || (body.length === 0 && mayBeEmpty) ? undefined : parseStrictJson(body);
}

/** The chat in which a request runs something: in its path, or in its body. */
function chatOf({ pathIds }: Scope, body: unknown): string {
  const named = isObject(body) ? body['chat_id'] : undefined;
  return pathIds['id'] ?? (typeof named === 'string' ? named : '');
}

function timed<T>(scope: Scope, decide: () => T): T {
  const startedAt = performance.now();
  try {
    return decide();
  } finally {
    scope.decisionMs = performance.now() - startedAt;
  }
}

/** @throws GatewayError `policy_unavailable` where it is the database, not the caller, that fails to say who it is */
function refuseStranger(principal: Exclude<Principal, { kind: 'user' }>): Deny {
  if (principal.kind === 'unresolved') throw new GatewayError('policy_unavailable');
  return deny('not_authenticated');
}

/**
 * The content type never decides: raw-body handlers of the backend parse whatever comes.
 * @throws GatewayError `body_unreadable` for what begins like JSON, in any encoding that Python reads, and is not clean
 */
function parsePossibleJson(body: Buffer): unknown {
  try {
    return parseStrictJson(body);
  } catch (error) {
    if (error instanceof GatewayError && !BEGINS_LIKE_JSON.test(body.toString('latin1', 0, 64))) return undefined;
    throw error;
  }
}

async function readPassed(scope: Scope, readBody: SurfaceDeciderParts['readBody']): Promise<PassedBody> {
  if (!hasBody(scope.incoming)) return { kind: 'none' };
  const body = (scope.body = await readBody(scope));
  if (body.length === 0) return { kind: 'none' };
  const contentType = scope.incoming.headers['content-type'] ?? '';
  if (IS_FORM.test(contentType)) return readForm(body, contentType);
  const value = parsePossibleJson(body);
  return value === undefined ? { kind: 'unreadable' } : { kind: 'json', value };
}

const IS_FORM = /^\s*(?:multipart\/|application\/x-www-form-urlencoded)/i;

/** White space, byte order marks and the NUL bytes of UTF-16 and UTF-32 may stand before the bracket. */
const BEGINS_LIKE_JSON = /^[\s\0\xef\xbb\xbf\xfe\xff]*[{[]/;

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
