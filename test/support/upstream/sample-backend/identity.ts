/**
 * Who the backend sees. Releases differ in what they accept (Open WebUI 0.6 to 0.12, `utils/auth.py`); the sample takes
 * what any of them takes, so that a credential which the gate fails to read does not go unnoticed here.
 */
import { createHmac, randomUUID } from 'node:crypto';
import { segmentOf, signSegments } from '../../gate/signed-token.ts';
import { seconds } from '../dialects.ts';
import type { SampleDirectory, SampleUser } from './directory.ts';

/**
 * @param rawHeaders name, value, name, value, as they came: of repeated lines the backend reads the first
 * @returns the user, or why there is none, in the backend's words
 */
export function readUser(
  rawHeaders: readonly string[],
  directory: SampleDirectory,
  secretKey: string,
): SampleUser | string {
  const token = readCredential(rawHeaders);
  if (token === undefined) return 'Not authenticated';
  const claims = token.startsWith('sk-') ? undefined : readToken(token, secretKey);
  if (claims === undefined && !token.startsWith('sk-')) return '401 Unauthorized';
  const user = claims === undefined ? directory.userOfApiKey(token) : directory.user(claims.id);
  return user ?? 'Your session has expired or the token is invalid. Please sign in again.';
}

/** Bearer, then the cookie, then any other scheme of two words (0.8.4 on), then the API key header (0.9.2 on). */
function readCredential(rawHeaders: readonly string[]): string | undefined {
  const authorization = firstHeader(rawHeaders, 'authorization');
  const bearer = /^bearer (.*)$/i.exec(authorization ?? '')?.[1]?.trim();
  if (bearer !== undefined && bearer !== '') return bearer;
  return (
    cookie(firstHeader(rawHeaders, 'cookie') ?? '', 'token') ??
    /^[^ ]+ ([^ ]+)$/.exec(authorization ?? '')?.[1] ??
    firstHeader(rawHeaders, 'x-api-key')
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

interface TokenClaims {
  readonly id: string;
  /** Seconds since 1970; absent in a token that never expires. */
  readonly exp?: number;
  readonly [claim: string]: unknown;
}

/** A session of four weeks, which is the backend's default: HS256 (Open WebUI `utils/auth.py`). */
export function signToken(userId: string, secretKey: string): string {
  const now = seconds();
  const session = { typ: 'session', auth_method: 'password', auth_time: now, mfa_verified: false };
  const claims = { id: userId, ...session, jti: randomUUID(), iat: now, exp: now + 4 * 7 * 86_400 };
  return signSegments(
    segmentOf(JSON.stringify({ alg: 'HS256', typ: 'JWT' })),
    segmentOf(JSON.stringify(claims)),
    secretKey,
  );
}

/** @returns the claims of a token with a good signature and time, as PyJWT with `algorithms=['HS256']` does */
function readToken(token: string, secretKey: string): TokenClaims | undefined {
  const [header, payload, signature, ...rest] = token.split('.');
  if (header === undefined || payload === undefined || signature === undefined || rest.length > 0) return undefined;
  const expected = createHmac('sha256', secretKey).update(`${header}.${payload}`).digest();
  const offered = Buffer.from(signature, 'base64url');
  if (!offered.equals(expected)) return undefined;
  const { alg } = decode(header);
  const claims = decode(payload);
  const now = Date.now() / 1000;
  if (alg !== 'HS256' || typeof claims['id'] !== 'string') return undefined;
  if (typeof claims['exp'] === 'number' && claims['exp'] <= now) return undefined;
  if (typeof claims['nbf'] === 'number' && claims['nbf'] > now) return undefined;
  return claims as TokenClaims;
}

function decode(part: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString());
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {}; // not JSON: a token without claims is no token
  }
}
