/**
 * What the gate knows of Open WebUI's endpoints besides their models: how a path is read, which ones are sockets, what
 * limits count, cookies and files, where sessions are issued, and the shape of errors.
 */
import type { IncomingMessage } from 'node:http';
import type { Answering, Dialect, EnforcementScope } from '../enforcement/answers.ts';
import { GatewayError } from '../errors.ts';
import type { OrganizationId } from '../policy/principal.ts';
import type { Stage } from '../stage.ts';
import { isObject, tryParseJson } from '../references/json.ts';
import type { AnswerRewrite } from '../transport/exchange.ts';
import type { Surface } from './surfaces.ts';

export type OpenWebUiScope = EnforcementScope & OwnScope;

interface OwnScope {
  /** Decoded: what surfaces are matched on. */
  path: string;
  query: string;
  surface: Surface;
  /** The ids in the path, by the names that the surface's pattern gives them. */
  pathIds: Readonly<Record<string, string>>;
  runs: number;
  runsByOrganization: ReadonlyMap<OrganizationId, number> | undefined;
}

/**
 * The one reading of the path: decoded once, as uvicorn and Starlette do. What the backend could route otherwise is refused,
 * never guessed (GHSA-pxq7-h93f-9jrg, CVE-2026-29087 and kin). The target is sent as it came.
 * @throws GatewayError `path_ambiguous` (400)
 */
export function readTarget(target: string) {
  if (!target.startsWith('/')) throw ambiguous('Expected a path that starts with a slash.');
  if (!PRINTABLE_ASCII.test(target)) throw ambiguous('Found a character that must be percent-encoded.');
  const question = target.indexOf('?');
  const [raw, query] = question === -1 ? [target, ''] : [target.slice(0, question), target.slice(question + 1)];
  if (raw.includes('\\')) throw ambiguous('Found a backslash.');
  if (ENCODED_DELIMITER.test(raw) && !ENCODES_MODEL_ID.test(raw)) {
    throw ambiguous('Found an encoded slash, backslash, dot or control character.');
  }
  const path = raw.includes('%') ? decoded(raw) : raw;
  if (EMPTY_OR_DOT_SEGMENT.test(path)) throw ambiguous('Found an empty or dot segment.');
  return { path, target, query };
}

function decoded(raw: string): string {
  try {
    return decodeURIComponent(raw);
  } catch {
    throw ambiguous('Found percent-encoding that is not UTF-8.');
  }
}

/** @throws GatewayError `path_ambiguous` if the key is repeated: Starlette takes the last value, others the first */
export function queryValue(query: string, key: string): string | undefined {
  const [value, ...further] = new URLSearchParams(query).getAll(key);
  if (further.length > 0) throw ambiguous(`Found the query parameter "${key}" more than once.`);
  return value;
}

/** `%2F` `%5C` `%2E` `%00`–`%1F` `%7F`, and encoded twice, which a reader might decode twice. */
const ENCODED_DELIMITER = /%(?:25)*(?:2[ef]|5c|[01][0-9a-f]|7f)/i;
/** The only paths into which the backend's own page (0.12.4, for admins) encodes an id that may hold a slash. */
const ENCODES_MODEL_ID = /^\/api\/v1\/(?:evaluations\/leaderboard|analytics\/models)\/(?!.*%(?:25|5c|2e|[01]|7f))/i;
const EMPTY_OR_DOT_SEGMENT = /\/\/|\/\.{1,2}(?:\/|$)/;
/** Without `#`: uvicorn's parser cuts the target there. */
const PRINTABLE_ASCII = /^[!"$-~]+$/;

const ambiguous = (detail: string) => new GatewayError('path_ambiguous', { detail });

const SOCKETS = {
  /** Socket.IO; no event of it runs a model, so it is tunnelled untouched. */
  events: /^\/ws\/socket\.io\/?$/,
  /** Voice calls; the first frame names the caller and the chat model (routers/audio/realtime.py, 0.12.4). */
  realtime: /^\/api\/v1\/audio\/realtime$/,
  terminal: /^\/api\/v1\/terminals\/[^/]+\/api\/terminals\/[^/]+$/,
};

/** @returns undefined where `Upgrade` is dropped and the request served as an ordinary one */
export function socketSurface(incoming: IncomingMessage): string | undefined {
  try {
    const { path } = readTarget(incoming.url ?? '');
    return Object.entries(SOCKETS).find(([, pattern]) => pattern.test(path))?.[0];
  } catch {
    // An ambiguous target is refused by the ordinary door, in the caller's dialect
    return undefined;
  }
}

/**
 * The page and its files are not counted: a fresh load asks for a hundred. The event socket falls back to polling, many
 * requests a second; only its handshakes count.
 */
const COUNTED = /^\/(?:api|openai|ollama|oauth|cache)(?:\/|$)/;

/** Where a password, a code or a foreign token is tried (routers/auths.py, 0.6.18 and 0.12.4; routers/mfa.py). */
const SIGN_IN =
  /^\/api\/v1\/auths\/(?:signin|ldap|signup|update\/password|oauth\/[^/]+\/token\/exchange|mfa\/(?:challenge|enroll\/confirm|verify|recover|recovery\/codes|replace))$/;

/** As what a request counts for limits, by its target and method alone. */
export function countedAs({ path, query, incoming }: OpenWebUiScope): 'nothing' | 'request' | 'sign_in' {
  if ((!COUNTED.test(path) && !opensPolling(path, query)) || isPreflight(incoming)) return 'nothing';
  return incoming.method === 'POST' && SIGN_IN.test(path) ? 'sign_in' : 'request';
}

/** Without the id of a session the backend makes one, and keeps it for a minute (engineio/async_server.py, 4.12). */
const opensPolling = (path: string, query: string): boolean =>
  path.startsWith('/ws/') && new URLSearchParams(query).getAll('sid').every((id) => id === '');

/** What browsers send by themselves, without a credential; the backend's CORS layer answers it and reads no further. */
const isPreflight = ({ method, headers }: OpenWebUiScope['incoming']): boolean =>
  method === 'OPTIONS' && headers.origin !== undefined && headers['access-control-request-method'] !== undefined;

/** The model is a setting of the backend, often a provider's: no request names it, so that no surface does. */
const TRANSCRIPTIONS = '/api/v1/audio/transcriptions';

/** Whether the request runs a model now; where none has to be named, there is a decision only if one was. */
export function runsModel({ surface, decision, path, incoming }: OpenWebUiScope): boolean {
  const isDecided = decision !== undefined;
  if (surface.kind === 'invokes')
    return surface.runsNow && (surface.modelRequired || surface.names === 'media' || isDecided);
  if (surface.kind === 'refused') return surface.judged === true && isDecided;
  if (surface.kind !== 'neutral') return false;
  return surface.unlisted === true ? isDecided : path === TRANSCRIPTIONS && incoming.method === 'POST';
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

/** The Python interpreter of 0.12 runs in a frame without an origin, to which our files are another site's. */
export const isLoadedBySandbox = (target: string): boolean => target.startsWith('/pyodide/');

/** Where Open WebUI (0.6.18, 0.12.4) sets the cookie `token`. Elsewhere it proves nothing: providers and tools answer too. */
const ISSUER = /^\/(?:api\/v1\/auths|oauth)(?:\/|$)/;
/** Two routes give a token in their JSON alone: adding a user, and the exchange of a provider's token (0.12). */
const IN_BODY = /^\/api\/v1\/auths\/(?:add|oauth\/[^/]+\/token\/exchange)\/?$/;
const TOKEN_COOKIE = /^\s*token\s*=\s*"?([\w-]+\.[\w-]+\.[\w-]+)"?\s*(?:;|$)/;

/** @param onIssued called with each token that the backend issues, before the client has it; must not throw */
export function watchIssuedSessions(onIssued: (token: string) => void): Stage<OpenWebUiScope> {
  const readBody: AnswerRewrite = (answer) => {
    const body = answer.status === 200 ? tryParseJson(answer.body.toString('utf8')) : undefined;
    if (isObject(body) && typeof body['token'] === 'string') onIssued(body['token']);
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

/** The dialect of a refusal, and where a denied request is sent instead. */
export function answeringOf({ surface, path, incoming }: OpenWebUiScope): Answering {
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
