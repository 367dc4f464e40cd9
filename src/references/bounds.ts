/**
 * How much a body may hold. Each name is judged and each id compared while all others wait. What parsed JSON takes of
 * memory is estimated from its bytes before anything is parsed: `[{},{},…]` takes twenty times its length, a text once.
 * Measured on V8 of Node 26.
 */
import { isAscii } from 'node:buffer';
import { GatewayError } from '../errors.ts';
import { BACKSLASH, CLOSE_ARRAY, CLOSE_OBJECT, COLON, COMMA, OPEN_ARRAY, OPEN_OBJECT, QUOTE } from './json.ts';

/** Names of models. Each may have to be looked up: some 25 ms for all of them. */
const MOST_NAMES = 5_000;
/** Names and ids of messages together, and their characters. They are taken over from a thread. */
const MOST_ENTRIES = 100_000;
const MOST_CHARACTERS = 8_000_000;

/** @throws GatewayError `body_too_complex` */
export function boundNames(names: number): void {
  if (names > MOST_NAMES) throw tooMany(names, 'names of models', MOST_NAMES);
}

/** @throws GatewayError `body_too_complex` */
export function boundEntries(entries: number): void {
  if (entries > MOST_ENTRIES) throw tooMany(entries, 'names of models and ids of messages', MOST_ENTRIES);
}

/** @param record plain values, maps and sets of them @throws GatewayError `body_too_complex` */
export function boundRecord(record: unknown): void {
  const found = { entries: 0, characters: 0 };
  count(record, found);
  boundEntries(found.entries);
  if (found.characters > MOST_CHARACTERS)
    throw tooMany(found.characters, 'characters in names and ids', MOST_CHARACTERS);
}

function count(value: unknown, found: Record<'entries' | 'characters', number>): void {
  if (typeof value === 'string') {
    found.entries++;
    found.characters += value.length;
  } else if (value instanceof Map || value instanceof Set) {
    for (const one of value as Iterable<unknown>) count(one, found);
  } else if (typeof value === 'object' && value !== null) {
    for (const one of Array.isArray(value) ? (value as unknown[]) : Object.values(value)) count(one, found);
  }
}

function tooMany(found: number, what: string, allowed: number): GatewayError {
  const [some, most] = [found, allowed].map((count) => count.toLocaleString('en'));
  return new GatewayError('body_too_complex', {
    detail: `Found ${some} or more ${what}. Allowed are ${most}. Send fewer in one request.`,
  });
}

interface JsonWeight {
  /** Objects, arrays, texts and other scalars together; keys are none. */
  readonly values: number;
  /** Bytes of memory while it is parsed: its text and what becomes of it. */
  readonly memoryBytes: number;
}

const OBJECT_BYTES = 64;
const ARRAY_BYTES = 40;
/** A key that was not seen before, with the shape that it makes; a known one is a place in an object. */
const NEW_KEY_BYTES = 128;
const KNOWN_KEY_BYTES = 16;
const KNOWN_KEYS = 4096;
const STRING_BYTES = 24;
/** Its place in the array, and once more while the array is open. */
const MEMBER_BYTES = 12;
/** Texts up to here are looked through byte by byte: a native search costs more. */
const SHORT_STRING = 24;
/** V8 keeps a text that is not all ASCII in two bytes a character; of short ones that is assumed. */
const ASKED_FOR_ASCII = 1024;

/** @param body any bytes: what is no JSON has a weight too */
export function weighJson(body: Buffer): JsonWeight {
  const width = isAscii(body) ? 1 : 2;
  const known = new Uint32Array(KNOWN_KEYS);
  let values = 1;
  let memoryBytes = width * body.length;
  let stringAt = 0;
  /** The next one, where it is looked for. */
  let backslash = -1;
  let hasEscapedKey = false;
  for (let at = 0; at < body.length; at++) {
    const byte = body[at];
    if (byte === QUOTE) {
      const end = endOfString(body, at);
      const isNarrow = width === 1 || (end - at > ASKED_FOR_ASCII && isAscii(body.subarray(at, end)));
      memoryBytes += STRING_BYTES + (end - at) * (isNarrow ? 1 : 2);
      stringAt = at;
      at = end;
    } else if (byte === COMMA) {
      values++;
      memoryBytes += MEMBER_BYTES;
    } else if (byte === COLON) {
      const hash = hashOf(body, stringAt, at);
      const place = hash % KNOWN_KEYS;
      memoryBytes += known[place] === hash ? KNOWN_KEY_BYTES : NEW_KEY_BYTES;
      known[place] = hash;
      if (backslash < stringAt) backslash = indexFrom(body, BACKSLASH, stringAt);
      hasEscapedKey ||= backslash < at;
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      memoryBytes += byte === OPEN_OBJECT ? OBJECT_BYTES : ARRAY_BYTES;
      if (body[at + 1] !== CLOSE_OBJECT && body[at + 1] !== CLOSE_ARRAY) values++;
    }
  }
  // `parseExactJson` then reads each string alone, and keeps what an object or array holds in a list
  return { values, memoryBytes: hasEscapedKey ? 2 * memoryBytes : memoryBytes };
}

function indexFrom(body: Buffer, byte: number, start: number): number {
  const index = body.indexOf(byte, start);
  return index === -1 ? body.length : index;
}

/** FNV-1a, of the first bytes. Who makes keys that look alike takes more memory, of the thread's own bounded share. */
function hashOf(body: Buffer, start: number, end: number): number {
  let hash = 0x811c9dc5;
  const last = Math.min(end, start + HASHED_BYTES);
  for (let at = start; at < last; at++) hash = Math.imul(hash ^ (body[at] ?? 0), 0x01000193);
  return hash >>> 0;
}

const HASHED_BYTES = 64;

const MB = 1_000_000;
/** Bodies of up to 2 MB pass, whatever they hold. */
const ALWAYS_ALLOWED_BYTES = 64 * MB;
const ALLOWED_TIMES = 8;
/** One body at a time is as long as that, beside what is held (`transport/body.ts`), in a container of 768 MB. */
const MOST_MEMORY_BYTES = 320 * MB;

/** @throws GatewayError `body_too_complex` (413) where the body would take more memory than its length allows */
export function boundJson(body: Buffer): void {
  const allowed = Math.min(Math.max(ALLOWED_TIMES * body.length, ALWAYS_ALLOWED_BYTES), MOST_MEMORY_BYTES);
  const { values, memoryBytes } = weighJson(body);
  if (memoryBytes <= allowed) return;
  const found = `Found ${values.toLocaleString('en')} values in ${inMb(body.length)}, which take ${inMb(memoryBytes)} to read.`;
  const expected = `Allowed for this length are ${inMb(allowed)}. Send fewer values in one request.`;
  throw new GatewayError('body_too_complex', { detail: `${found} ${expected}` });
}

const inMb = (bytes: number): string => `${(bytes / MB).toFixed(1)} MB`;

/** @returns the index of the closing quote of the string that opens at `start` */
function endOfString(body: Buffer, start: number): number {
  let at = start + 1;
  for (;;) {
    for (const near = Math.min(body.length, at + SHORT_STRING); at < near; at++) {
      if (body[at] === BACKSLASH) at++;
      else if (body[at] === QUOTE) return at;
    }
    const end = indexFrom(body, QUOTE, at);
    if (end === body.length) return end;
    let backslashes = 0;
    while (end - 1 - backslashes >= at && body[end - 1 - backslashes] === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return end;
    at = end + 1;
  }
}
