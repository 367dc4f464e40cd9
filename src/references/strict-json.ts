/**
 * JSON that every parser reads alike. The backend reads bodies with Python's `json.loads(bytes)`, which accepts more
 * than RFC 8259: UTF-16 and UTF-32, a byte order mark, NaN, and of repeated keys the last. What we judge must be what
 * it reads, so whatever two parsers could read differently is refused, never repaired and never passed on.
 */
import { isUtf8 } from 'node:buffer';
import { GatewayError } from '../errors.ts';
import {
  CLOSE_ARRAY,
  CLOSE_OBJECT,
  COLON,
  endOfString,
  OPEN_ARRAY,
  OPEN_OBJECT,
  parseExactJson,
  QUOTE,
} from './exact-json.ts';

/** Python gives up at about 1,000 levels; real requests stay below 30. */
const MAX_DEPTH = 200;

/** @throws GatewayError `body_unreadable` (400) with what was found */
export function parseStrictJson(body: Buffer): unknown {
  if (body.length === 0) throw unreadable('Found an empty body.');
  // A byte order mark and UTF-16 are valid UTF-8 at times; JSON.parse refuses what they decode to.
  if (!isUtf8(body)) throw unreadable('Found bytes that are not UTF-8.');
  return parseStrictText(body.toString('utf8'));
}

/** The same for text that stands inside a JSON string. @throws GatewayError `body_unreadable` */
export function parseStrictText(text: string): unknown {
  let value: unknown;
  try {
    value = parseExactJson(text);
  } catch (cause) {
    // SyntaxError quotes the body: it goes to nobody
    throw new GatewayError('body_unreadable', { cause: new Error('not JSON', { cause: (cause as Error).name }) });
  }
  // Of repeated keys the value has only the last: it then holds fewer than the text. The text first: it bounds the depth
  const colons = countColons(text);
  if (countKeys(value) !== colons) throw unreadable('Found a repeated key.');
  if (mayBeCleaned(text) && holdsCleanedKey(value)) {
    throw unreadable('Found a key with a NUL or half of a surrogate pair.');
  }
  return value;
}

/**
 * The readings of what a request stores: as it was sent, and as a release stores it that cleans it.
 *
 * @param value of the body, or of a part of it
 * @param body whose bytes were found to be strict JSON
 */
export function storedReadings(value: unknown, body: Buffer): readonly unknown[] {
  const mayDiffer = body.includes('\\u') && mayBeCleaned(body.toString('utf8'));
  return mayDiffer ? [value, cleaned(value)] : [value];
}

/** In clean UTF-8 only an escape can spell these characters; a text that stands inside of JSON may hold them itself. */
const mayBeCleaned = (text: string): boolean => ESCAPED.test(text) || !text.isWellFormed();

const ESCAPED = /\\u(?:0000|d[89a-f])/i;
const CLEANED = /\0|\p{Cs}/gu;

/** @returns the value as the backend stores it: without NUL and lone surrogates (utils/misc.py, from 0.9) */
function cleaned(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll(CLEANED, '');
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(cleaned);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, cleaned(item)]));
}

/**
 * The backend takes NUL and lone surrogates out of what it stores, out of keys too, so that `mod\0el` becomes `model`
 * after it was judged (utils/misc.py `sanitize_data_for_db`, from 0.9).
 */
function holdsCleanedKey(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (Array.isArray(value)) return value.some(holdsCleanedKey);
  return Object.entries(value).some(([key, item]) => key.search(CLEANED) >= 0 || holdsCleanedKey(item));
}

/** @param text valid JSON, in which a colon outside of strings follows a key */
function countColons(text: string): number {
  let colons = 0;
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at);
    else if (code === COLON) colons++;
    else if (code === OPEN_OBJECT || code === OPEN_ARRAY) {
      if (++depth > MAX_DEPTH) throw unreadable('Found deeper nesting.');
    } else if (code === CLOSE_OBJECT || code === CLOSE_ARRAY) depth--;
  }
  return colons;
}

/** @param value parsed JSON of bounded depth: all its properties are its own, `__proto__` too */
function countKeys(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  let keys = 0;
  if (Array.isArray(value)) for (const item of value) keys += countKeys(item);
  else for (const key in value) keys += 1 + countKeys((value as Record<string, unknown>)[key]);
  return keys;
}

const unreadable = (detail: string) => new GatewayError('body_unreadable', { detail });
