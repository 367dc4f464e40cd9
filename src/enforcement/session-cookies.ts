/** Cookies of Open WebUI by what they are for, and the files that its page loads from a frame without an origin. */

/** Starlette's session, which carries OAuth's state between two redirects: `oui-session` to 0.6.31, `owui-session` since. */
const SESSION_COOKIES: ReadonlySet<string> = new Set(['oui-session', 'owui-session']);

/** `token`, and in 0.12 the challenge between password and second factor; `oauth_id_token`, `oauth_session_id`, … */
const AUTH_COOKIES: ReadonlySet<string> = new Set(['token', 'mfa_challenge']);
const OAUTH_PREFIX = 'oauth_';

/** @returns which pair of the backend's settings (`WEBUI_SESSION_COOKIE_…`, `WEBUI_AUTH_COOKIE_…`) the cookie obeys */
export function cookiePurpose(name: string): 'session' | 'auth' | undefined {
  if (SESSION_COOKIES.has(name)) return 'session';
  return AUTH_COOKIES.has(name) || name.startsWith(OAUTH_PREFIX) ? 'auth' : undefined;
}

/**
 * Whether a frame without an origin loads this file: the Python interpreter of 0.12 runs in one (`sandbox` without
 * `allow-same-origin`), to which our own files are another site's.
 */
export function isLoadedBySandbox(target: string): boolean {
  return target.startsWith('/pyodide/');
}
