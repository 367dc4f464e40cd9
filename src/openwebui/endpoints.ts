/**
 * What the gate knows of Open WebUI's endpoints besides their models: what limits count, cookies and files, where sessions
 * are issued, and the shape of errors.
 */
import type { MiddlewareHandler } from 'hono';
import type { Answering, Dialect } from '../enforcement/answers.ts';
import type { GateEnv, Scope } from '../gate/scope.ts';
import type { AnswerRewrite } from '../transport/exchange.ts';

/**
 * The page itself, its files and the backend's health check are not counted: a fresh load asks for a hundred of
 * them, and all users behind one address do so in the morning. The event socket falls back to polling, many requests
 * a second while an answer streams; only its handshakes count, here and at the other door.
 */
const COUNTED = /^\/(?:api|openai|ollama|oauth|cache)(?:\/|$)/;

/** Where a password, a code or a foreign token is tried (routers/auths.py, 0.6.18 and 0.12.4; routers/mfa.py). */
const SIGN_IN =
  /^\/api\/v1\/auths\/(?:signin|ldap|signup|update\/password|oauth\/[^/]+\/token\/exchange|mfa\/(?:challenge|enroll\/confirm|verify|recover|recovery\/codes|replace))$/;

/** @returns as what the request counts, by its target and method alone */
export function countedAs({ path, query, incoming }: Scope): 'nothing' | 'request' | 'sign_in' {
  if ((!COUNTED.test(path) && !opensPolling(path, query)) || isPreflight(incoming)) return 'nothing';
  return incoming.method === 'POST' && SIGN_IN.test(path) ? 'sign_in' : 'request';
}

/** Without the id of a session the backend makes one, and keeps it for a minute (engineio/async_server.py, 4.12). */
const opensPolling = (path: string, query: string): boolean =>
  path.startsWith('/ws/') && new URLSearchParams(query).getAll('sid').every((id) => id === '');

/** What browsers send by themselves, without a credential; the backend's CORS layer answers it and reads no further. */
const isPreflight = ({ method, headers }: Scope['incoming']): boolean =>
  method === 'OPTIONS' && headers.origin !== undefined && headers['access-control-request-method'] !== undefined;

/** The model is a setting of the backend, often a provider's: no request names it, so that no surface does. */
const TRANSCRIPTIONS = '/api/v1/audio/transcriptions';

/** Whether the request runs a model now; where none has to be named, there is a decision only if one was. */
export function runsModel({ surface, decision, path, incoming }: Scope): boolean {
  switch (surface.kind) {
    case 'invokes':
      return surface.runsNow && (surface.modelRequired || surface.names === 'media' || decision !== undefined);
    case 'refused':
      return surface.judged === true && decision !== undefined;
    case 'neutral':
      return surface.unlisted === true ? decision !== undefined : path === TRANSCRIPTIONS && incoming.method === 'POST';
    case 'lists':
    case 'manages':
    case 'saves':
      return false;
  }
}

/** Starlette's session, which carries OAuth's state between two redirects: `oui-session` to 0.6.31, `owui-session` since. */
const SESSION_COOKIE = /^(?:oui|owui)-session$/;
/** `token`, and in 0.12 the challenge between password and second factor; `oauth_id_token`, `oauth_session_id`, … */
const AUTH_COOKIE = /^(?:token$|mfa_challenge$|oauth_)/;

/** @returns which pair of the backend's settings (`WEBUI_SESSION_COOKIE_…`, `WEBUI_AUTH_COOKIE_…`) the cookie obeys */
export function cookiePurpose(name: string): 'session' | 'auth' | undefined {
  if (SESSION_COOKIE.test(name)) return 'session';
  return AUTH_COOKIE.test(name) ? 'auth' : undefined;
}

/**
 * Whether a frame without an origin loads this file: the Python interpreter of 0.12 runs in one (`sandbox` without
 * `allow-same-origin`), to which our own files are another site's.
 */
export const isLoadedBySandbox = (target: string): boolean => target.startsWith('/pyodide/');

/**
 * Where Open WebUI (0.6.18, 0.12.4) sets the cookie `token`: sign-in, sign-up, LDAP, the second factor, the page's look at
 * its session (`GET /api/v1/auths/`), OAuth's callbacks. Elsewhere it proves nothing: providers and tools answer too.
 */
const ISSUER = /^\/(?:api\/v1\/auths|oauth)(?:\/|$)/;
/** Two routes give a token in their JSON alone: adding a user, and the exchange of a provider's token (0.12). */
const IN_BODY = /^\/api\/v1\/auths\/(?:add|oauth\/[^/]+\/token\/exchange)\/?$/;
const TOKEN_COOKIE = /^\s*token\s*=\s*"?([\w-]+\.[\w-]+\.[\w-]+)"?\s*(?:;|$)/;

/** @param onIssued called with each token that the backend issues, before the client has it; must not throw */
export function watchIssuedSessions(onIssued: (token: string) => void): MiddlewareHandler<GateEnv> {
  const readBody: AnswerRewrite = (answer) => {
    const token = answer.status === 200 ? tokenOf(answer.body) : undefined;
    if (token !== undefined) onIssued(token);
    return answer;
  };
  const readCookies = (lines: readonly string[]): void => {
    for (let at = 0; at + 1 < lines.length; at += 2) {
      const token = lines[at] === 'set-cookie' ? TOKEN_COOKIE.exec(lines[at + 1] ?? '')?.[1] : undefined;
      if (token !== undefined) onIssued(token);
    }
  };
  return function watchIssuedSessions(c, next) {
    const scope = c.get('scope');
    if (ISSUER.test(scope.path)) {
      scope.answerEdits = [...scope.answerEdits, readCookies];
      if (scope.incoming.method === 'POST' && IN_BODY.test(scope.path)) scope.rewrite = readBody;
    }
    return next();
  };
}

function tokenOf(body: Buffer): string | undefined {
  try {
    const { token } = JSON.parse(body.toString('utf8')) as { token?: unknown };
    return typeof token === 'string' ? token : undefined;
  } catch {
    return undefined;
  }
}

/** @returns the dialect in which a refusal is written, and where a denied request is sent instead */
export function answeringOf({ surface, path, incoming }: Scope): Answering {
  const asked = path === '' ? (incoming.url ?? '') : path;
  const dialect = DIALECTS.find(([pattern]) => pattern.test(asked))?.[1] ?? 'open-webui';
  return { dialect, insteadOfDenial: surface.kind === 'invokes' ? surface.insteadOfDenial : undefined };
}

const DIALECTS: readonly (readonly [pattern: RegExp, dialect: Dialect])[] = [
  [/^\/(?:api\/message|api\/v1\/messages|ollama\/v1\/messages)/, 'anthropic'],
  [/^\/(?:openai|ollama\/v1)\//, 'openai'],
  // Outside of `/openai` only OpenAI clients use these; the backend's own page uses `/api/…`
  [/^\/api\/v1\/(?:chat\/completions|embeddings|models)$/, 'openai'],
  [/^\/ollama\//, 'ollama'],
];
