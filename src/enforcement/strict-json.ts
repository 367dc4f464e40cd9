/**
 * JSON that every parser reads alike. The backend reads bodies with Python's `json.loads(bytes)`, which accepts more
 * than RFC 8259: UTF-16 and UTF-32, a byte order mark, NaN, and of repeated keys the last. What we judge must be what
 * it reads, so whatever two parsers could read differently is refused, never repaired and never passed on.
 */
import { isUtf8 } from 'node:buffer';
import { GatewayError } from '../errors.ts';

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
    value = JSON.parse(text);
  } catch (cause) {
    // SyntaxError quotes the body: it goes to nobody
    throw new GatewayError('body_unreadable', { cause: new Error('not JSON', { cause: (cause as Error).name }) });
  }
  assertUniqueKeys(text);
  return value;
}

/** @param text valid JSON, so that a string followed by a colon is a key */
function assertUniqueKeys(text: string): void {
  /** One entry a level: the keys seen in an object, undefined in an array. */
  const levels: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case OPEN_OBJECT:
      case OPEN_ARRAY:
        levels.push(text.charCodeAt(at) === OPEN_OBJECT ? new Set() : undefined);
        if (levels.length > MAX_DEPTH) throw unreadable('Found deeper nesting.');
        break;
      case CLOSE_OBJECT:
      case CLOSE_ARRAY:
        levels.pop();
        break;
      case QUOTE: {
        const end = endOfString(text, at);
        const keys = levels.at(-1);
        if (keys !== undefined && isFollowedByColon(text, end)) {
          const raw = text.slice(at + 1, end);
          const key = raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw;
          if (keys.has(key)) throw unreadable('Found a repeated key.');
          keys.add(key);
        }
        at = end;
      }
    }
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

function isFollowedByColon(text: string, endOfKey: number): boolean {
  let at = endOfKey + 1;
  while (text.charCodeAt(at) <= SPACE) at++;
  return text.charCodeAt(at) === COLON;
}

const unreadable = (detail: string) => new GatewayError('body_unreadable', { detail });

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const SPACE = 0x20;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
