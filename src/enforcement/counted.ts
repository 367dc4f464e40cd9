/** What limits count: which requests are API requests, which try a password, and which run a model. */
import type { Scope } from '../scope.ts';

/**
 * The page itself, its files and the backend's health check are counted by nobody: a fresh load asks for a hundred of
 * them, and everybody behind one address does so in the morning. The event socket falls back to polling, many requests
 * a second while an answer streams; only its handshakes count, here and at the other door.
 */
const COUNTED = /^\/(?:api|openai|ollama|oauth|cache)(?:\/|$)/;

/** Where a password, a code or a foreign token is tried (routers/auths.py, 0.6.18 and 0.12.4; routers/mfa.py). */
const SIGN_INS: ReadonlySet<string> = new Set([
  '/api/v1/auths/signin',
  '/api/v1/auths/ldap',
  '/api/v1/auths/signup',
  '/api/v1/auths/update/password',
  '/api/v1/auths/mfa/challenge',
  '/api/v1/auths/mfa/enroll/confirm',
  '/api/v1/auths/mfa/verify',
  '/api/v1/auths/mfa/recover',
  '/api/v1/auths/mfa/recovery/codes',
  '/api/v1/auths/mfa/replace',
]);
const TOKEN_EXCHANGE = /^\/api\/v1\/auths\/oauth\/[^/]+\/token\/exchange$/;

/** @returns as what the request counts, by its target and method alone */
export function countedAs({ path, query, incoming }: Scope): 'nothing' | 'request' | 'sign_in' {
  if ((!COUNTED.test(path) && !opensPolling(path, query)) || isPreflight(incoming)) return 'nothing';
  if (incoming.method !== 'POST' || !path.startsWith('/api/v1/auths/')) return 'request';
  return SIGN_INS.has(path) || TOKEN_EXCHANGE.test(path) ? 'sign_in' : 'request';
}

/** Without the id of a session the backend makes one, and keeps it for a minute (engineio/async_server.py, 4.12). */
function opensPolling(path: string, query: string): boolean {
  return path.startsWith('/ws/') && new URLSearchParams(query).getAll('sid').every((id) => id === '');
}

/** What browsers send by themselves, without a credential; the backend's CORS layer answers it and reads no further. */
function isPreflight({ method, headers }: Scope['incoming']): boolean {
  return method === 'OPTIONS' && headers.origin !== undefined && headers['access-control-request-method'] !== undefined;
}

/** The model is a setting of the backend, often a provider's: no request names it, so that no surface does. */
const TRANSCRIPTIONS = '/api/v1/audio/transcriptions';

/** Whether the request runs a model now. Where none has to be named, there is a decision only if one was. */
export function runsModel({ surface, decision, path, incoming }: Scope): boolean {
  switch (surface.kind) {
    case 'invokes':
      if (surface.idle === true) return false;
      return surface.modelRequired || surface.names === 'media' || decision !== undefined;
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
