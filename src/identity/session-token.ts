/**
 * The backend's session tokens: JWT, HS256 over its secret key. Verified once, then answered from a bounded cache
 * until they expire. The only file that knows jose.
 */
import { compactVerify, errors } from 'jose';
import { LRUCache } from 'lru-cache';
import { hasSessionShape, isCanonical } from './credential.ts';
import { toUserId } from './principal.ts';
import type { UserId } from './principal.ts';
import type { SessionClaims } from './session-claims.ts';
import { readSessionClaims } from './session-claims.ts';

export type VerifiedToken =
  { readonly state: 'valid'; readonly userId: UserId } | { readonly state: 'expired' } | { readonly state: 'invalid' };

/**
 * Why a session of the backend is nobody's here: signed with another key, of a form that is not known, not begun yet or
 * over already by our clock.
 */
export type TokenFault = 'other_key' | 'unknown_form' | 'early' | 'over';

export interface SessionTokens {
  /** Synchronous for a token seen before, so that the common request costs no promise. Never throws or rejects. */
  verify(token: string): VerifiedToken | Promise<VerifiedToken>;
  /** Has this text been found genuine before, expired or not? */
  isKnown(token: string): boolean;
  /** Of a token that the backend has just issued; undefined where it is good. Never rejects. */
  faultOf(token: string): Promise<TokenFault | undefined>;
}

const INVALID: VerifiedToken = { state: 'invalid' };
const EXPIRED: VerifiedToken = { state: 'expired' };

/** The backend allows none and refuses itself; ours only forgives a clock that runs a little behind the backend's. */
const CLOCK_SKEW_SECONDS = 60;
/** Short, because a token that is not valid yet becomes so. */
const REMEMBER_INVALID_MS = 30_000;

interface Entry {
  readonly verified: VerifiedToken;
  /** Milliseconds of `Date.now()` from which `after` is the answer, or undefined if it must be verified again. */
  readonly until: number;
  readonly after: VerifiedToken | undefined;
}

/** Characters of token text held: 8 MB and 1 MB at the most. Two caches, so that garbage never drives out sessions. */
const boundedCache = (max: number, maxSize: number): LRUCache<string, Entry> =>
  new LRUCache<string, Entry>({ max, maxSize, maxEntrySize: 8_192, sizeCalculation: (_entry, token) => token.length });

/**
 * @param options `secretKeys`: every value that the backend may have read its secret as (a key file with and without
 * its newline); a token is valid if one of them signed it
 */
export function createSessionTokens(options: {
  readonly secretKeys: readonly string[];
  readonly now?: () => number;
}): SessionTokens {
  const { now = Date.now } = options;
  const secretKeys = options.secretKeys.filter((key) => key !== '');
  if (secretKeys.length === 0) throw new TypeError('At least one secret key that is not empty is needed.');
  // Imported once: importing is as much work as verifying.
  const keys = Promise.all(secretKeys.map(importKey));
  const genuine = boundedCache(20_000, 8_000_000);
  const refused = boundedCache(2_000, 1_000_000);

  async function verifyNew(token: string): Promise<VerifiedToken> {
    const claims = await readClaims(token, await keys);
    const entry = typeof claims === 'string' ? refusedEntry(now()) : toEntry(claims, now());
    // Copied, because a slice of a header line would keep the whole line in memory.
    const key = Buffer.from(token, 'latin1').toString('latin1');
    (entry.verified === INVALID ? refused : genuine).set(key, entry);
    return entry.verified;
  }

  return {
    isKnown: (token) => genuine.has(token),
    async faultOf(token) {
      const claims = hasSessionShape(token) ? await readClaims(token, await keys) : 'unknown_form';
      if (typeof claims === 'string') return claims;
      const { startsAt, expiresAt = Infinity } = claims;
      const seconds = now() / 1000;
      if (startsAt > seconds + CLOCK_SKEW_SECONDS) return 'early';
      return expiresAt < seconds - CLOCK_SKEW_SECONDS ? 'over' : undefined;
    },
    verify(token) {
      const entry = genuine.get(token) ?? refused.get(token);
      // jose skips spaces inside a token where PyJWT does not; the shape leaves neither anything to skip.
      if (entry === undefined) return hasSessionShape(token) ? verifyNew(token) : INVALID;
      if (now() < entry.until) return entry.verified;
      return entry.after ?? verifyNew(token);
    },
  };
}

const importKey = (secretKey: string): Promise<CryptoKey> =>
  crypto.subtle.importKey('raw', new TextEncoder().encode(secretKey), { name: 'HMAC', hash: 'SHA-256' }, false, [
    'verify',
  ]);

const refusedEntry = (nowMs: number): Entry => ({
  verified: INVALID,
  until: nowMs + REMEMBER_INVALID_MS,
  after: undefined,
});

/** What only the backend can know (revocation, `session_stamp`, second factor) stays the backend's to refuse. */
function toEntry({ id, expiresAt, startsAt }: SessionClaims, nowMs: number): Entry {
  if (startsAt > nowMs / 1000 + CLOCK_SKEW_SECONDS) return refusedEntry(nowMs);
  const valid: VerifiedToken = { state: 'valid', userId: toUserId(id) };
  if (expiresAt === undefined) return { verified: valid, until: Infinity, after: undefined };
  // PyJWT: expired when int(exp) <= now.
  const until = expiresAt * 1000;
  return nowMs < until
    ? { verified: valid, until, after: EXPIRED }
    : { verified: EXPIRED, until: Infinity, after: undefined };
}

async function readClaims(
  token: string,
  keys: readonly CryptoKey[],
): Promise<SessionClaims | 'other_key' | 'unknown_form'> {
  for (const key of keys) {
    try {
      const { payload } = await compactVerify(token, key, { algorithms: ['HS256'] });
      // Python reads the same bytes from other last characters too: one session has one spelling here
      if (!isCanonical(token)) return 'unknown_form';
      // jose reads the header with `JSON.parse` and by its own rules
      const header = Buffer.from(token.slice(0, token.indexOf('.')), 'base64url');
      return readSessionClaims(header, payload) ?? 'unknown_form';
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) return 'unknown_form';
    }
  }
  return 'other_key';
}
