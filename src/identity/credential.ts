/**
 * Which credentials a request carries; nothing is verified here. The backend's versions differ in what they read, so all
 * that any of them could read is found, one is judged, and only that one stays in the request.
 */
import type { HeaderEdit, HeaderLines } from '../transport/exchange.ts';
import { type TokenPair, mergeCookieLines, stripAsPython, tokenPairs } from './cookies.ts';

/**
 * Where a credential stood, in the order of `get_current_user` and of the middleware before it (`utils/auth.py`,
 * `utils/asgi_middleware.py` 0.12.4; `utils/auth.py` 0.6.18, which knows the first two only).
 */
const PLACES = [
  'bearer', // the first Authorization line, scheme Bearer in any letter case
  'cookie', // a cookie named `token`
  'scheme', // the first Authorization line, another scheme and exactly two words (read from 0.8.4)
  'api-key', // the configured API key header (0.9.2)
  'x-api-key', // the default one, where another is configured
  'other', // the first Authorization line in a form that no user login reads (SCIM splits on tabs)
  'hidden', // later lines of these headers, which no version reads
] as const;

export interface Credential {
  readonly place: (typeof PLACES)[number];
  readonly header: string;
  /**
   * `session` has the shape of a session token, `key` that of an API key. The others name no user here: `misspelled` is
   * a session token that PyJWT might yet forgive, and so must not go on; `opaque` is anything else.
   */
  readonly form: 'session' | 'key' | 'misspelled' | 'opaque';
  readonly text: string;
  readonly spelled: string;
  /** Already spelled as we would send it, so that it may stay where it is. */
  readonly canonical: boolean;
}

export interface Credentials {
  /** The one that the backend's order picks; undefined where it would read none. */
  readonly judged: Credential | undefined;
  readonly all: readonly Credential[];
  readonly cookieLines: readonly string[];
}

/** Three base64url segments, the last of the 32 bytes of HS256. */
const SESSION_SHAPE = /^[\w-]+\.[\w-]+\.[\w-]{43}$/;
export const hasSessionShape = (text: string): boolean => SESSION_SHAPE.test(text);

/** The last of 43 characters has four bits of the signature and two that are zero. */
export const isCanonical = (session: string): boolean => /[AEIMQUYcgkosw048]$/.test(session);

/**
 * Python skips foreign characters in a signature (`urlsafe_b64decode`) and the last two bits of it, so a genuine token
 * that is spelled so would name no user to us and one to the backend. In the other two segments it breaks the signature.
 */
function isMisspelled(text: string): boolean {
  if (!text.startsWith('eyJ')) return false;
  const signature = text.lastIndexOf('.') + 1;
  return hasSessionShape(text) ? !isCanonical(text) : signature > 0 && /[^\w-]/.test(text.slice(signature));
}

/** `sk-` and what needs no quoting in a header line or a cookie (RFC 6265 section 4.1.1, `cookie-octet`). */
const KEY_SHAPE = /^sk-[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+$/;

export const isReadable = (one: Credential): boolean => one.form === 'session' || one.form === 'key';

interface CredentialReading {
  readonly apiKeyHeader: string;
  /** True for a text whose shape was found good before: looking it up costs a quarter of reading 400 characters again. */
  readonly isKnownSession?: (text: string) => boolean;
}

export function readCredentials(rawHeaders: HeaderLines, reading: CredentialReading): Credentials {
  const all: Credential[] = [];
  const cookieLines: string[] = [];
  const seen: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const header = toCredentialHeader(rawHeaders[at] ?? '', reading.apiKeyHeader);
    if (header === undefined) continue;
    const value = rawHeaders[at + 1] ?? '';
    if (header === 'cookie') {
      cookieLines.push(value);
      for (const pair of tokenPairs(value)) all.push(fromCookie(pair, reading, all[0]));
      continue;
    }
    // Starlette's `headers.get` takes the first line of a name, also when it is empty.
    const isFirst = !seen.includes(header);
    seen.push(header);
    if (value === '') continue;
    const read = header === 'authorization' ? fromAuthorization : fromKeyHeader;
    const credential = read(header, value, reading);
    all.push(isFirst ? credential : { ...credential, place: 'hidden' });
  }
  return { judged: pick(all), all, cookieLines };
}

/** An API key is known by its first three characters, wherever it came from. */
function formOf(text: string, { isKnownSession }: CredentialReading): Credential['form'] {
  if (text.startsWith('sk-')) return KEY_SHAPE.test(text) ? 'key' : 'opaque';
  if (isKnownSession?.(text) === true) return 'session';
  if (isMisspelled(text)) return 'misspelled';
  return hasSessionShape(text) ? 'session' : 'opaque';
}

/** Lengths first, so that most names are not even lower-cased. */
function toCredentialHeader(name: string, apiKeyHeader: string): string | undefined {
  const { length } = name;
  if (length !== 13 && length !== 6 && length !== 9 && length !== apiKeyHeader.length) return undefined;
  const lower = name.toLowerCase();
  const known = lower === 'authorization' || lower === 'cookie' || lower === 'x-api-key' || lower === apiKeyHeader;
  return known ? lower : undefined;
}

/** By the order of places. Of several cookies the last counts; of every other place there is one. */
function pick(all: readonly Credential[]): Credential | undefined {
  for (const place of PLACES) {
    const judged = all.findLast((one) => one.place === place);
    if (judged !== undefined) return place === 'hidden' ? undefined : judged;
  }
  return undefined;
}

/**
 * FastAPI's `HTTPBearer` (0.115 keeps spaces after `Bearer`, 0.136 strips them) and the backend's own
 * `get_http_authorization_cred`, which wants exactly two words and takes any scheme.
 */
function fromAuthorization(header: string, spelled: string, reading: CredentialReading): Credential {
  const [scheme = ''] = spelled.split(' ', 1);
  const rest = spelled.slice(scheme.length + 1);
  const stripped = stripAsPython(rest);
  const isBearer = stripped !== '' && (scheme === 'Bearer' || scheme.toLowerCase() === 'bearer');
  const isTwoWords = rest !== '' && !rest.includes(' ');
  // With CUSTOM_API_KEY_HEADER=Authorization the middleware takes the whole value.
  const asKey = reading.apiKeyHeader === 'authorization' ? 'api-key' : 'other';
  const [place, text] = isBearer
    ? (['bearer', stripped] as const)
    : isTwoWords
      ? (['scheme', rest] as const)
      : ([asKey, spelled] as const);
  const form = place === 'other' ? 'opaque' : formOf(text, reading);
  const canonical = form === 'opaque' || (isBearer && scheme === 'Bearer' && rest.length === text.length);
  return { place, header, form, text, spelled, canonical };
}

/** @param beside an earlier credential: browsers send the same text twice, and a good shape is looked at once */
function fromCookie(
  { spelled, value: text }: TokenPair,
  reading: CredentialReading,
  beside: Credential | undefined,
): Credential {
  const form = beside?.text === text && isReadable(beside) ? beside.form : formOf(text, reading);
  // Stripping and unquoting only shorten, so equal lengths mean equal text.
  const canonical = form === 'opaque' || (spelled.length === text.length + 6 && spelled.startsWith('token='));
  return { place: 'cookie', header: 'cookie', form, text, spelled, canonical };
}

function fromKeyHeader(header: string, spelled: string, reading: CredentialReading): Credential {
  const form = formOf(spelled, reading);
  const place = header === reading.apiKeyHeader ? 'api-key' : 'x-api-key';
  return { place, header, form, text: spelled, spelled, canonical: form === 'opaque' };
}

const UNCHANGED: HeaderEdit = { remove: new Set(), add: [] };
const WITHOUT_COOKIE: HeaderEdit = { remove: new Set(['cookie']), add: [] };

/**
 * What was judged is what is sent, once: as `Authorization: Bearer …`, or as the cookie `token=…` if it stood in a cookie
 * (`/api/config` of 0.6 reads nothing else). An opaque credential (SCIM) stays as it came; a misspelled one goes.
 */
export function toHeaderEdit(credentials: Credentials): HeaderEdit {
  const { all, cookieLines } = credentials;
  const judged = credentials.judged?.form === 'misspelled' ? undefined : credentials.judged;
  const mayStay = judged !== undefined && canStay(judged, credentials);
  if (all.length === (mayStay ? 1 : 0)) return UNCHANGED;
  if (mayStay && isLoneCookieBeside(judged, credentials)) return WITHOUT_COOKIE;

  const add: string[] = [];
  const remove = new Set<string>();
  for (const one of all) if (!(mayStay && one === judged)) remove.add(one.header);
  if (judged !== undefined && !mayStay && judged.place !== 'cookie') {
    const header = judged.form === 'opaque' ? judged.header : 'authorization';
    remove.add(header);
    add.push(header, judged.form === 'opaque' ? judged.spelled : `Bearer ${judged.text}`);
  }
  if (remove.has('cookie')) {
    const cookies = mergeCookieLines(cookieLines, judged?.place === 'cookie' ? toPair(judged) : undefined);
    if (cookies !== '') add.push('cookie', cookies);
  }
  return { remove, add };
}

/** Is it spelled as we would send it, and does no other credential share the header's name? */
function canStay(judged: Credential, { all, cookieLines }: Credentials): boolean {
  if (!judged.canonical) return false;
  // Old versions read the first Cookie line only.
  if (judged.place === 'cookie' && cookieLines.length > 1) return false;
  return all.every((one) => one === judged || one.header !== judged.header);
}

/** What browsers send: a bearer token, and a Cookie line of nothing but the `token` cookie. */
function isLoneCookieBeside(judged: Credential, { all, cookieLines }: Credentials): boolean {
  const other = all[0] === judged ? all[1] : all[0];
  return (
    all.length === 2 && cookieLines.length === 1 && other?.spelled === cookieLines[0] && other?.header === 'cookie'
  );
}

const toPair = (cookie: Credential): string => (cookie.form === 'opaque' ? cookie.spelled : `token=${cookie.text}`);
