/**
 * How much a body may hold. One look at JSON finds how it is built and what it will take of memory, before anything is
 * parsed: `[{},{},…]` takes twenty times its length, a text once. Measured on V8 of Node 26.
 */
import { GatewayError } from '../errors.ts';

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
const STRING_BYTES = 24;
/** Its place in the array, and once more while the array is open. */
const MEMBER_BYTES = 12;
/** V8 keeps a text that is not all ASCII in two bytes a character; of short ones that is assumed. */
const ASKED_FOR_ASCII = 1024;
const isAscii = (text: string): boolean => Buffer.byteLength(text) === text.length;

const [QUOTE, COMMA, COLON, BACKSLASH] = [0x22, 0x2c, 0x3a, 0x5c];
const [OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY] = [0x7b, 0x7d, 0x5b, 0x5d];
/** Begins what `parseExactJson` puts in the place of a key with an escape; keys that begin so are replaced too. */
export const STAND_IN = '\u007f';

/** Hashes of keys, by their lowest bits: used by one scan at a time. */
const known = new Uint32Array(4096);

/**
 * @param text any: what is no JSON has a weight too @param mostBytes of memory: of what takes more, not all is returned
 * @returns keys; levels of nesting; the places of keys with an escape; objects, arrays, texts and other scalars together,
 *   keys being none; and bytes of memory while it is parsed
 */
export function scanJson(text: string, mostBytes = Infinity) {
  known.fill(0);
  const escapedKeys: (readonly [start: number, end: number])[] = [];
  const width = isAscii(text) ? 1 : 2;
  let bytes = width * text.length;
  let [keys, values, depth, deepest, readings] = [0, 1, 0, 0, 1];
  let [start, end, backslash] = [0, 0, -1];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      start = at;
      at = end = endOfString(text, at);
      const isNarrow = width === 1 || (end - start > ASKED_FOR_ASCII && isAscii(text.slice(start, end)));
      bytes += STRING_BYTES + (end - start) * (isNarrow ? 1 : 2);
    } else if (code === COMMA) {
      values++;
      bytes += MEMBER_BYTES;
    } else if (code === COLON) {
      keys++;
      const hash = hashOf(text, start, end);
      bytes += known[hash % known.length] === hash ? KNOWN_KEY_BYTES : NEW_KEY_BYTES;
      known[hash % known.length] = hash;
      if (backslash < start) backslash = indexFrom(text, '\\', start);
      if (backslash > end && text.charAt(start + 1) !== STAND_IN) continue;
      // `parseExactJson` then makes the value twice
      readings = 2;
      if (readings * bytes <= mostBytes) escapedKeys.push([start, end + 1]);
    } else if (code === OPEN_OBJECT || code === OPEN_ARRAY) {
      bytes += code === OPEN_OBJECT ? OBJECT_BYTES : ARRAY_BYTES;
      deepest = Math.max(deepest, ++depth);
      const next = text.charCodeAt(at + 1);
      if (next !== CLOSE_OBJECT && next !== CLOSE_ARRAY) values++;
    } else if (code === CLOSE_OBJECT || code === CLOSE_ARRAY) depth--;
  }
  return { keys, depth: deepest, escapedKeys, values, memoryBytes: readings * bytes };
}

/** FNV-1a, of the first characters. Keys that look alike take more memory, of the thread's own bounded share. */
function hashOf(text: string, start: number, end: number): number {
  let hash = 0x811c9dc5;
  const last = Math.min(end, start + HASHED_CHARACTERS);
  for (let at = start; at < last; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}

const HASHED_CHARACTERS = 64;

/** @returns where the closing quote is, or the end of a text without one: of 10 MB the native search takes 0.6 ms */
export function endOfString(text: string, start: number): number {
  let end = indexFrom(text, '"', start + 1);
  while (end < text.length && isEscaped(text, end)) end = indexFrom(text, '"', end + 1);
  return end;
}

function isEscaped(text: string, at: number): boolean {
  let backslashes = 0;
  while (text.charCodeAt(at - 1 - backslashes) === BACKSLASH) backslashes++;
  return backslashes % 2 === 1;
}

function indexFrom(text: string, searched: string, start: number): number {
  const index = text.indexOf(searched, start);
  return index === -1 ? text.length : index;
}

const MB = 1_000_000;
/** Bodies of up to 2 MB pass, whatever they hold. */
const ALWAYS_ALLOWED_BYTES = 64 * MB;
const ALLOWED_TIMES = 8;
/** One body at a time is as long as that, beside what is held (`transport/body.ts`), in a container of 768 MB. */
const MOST_MEMORY_BYTES = 320 * MB;
const BOUNDED_FROM = 1024 * 1024;

/** @throws GatewayError `body_too_complex` (413) where the text would take more memory than its length allows */
export function scanBounded(text: string, bytes: number) {
  const times = Math.min(Math.max(ALLOWED_TIMES * bytes, ALWAYS_ALLOWED_BYTES), MOST_MEMORY_BYTES);
  const allowed = bytes <= BOUNDED_FROM ? Infinity : times;
  const scanned = scanJson(text, allowed);
  const { values, memoryBytes } = scanned;
  if (memoryBytes <= allowed) return scanned;
  const found = `Found ${inWords(values)} values in ${inMb(bytes)}, which take ${inMb(memoryBytes)} to read.`;
  throw tooComplex(`${found} Allowed for this length are ${inMb(allowed)}. Send fewer values in one request.`);
}

const inWords = (count: number): string => count.toLocaleString('en');
const inMb = (bytes: number): string => `${(bytes / MB).toFixed(1)} MB`;
const tooComplex = (detail: string) => new GatewayError('body_too_complex', { detail });
