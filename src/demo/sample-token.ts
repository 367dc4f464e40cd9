/**
 * Tokens and passwords as the backend writes them: JWT with HS256 (Open WebUI `utils/auth.py`) and argon2id hashes in
 * the PHC form. What is made here is valid for a real Open WebUI 0.12 with the same secret key and database.
 */
import { argon2Sync, createHmac, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';

export interface TokenClaims {
  readonly id: string;
  /** Seconds since 1970; absent in a token that never expires. */
  readonly exp?: number;
  readonly [claim: string]: unknown;
}

/** @param lifetimeSeconds how long the backend will take it; its own default is four weeks */
export function signToken(userId: string, secretKey: string, lifetimeSeconds = 4 * 7 * 86_400): string {
  const now = Math.floor(Date.now() / 1000);
  const session = { typ: 'session', auth_method: 'password', auth_time: now, mfa_verified: false };
  return signClaims({ id: userId, ...session, jti: randomUUID(), iat: now, exp: now + lifetimeSeconds }, secretKey);
}

/** Signs any claims, also those that no backend would write: tests need them. */
export function signClaims(claims: object, secretKey: string): string {
  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  return `${signed}.${createHmac('sha256', secretKey).update(signed).digest('base64url')}`;
}

/** @returns the claims of a token with a good signature and time, as PyJWT with `algorithms=['HS256']` does */
export function readToken(token: string, secretKey: string): TokenClaims | undefined {
  const [header, payload, signature, ...rest] = token.split('.');
  if (header === undefined || payload === undefined || signature === undefined || rest.length > 0) return undefined;
  const expected = createHmac('sha256', secretKey).update(`${header}.${payload}`).digest();
  const offered = Buffer.from(signature, 'base64url');
  if (offered.length !== expected.length || !timingSafeEqual(offered, expected)) return undefined;
  const { alg } = decode(header);
  const claims = decode(payload);
  const now = Date.now() / 1000;
  if (alg !== 'HS256' || typeof claims['id'] !== 'string') return undefined;
  if (typeof claims['exp'] === 'number' && claims['exp'] <= now) return undefined;
  if (typeof claims['nbf'] === 'number' && claims['nbf'] > now) return undefined;
  return claims as TokenClaims;
}

/** Cheap on purpose (8 MB, one pass): these are sample passwords. */
const ARGON2 = { memory: 8192, passes: 1, parallelism: 1, tagLength: 32 };

export function hashPassword(password: string): string {
  const nonce = randomBytes(16);
  const hash = argon2Sync('argon2id', { ...ARGON2, message: password, nonce });
  const unpadded = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '');
  return `$argon2id$v=19$m=${ARGON2.memory},t=${ARGON2.passes},p=${ARGON2.parallelism}$${unpadded(nonce)}$${unpadded(hash)}`;
}

/** Knows only what `hashPassword` wrote. */
export function verifyPassword(password: string, stored: string): boolean {
  const [, , , , nonce, hash] = stored.split('$');
  if (nonce === undefined || hash === undefined) return false;
  const expected = Buffer.from(hash, 'base64');
  const found = argon2Sync('argon2id', { ...ARGON2, message: password, nonce: Buffer.from(nonce, 'base64') });
  return expected.length === found.length && timingSafeEqual(expected, found);
}

const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');

function decode(part: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString());
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {}; // not JSON: a token without claims is no token
  }
}
