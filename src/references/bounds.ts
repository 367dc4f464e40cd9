/**
 * How much a body may hold. What parsed JSON takes of memory is estimated from its bytes before anything is parsed:
 * `[{},{},…]` takes twenty times its length, a text once. Measured on V8 of Node 26.
 */
import { isAscii } from 'node:buffer';
import { GatewayError } from '../errors.ts';
import { BACKSLASH, CLOSE_ARRAY, CLOSE_OBJECT, COLON, COMMA, OPEN_ARRAY, OPEN_OBJECT, QUOTE } from './json.ts';

const BOUNDS = {
  /** Each may have to be looked up: some 25 ms for all of them. */
  'names of models': 5_000,
  /** Together, and their characters: they are taken over from a thread. */
  'names of models and ids of messages': 100_000,
  'characters in names and ids': 8_000_000,
  /** A field takes a hundred times the memory of its bytes. */
  'fields of a form': 10_000,
};

/** @throws GatewayError `body_too_complex` */
export function bound(found: number, what: keyof typeof BOUNDS): void {
  if (found <= BOUNDS[what]) return;
  const [some, most] = [found, BOUNDS[what]].map(inWords);
  throw tooComplex(`Found ${some} or more ${what}. Allowed are ${most}. Send fewer in one request.`);
}

/** @throws GatewayError `body_too_complex` */
export function boundRecord(record: unknown): void {
  let entries = 0;
  let characters = 0;
  const count = (value: unknown): void => {
    if (typeof value === 'string') {
      entries++;
      characters += value.length;
    } else if (typeof value === 'object' && value !== null) {
      const isIterable = Array.isArray(value) || value instanceof Map || value instanceof Set;
      for (const one of isIterable ? (value as Iterable<unknown>) : Object.values(value)) count(one);
    }
  };
  count(record);
  bound(entries, 'names of models and ids of messages');
  bound(characters, 'characters in names and ids');
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
/** V8 keeps a text that is not all ASCII in two bytes a character; of short ones that is assumed. */
const ASKED_FOR_ASCII = 1024;

/**
 * @param body any bytes: what is no JSON has a weight too
 * @returns objects, arrays, texts and other scalars together, keys being none; and bytes of memory while it is parsed
 */
export function weighJson(body: Buffer) {
  const width = isAscii(body) ? 1 : 2;
  const known = new Uint32Array(KNOWN_KEYS);
  let values = 1;
  let memoryBytes = width * body.length;
  let stringAt = 0;
  let backslash = -1;
  let hasEscapedKey = false;
  for (let at = 0; at < body.length; at++) {
    const byte = body[at];
    if (byte === QUOTE) {
      stringAt = at;
      at = endOfString(body, at);
      const length = at - stringAt;
      const isNarrow = width === 1 || (length > ASKED_FOR_ASCII && isAscii(body.subarray(stringAt, at)));
      memoryBytes += STRING_BYTES + length * (isNarrow ? 1 : 2);
    } else if (byte === COMMA) {
      values++;
      memoryBytes += MEMBER_BYTES;
    } else if (byte === COLON) {
      const hash = hashOf(body, stringAt, at);
      memoryBytes += known[hash % KNOWN_KEYS] === hash ? KNOWN_KEY_BYTES : NEW_KEY_BYTES;
      known[hash % KNOWN_KEYS] = hash;
      if (backslash < stringAt) backslash = indexFrom(body, BACKSLASH, stringAt);
      hasEscapedKey ||= backslash < at;
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      memoryBytes += byte === OPEN_OBJECT ? OBJECT_BYTES : ARRAY_BYTES;
      if (body[at + 1] !== CLOSE_OBJECT && body[at + 1] !== CLOSE_ARRAY) values++;
    }
  }
  // `parseExactJson` then makes the value twice
  return { values, memoryBytes: hasEscapedKey ? 2 * memoryBytes : memoryBytes };
}

/** FNV-1a, of the first bytes. Keys that look alike take more memory, of the thread's own bounded share. */
function hashOf(body: Buffer, start: number, end: number): number {
  let hash = 0x811c9dc5;
  const last = Math.min(end, start + HASHED_BYTES);
  for (let at = start; at < last; at++) hash = Math.imul(hash ^ (body[at] ?? 0), 0x01000193);
  return hash >>> 0;
}

const HASHED_BYTES = 64;
const SHORT_STRING = 24;

/** Measured: of 10 MB in one text the native search takes 0.6 ms, reading byte by byte 40. Of short texts it is slower. */
function endOfString(body: Buffer, start: number): number {
  for (let at = start + 1; ; at++) {
    for (const near = Math.min(body.length, at + SHORT_STRING); at < near; at++) {
      if (body[at] === BACKSLASH) at++;
      else if (body[at] === QUOTE) return at;
    }
    const from = at;
    at = indexFrom(body, QUOTE, from);
    if (at === body.length) return at;
    let backslashes = 0;
    while (at - backslashes > from && body[at - 1 - backslashes] === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return at;
  }
}

function indexFrom(body: Buffer, byte: number, start: number): number {
  const index = body.indexOf(byte, start);
  return index === -1 ? body.length : index;
}

const MB = 1_000_000;
/** Bodies of up to 2 MB pass, whatever they hold. */
const ALWAYS_ALLOWED_BYTES = 64 * MB;
const ALLOWED_TIMES = 8;
/** One body at a time is as long as that, beside what is held (`transport/body.ts`), in a container of 768 MB. */
const MOST_MEMORY_BYTES = 320 * MB;
const WEIGHED_FROM = 1024 * 1024;

/** @throws GatewayError `body_too_complex` (413) where the body would take more memory than its length allows */
export function boundJson(given: Buffer | string): void {
  if (given.length <= WEIGHED_FROM) return;
  const body = typeof given === 'string' ? Buffer.from(given) : given;
  const allowed = Math.min(Math.max(ALLOWED_TIMES * body.length, ALWAYS_ALLOWED_BYTES), MOST_MEMORY_BYTES);
  const { values, memoryBytes } = weighJson(body);
  if (memoryBytes <= allowed) return;
  const found = `Found ${inWords(values)} values in ${inMb(body.length)}, which take ${inMb(memoryBytes)} to read.`;
  throw tooComplex(`${found} Allowed for this length are ${inMb(allowed)}. Send fewer values in one request.`);
}

const inWords = (count: number): string => count.toLocaleString('en');
const inMb = (bytes: number): string => `${(bytes / MB).toFixed(1)} MB`;
const tooComplex = (detail: string) => new GatewayError('body_too_complex', { detail });
