/** The backend's session tokens: JWT, HS256 over its secret key. Verified once, then answered from a bounded cache. */
import { compactVerify, errors } from 'jose';
import { LRUCache } from 'lru-cache';
import { isObject, isTruthyInPython, parseExactJson } from '../references/json.ts';
import { hasSessionShape, isCanonical } from './credential.ts';
import { type UserId, toUserId } from '../policy/principal.ts';

export interface Session {
  readonly userId: UserId;
  /** The claim `jti`, by which one session is ended (from 0.6.37); empty where there is none. */
  readonly jti: string;
  /** The claim `iat`, as it is. */
  readonly issuedAt: unknown;
  /** The claim `session_stamp` (from 0.12). */
  readonly stamp: unknown;
}

export type VerifiedToken =
  (Session & { readonly state: 'valid' }) | { readonly state: 'expired' } | { readonly state: 'invalid' };

/** Why the gate does not know a session of the backend; `early` and `over` by our clock. */
export type TokenFault = 'other_key' | 'unknown_form' | 'early' | 'over';

const INVALID: VerifiedToken = { state: 'invalid' };
const EXPIRED: VerifiedToken = { state: 'expired' };

/** The backend allows none and refuses itself; ours only forgives a clock that runs a little behind the backend's. */
const CLOCK_SKEW_SECONDS = 60;
/** Short, because a token that is not valid yet becomes so. */
const REMEMBER_INVALID_MS = 30_000;

interface Entry {
  readonly verified: VerifiedToken;
  readonly until: number;
  readonly after?: VerifiedToken;
}

/** Characters of token text held: 8 MB and 1 MB at the most. Two caches, so that garbage never drives out sessions. */
const boundedCache = (max: number, maxSize: number): LRUCache<string, Entry> =>
  new LRUCache<string, Entry>({ max, maxSize, maxEntrySize: 8_192, sizeCalculation: (_entry, token) => token.length });

/** @param options `secretKeys`: each value that the backend may have read its secret as (a key file without its newline) */
export function createSessionTokens(options: { readonly secretKeys: readonly string[]; readonly now?: () => number }) {
  const { now = Date.now } = options;
  const secretKeys = options.secretKeys.filter((key) => key !== '');
  if (secretKeys.length === 0) throw new TypeError('At least one secret key that is not empty is needed.');
  // Imported once: importing is as much work as verifying.
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const keys = Promise.all(
    secretKeys.map((key) => crypto.subtle.importKey('raw', Buffer.from(key), algorithm, false, ['verify'])),
  );
  const genuine = boundedCache(20_000, 8_000_000);
  const refused = boundedCache(2_000, 1_000_000);

  async function verifyNew(token: string): Promise<VerifiedToken> {
    const entry = toEntry(await readClaims(token, await keys), now());
    // Copied, because a slice of a header line would keep the whole line in memory.
    const key = Buffer.from(token, 'latin1').toString('latin1');
    (entry.verified === INVALID ? refused : genuine).set(key, entry);
    return entry.verified;
  }

  return {
    isKnown: (token: string): boolean => genuine.has(token),
    /** Of a token that the backend has just issued; undefined where it is good. Never rejects. */
    async faultOf(token: string): Promise<TokenFault | undefined> {
      const claims = hasSessionShape(token) ? await readClaims(token, await keys) : 'unknown_form';
      if (typeof claims === 'string') return claims;
      const { startsAt, expiresAt = Infinity } = claims;
      const seconds = now() / 1000;
      if (startsAt > seconds + CLOCK_SKEW_SECONDS) return 'early';
      return expiresAt < seconds - CLOCK_SKEW_SECONDS ? 'over' : undefined;
    },
    /** Synchronous for a token seen before. Never throws or rejects. */
    verify(token: string): VerifiedToken | Promise<VerifiedToken> {
      const entry = genuine.get(token) ?? refused.get(token);
      // jose skips spaces inside a token where PyJWT does not; the shape leaves neither anything to skip.
      if (entry === undefined) return hasSessionShape(token) ? verifyNew(token) : INVALID;
      if (now() < entry.until) return entry.verified;
      return entry.after ?? verifyNew(token);
    },
  };
}

/** What only the backend can know (second factor) stays the backend's to refuse. */
function toEntry(claims: SessionClaims | string, nowMs: number): Entry {
  if (typeof claims === 'string' || claims.startsAt > nowMs / 1000 + CLOCK_SKEW_SECONDS) {
    return { verified: INVALID, until: nowMs + REMEMBER_INVALID_MS };
  }
  // PyJWT: expired when int(exp) <= now.
  const until = (claims.expiresAt ?? Infinity) * 1000;
  if (nowMs >= until) return { verified: EXPIRED, until: Infinity };
  const { id, jti, issuedAt, stamp } = claims;
  return { verified: { state: 'valid', userId: toUserId(id), jti, issuedAt, stamp }, until, after: EXPIRED };
}

async function readClaims(token: string, keys: readonly CryptoKey[]) {
  for (const key of keys) {
    try {
      const { payload } = await compactVerify(token, key, { algorithms: ['HS256'] });
      // Python reads the same bytes from other last characters too: one session has one spelling here
      if (!isCanonical(token)) return 'unknown_form';
      const header = Buffer.from(token.slice(0, token.indexOf('.')), 'base64url');
      return readSessionClaims(header, payload) ?? 'unknown_form';
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) return 'unknown_form';
    }
  }
  return 'other_key';
}

// The rules of PyJWT 2.10 to 2.13 together, so that no user is known here whom one of them refuses. Source: `api_jws.py`
// and `api_jwt.py`, 2.10.1 (Open WebUI 0.6.18) and 2.13.0 (0.12.4); `decode_token` of the backend's `utils/auth.py`.

type SessionClaims = NonNullable<ReturnType<typeof readSessionClaims>>;

const TOKEN_TYPES: ReadonlySet<unknown> = new Set([undefined, 'session', 'automation', 'subagent']);

/** @returns undefined where one of the versions refuses the token, whatever the time; times in seconds since 1970 */
function readSessionClaims(header: Uint8Array, payload: Uint8Array) {
  const [protectedHeader, claims] = [toRecord(header), toRecord(payload)];
  if (protectedHeader === undefined || claims === undefined || !isAccepted(protectedHeader)) return undefined;
  const { id, typ, aud, sub = '', jti = '', exp, nbf = 0, iat = 0, session_stamp: stamp } = claims;
  if (typeof id !== 'string' || id === '' || !id.isWellFormed() || !TOKEN_TYPES.has(typ)) return undefined;
  // an audience that no reader asks for, unless it is nothing to Python
  if (isTruthyInPython(aud) || typeof sub !== 'string' || typeof jti !== 'string') return undefined;
  const [expiresAt, notBefore, begunAt] = [exp, nbf, iat].map(toInteger);
  if (notBefore === undefined || begunAt === undefined) return undefined;
  if (exp !== undefined && expiresAt === undefined) return undefined;
  return { id, jti, stamp, issuedAt: claims['iat'], expiresAt, startsAt: Math.max(notBefore, begunAt) };
}

/** `crit` is read from 2.12 on: `b64`, the one extension that it knows, where that is there. */
function isAccepted({ alg, kid = '', b64, crit }: Readonly<Record<string, unknown>>): boolean {
  const isCriticalKnown =
    crit === undefined ||
    (Array.isArray(crit) && crit.length > 0 && crit.every((name) => name === 'b64') && b64 !== undefined);
  return alg === 'HS256' && typeof kid === 'string' && b64 !== false && isCriticalKnown;
}

/** Python's recursion ends at some depth, which the backend's own calls have used up in part. */
const MAX_DEPTH = 64;
/** `sys.set_int_max_str_digits`: one more, and Python reads none of the text. */
const TOO_MANY_DIGITS = /\d{4301}/;

/** @returns the object that the bytes hold, the last of two equal keys counting, as Python reads it; or undefined */
function toRecord(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    const value = TOO_MANY_DIGITS.test(text) ? undefined : parseExactJson(text, MAX_DEPTH);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** `int(claim)`: of a text only what is written in ASCII. @returns undefined where Python raises */
function toInteger(claim: unknown): number | undefined {
  if (typeof claim === 'number') return Number.isFinite(claim) ? Math.trunc(claim) : undefined;
  if (typeof claim === 'boolean') return Number(claim);
  const digits = typeof claim === 'string' && INTEGER.test(claim) ? claim.replaceAll('_', '') : undefined;
  return digits === undefined || TOO_MANY_DIGITS.test(digits) ? undefined : Number(digits);
}

const INTEGER = /^[ \t\n\r]*[+-]?\d+(?:_\d+)*[ \t\n\r]*$/;
