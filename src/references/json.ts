import { isUtf8 } from 'node:buffer';
import { GatewayError } from '../errors.ts';

/**
 * `JSON.parse` without a defect of V8 (nodejs/node#63785; Node 24 and 26): after it has read the key `\u006`, six
 * characters with a real backslash, it reads the escaped key `"\u006dodel"` as that one. Two requests would then choose
 * which model is judged and which one is run. Texts with no escape in a key, nearly all, are left to `JSON.parse`.
 */

/** @throws SyntaxError as `JSON.parse` does */
export function parseExactJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  if (!text.includes('\\') || !hasEscapedKey(text)) return value;
  return readExactly(text) ?? JSON.parse(text);
}

/** @returns the value, or undefined where the text is no JSON, or holds what only Python reads (NaN) */
export function tryParseJson(text: string): unknown {
  try {
    return parseExactJson(text);
  } catch {
    return undefined;
  }
}

/** @returns the index of the closing quote of the string that opens at `start` */
export function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(end - 1 - backslashes) === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return end;
  }
  return text.length;
}

function hasEscapedKey(text: string): boolean {
  for (let start = text.indexOf('"'); start !== -1;) {
    const end = endOfString(text, start);
    const isKey = text.charCodeAt(skipSpace(text, end + 1)) === COLON;
    if (isKey && text.slice(start, end).includes('\\')) return true;
    start = text.indexOf('"', end + 1);
  }
  return false;
}

/** Callers refuse a value that is nested this deep without looking into it. */
const MAX_DEPTH = 500;

/** @param text valid JSON @returns its value, each string read alone, as no key; undefined where it is nested too deep */
function readExactly(text: string): unknown {
  let at = 0;
  const next = (): number => text.charCodeAt((at = skipSpace(text, at)));

  function readString(): string {
    const start = at;
    at = endOfString(text, start) + 1;
    return JSON.parse(text.slice(start, at)) as string;
  }
  function readValue(depth: number): unknown {
    if (depth > MAX_DEPTH) throw new TooDeep();
    const code = next();
    if (code === QUOTE) return readString();
    if (code === OPEN_OBJECT) return Object.fromEntries(readMembers(CLOSE_OBJECT, () => readEntry(depth)));
    if (code === OPEN_ARRAY) return readMembers(CLOSE_ARRAY, () => readValue(depth + 1));
    const start = at;
    while (at < text.length && !AFTER_SCALAR.has(text.charCodeAt(at))) at++;
    return JSON.parse(text.slice(start, at));
  }
  function readEntry(depth: number): [string, unknown] {
    const key = readString();
    next();
    at++; // the colon
    return [key, readValue(depth + 1)];
  }
  function readMembers<T>(close: number, readMember: () => T): T[] {
    const members: T[] = [];
    at++;
    while (next() !== close) {
      if (text.charCodeAt(at) === COMMA) {
        at++;
        next();
      }
      members.push(readMember());
    }
    at++;
    return members;
  }
  try {
    return readValue(0);
  } catch (error) {
    if (error instanceof TooDeep) return undefined;
    throw error;
  }
}

class TooDeep extends Error {}

function skipSpace(text: string, start: number): number {
  let at = start;
  while (SPACE.has(text.charCodeAt(at))) at++;
  return at;
}

export const BACKSLASH = 0x5c;
export const QUOTE = 0x22;
export const COLON = 0x3a;
export const COMMA = 0x2c;
export const OPEN_OBJECT = 0x7b;
export const CLOSE_OBJECT = 0x7d;
export const OPEN_ARRAY = 0x5b;
export const CLOSE_ARRAY = 0x5d;
/** RFC 8259 2. */
const SPACE: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d]);
const AFTER_SCALAR: ReadonlySet<number> = new Set([...SPACE, COMMA, CLOSE_OBJECT, CLOSE_ARRAY]);

// JSON that every parser reads alike. The backend reads bodies with Python's `json.loads(bytes)`, which accepts more
// than RFC 8259: UTF-16 and UTF-32, a byte order mark, NaN, and of repeated keys the last. What we judge must be what
// it reads, so whatever two parsers could read differently is refused, never repaired and never passed on.

/** Python gives up at about 1,000 levels; real requests stay below 30. */
const MAX_STRICT_DEPTH = 200;

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
    // A SyntaxError quotes the body, which must not reach a log
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
      if (++depth > MAX_STRICT_DEPTH) throw unreadable('Found deeper nesting.');
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

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What JSON leaves out and what it calls null are the same to the backend (`.get`). */
export const isPresent = (value: unknown): boolean => value !== undefined && value !== null;

/** `bool(value)` of Python for what JSON can hold: the backend tests `model_item.get("direct")` that way. */
export function isTruthyInPython(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (isObject(value)) return Object.keys(value).length > 0;
  return Boolean(value);
}
