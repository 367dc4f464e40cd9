/** JSON read as the backend does, or refused: Python accepts UTF-16, UTF-32, NaN, and of repeated keys the last. */
import { isUtf8 } from 'node:buffer';
import { GatewayError } from '../errors.ts';
import { STAND_IN, scanBounded, scanJson } from './bounds.ts';

/**
 * `JSON.parse` without a defect of V8 (nodejs/node#63785; Node 24 and 26): after it has read the key `\u006`, six
 * characters with a real backslash, it reads the escaped key `"\u006dodel"` as that one. Two requests would then choose
 * which model is judged and which one is run. Texts with no escape in a key, nearly all, are left to `JSON.parse`.
 *
 * @throws SyntaxError as `JSON.parse` does, RangeError where the text is nested deeper than `maxDepth`
 */
export function parseExactJson(text: string, maxDepth = Infinity): unknown {
  const value: unknown = JSON.parse(text);
  if (maxDepth === Infinity && !text.includes('\\')) return value;
  const { depth, escapedKeys } = scanJson(text);
  if (depth > maxDepth) throw new RangeError('nested too deep');
  return escapedKeys.length === 0 ? value : readKeysAlone(text, escapedKeys);
}

/** @returns undefined where the text is no JSON */
export function tryParseJson(text: string): unknown {
  try {
    return parseExactJson(text);
  } catch {
    return undefined;
  }
}

/** Reads each of these keys as a string of its own, and the rest with stand-ins in their places. */
function readKeysAlone(text: string, places: readonly (readonly [start: number, end: number])[]): unknown {
  const names = places.map(([start, end]) => JSON.parse(text.slice(start, end)) as string);
  let from = 0;
  const parts = places.map(([start, end], at) => {
    const before = text.slice(from, start);
    from = end;
    return `${before}"${STAND_IN}${at}"`;
  });
  const nameOf = (key: string) => (key.startsWith(STAND_IN) ? (names[Number(key.slice(1))] ?? key) : key);
  return mapJson(JSON.parse(parts.join('') + text.slice(from)), (value) => value, nameOf);
}

function mapJson(value: unknown, string: (text: string) => string, key: (name: string) => string): unknown {
  if (typeof value === 'string') return string(value);
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => mapJson(item, string, key));
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [key(name), mapJson(item, string, key)]));
}

/** Python gives up at about 1,000 levels; real requests stay below 30. */
const MAX_STRICT_DEPTH = 200;

/** @throws GatewayError `body_unreadable` (400) with what was found, `body_too_complex` (413) */
export function parseStrictJson(body: Buffer): unknown {
  if (body.length === 0) throw unreadable('Found an empty body.');
  // A byte order mark and UTF-16 are valid UTF-8 at times; JSON.parse refuses what they decode to
  if (!isUtf8(body)) throw unreadable('Found bytes that are not UTF-8.');
  return parseStrictText(body.toString('utf8'), body.length);
}

/** The same for text that stands inside a JSON string. @throws GatewayError `body_unreadable`, `body_too_complex` (413) */
export function parseStrictText(text: string, bytes = text.length): unknown {
  const { keys, depth, escapedKeys } = scanBounded(text, bytes);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    // A SyntaxError quotes the body, which must not reach a log
    throw new GatewayError('body_unreadable', { cause: new Error('not JSON', { cause: (cause as Error).name }) });
  }
  if (depth > MAX_STRICT_DEPTH) throw unreadable('Found deeper nesting.');
  if (escapedKeys.length > 0) value = readKeysAlone(text, escapedKeys);
  // Of repeated keys the value has only the last: it then holds fewer than the text
  if (countKeys(value) !== keys) throw unreadable('Found a repeated key.');
  if (mayBeCleaned(text) && holdsCleanedKey(value)) {
    throw unreadable('Found a key with a NUL or half of a surrogate pair.');
  }
  return value;
}

/**
 * What a request stores: as it was sent, and as a release stores it that takes NUL and lone surrogates out (utils/misc.py
 * `sanitize_data_for_db`, from 0.9). @param value the strict JSON `body`, or a part of it
 */
export function storedReadings(value: unknown, body: Buffer): readonly unknown[] {
  const mayDiffer = body.includes('\\u') && mayBeCleaned(body.toString('utf8'));
  return mayDiffer ? [value, mapJson(value, clean, clean)] : [value];
}

/** In clean UTF-8 only an escape can spell these characters; a text that stands inside of JSON may hold them itself. */
const mayBeCleaned = (text: string): boolean => ESCAPED.test(text) || !text.isWellFormed();

const ESCAPED = /\\u(?:0000|d[89a-f])/i;
const CLEANED = /\0|\p{Cs}/gu;
const clean = (text: string): string => text.replaceAll(CLEANED, '');

/** They are taken out of keys too, so that `mod\0el` becomes `model` after it was judged. */
function holdsCleanedKey(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (Array.isArray(value)) return value.some(holdsCleanedKey);
  return Object.entries(value).some(([key, item]) => key.search(CLEANED) >= 0 || holdsCleanedKey(item));
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

/** `bool(value)` of Python for what JSON can hold: the backend tests `model_item.get("direct")` that way. */
export function isTruthyInPython(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  return isObject(value) ? Object.keys(value).length > 0 : Boolean(value);
}
