/**
 * Who the backend sees. Releases differ in what they accept (Open WebUI 0.6 to 0.12, `utils/auth.py`); the sample takes
 * what any of them takes, so that a credential which the gate fails to read does not go unnoticed here.
 */
import type { SampleDirectory, SampleUser } from './sample-directory.ts';
import { readToken } from './sample-token.ts';

/**
 * @param rawHeaders name, value, name, value, as they came: of repeated lines the backend reads the first
 * @returns the user, or why there is none, in the backend's words
 */
export function readUser(
  rawHeaders: readonly string[],
  directory: SampleDirectory,
  secretKey: string,
  apiKeyHeader: string,
): SampleUser | string {
  const token = readCredential(rawHeaders, apiKeyHeader);
  if (token === undefined) return 'Not authenticated';
  const claims = token.startsWith('sk-') ? undefined : readToken(token, secretKey);
  if (claims === undefined && !token.startsWith('sk-')) return '401 Unauthorized';
  const user = claims === undefined ? directory.userOfApiKey(token) : directory.user(claims.id);
  return user ?? 'Your session has expired or the token is invalid. Please sign in again.';
}

/** Bearer, then the cookie, then any other scheme of two words (0.8.4 on), then the API key header (0.9.2 on). */
function readCredential(rawHeaders: readonly string[], apiKeyHeader: string): string | undefined {
  const authorization = firstHeader(rawHeaders, 'authorization');
  const bearer = /^bearer (.*)$/i.exec(authorization ?? '')?.[1]?.trim();
  if (bearer !== undefined && bearer !== '') return bearer;
  return (
    cookie(firstHeader(rawHeaders, 'cookie') ?? '', 'token') ??
    /^[^ ]+ ([^ ]+)$/.exec(authorization ?? '')?.[1] ??
    firstHeader(rawHeaders, apiKeyHeader)
  );
}

function firstHeader(rawHeaders: readonly string[], name: string): string | undefined {
  const at = rawHeaders.findIndex((value, index) => index % 2 === 0 && value.toLowerCase() === name);
  return at === -1 ? undefined : rawHeaders[at + 1];
}

/** Starlette's `cookie_parser`: split at `;` only, the last of a name wins, quotes and octal escapes are undone. */
function cookie(header: string, name: string): string | undefined {
  let found: string | undefined;
  for (const part of header.split(';')) {
    const equals = part.indexOf('=');
    const key = equals === -1 ? '' : part.slice(0, equals).trim();
    if (key === name) found = unquote(part.slice(equals + 1).trim());
  }
  return found;
}

function unquote(value: string): string {
  const inner = /^"(.*)"$/.exec(value)?.[1];
  return (
    inner?.replace(/\\([0-3][0-7][0-7])|\\(.)/g, (_all, octal: string | undefined, plain: string | undefined) =>
      octal === undefined ? (plain ?? '') : String.fromCharCode(Number.parseInt(octal, 8)),
    ) ?? value
  );
}
