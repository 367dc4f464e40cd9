/**
 * What PyJWT makes of a token whose signature is good: the rules of 2.10 to 2.13 together, so that nobody is known here
 * whom one of them refuses. What only they take (NaN, UTF-16, `exp` of 400 digits) is in no token that a backend mints.
 *
 * Source: PyJWT `api_jws.py` and `api_jwt.py`, 2.10.1 (Open WebUI 0.6.18) and 2.13.0 (0.12.4); `decode_token` and
 * `is_valid_token` of the backend's `utils/auth.py`.
 */
import { endOfString, parseExactJson } from '../references/exact-json.ts';
import { isObject, isTruthyInPython } from '../references/references.ts';

type Json = Readonly<Record<string, unknown>>;

/** What a token says, as far as the gate asks; times in seconds since 1970. */
export interface SessionClaims {
  readonly id: string;
  /** Undefined: never. */
  readonly expiresAt: number | undefined;
  /** From when on it may be used. */
  readonly startsAt: number;
}

/** The token types of `is_valid_token` (0.12.4); earlier versions mint none or `automation`. */
const TOKEN_TYPES: ReadonlySet<unknown> = new Set([undefined, 'session', 'automation', 'subagent']);

/** @returns undefined where one of the versions refuses the token, whatever the time */
export function readSessionClaims(header: Uint8Array, payload: Uint8Array): SessionClaims | undefined {
  const [protectedHeader, claims] = [toRecord(header), toRecord(payload)];
  if (protectedHeader === undefined || claims === undefined || !isAccepted(protectedHeader)) return undefined;
  const { id, typ, aud, sub = '', jti = '' } = claims;
  if (typeof id !== 'string' || id === '' || !id.isWellFormed() || !TOKEN_TYPES.has(typ)) return undefined;
  // an audience that nobody asks for, unless it is nothing to Python
  if (isTruthyInPython(aud) || typeof sub !== 'string' || typeof jti !== 'string') return undefined;
  const { exp, nbf = 0, iat = 0 } = claims;
  const expiresAt = exp === undefined ? undefined : toInteger(exp);
  const [notBefore, issuedAt] = [toInteger(nbf), toInteger(iat)];
  if (notBefore === undefined || issuedAt === undefined) return undefined;
  if (exp !== undefined && expiresAt === undefined) return undefined;
  return { id, expiresAt, startsAt: Math.max(notBefore, issuedAt) };
}

function isAccepted(header: Json): boolean {
  const { alg, kid = '', b64 } = header;
  return alg === 'HS256' && typeof kid === 'string' && b64 !== false && isCriticalAccepted(header);
}

/** Read from 2.12 on: the one extension that it knows, where it is there. */
const isCriticalAccepted = ({ crit, b64 }: Json): boolean =>
  crit === undefined ||
  (Array.isArray(crit) && crit.length > 0 && crit.every((name) => name === 'b64') && b64 !== undefined);

/** Python's recursion ends at some depth, which the backend's own calls have used up in part. */
const MAX_DEPTH = 64;
/** `sys.set_int_max_str_digits`: one more, and Python reads none of the text. */
const TOO_MANY_DIGITS = /\d{4301}/;

/** @returns the object that the bytes hold, the last of two equal keys counting, as Python reads it; or undefined */
function toRecord(bytes: Uint8Array): Json | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    if (TOO_MANY_DIGITS.test(text) || isTooDeep(text)) return undefined;
    const value = parseExactJson(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Asked of the text: what a second equal key takes the place of has been read all the same. */
function isTooDeep(text: string): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') at = endOfString(text, at);
    else if (character === '[' || character === '{') depth += 1;
    else if (character === ']' || character === '}') depth -= 1;
    if (depth > MAX_DEPTH) return true;
  }
  return false;
}

/** `int(claim)`: of a text only what is written in ASCII. @returns undefined where Python raises */
function toInteger(claim: unknown): number | undefined {
  if (typeof claim === 'number') return Number.isFinite(claim) ? Math.trunc(claim) : undefined;
  if (typeof claim === 'boolean') return Number(claim);
  if (typeof claim !== 'string' || TOO_MANY_DIGITS.test(claim.replaceAll('_', ''))) return undefined;
  return INTEGER.test(claim) ? Number(claim.replaceAll('_', '')) : undefined;
}

const INTEGER = /^[ \t\n\r]*[+-]?\d+(?:_\d+)*[ \t\n\r]*$/;
