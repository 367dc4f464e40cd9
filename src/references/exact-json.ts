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

/** Nobody who asks follows a value that deep: those who judge refuse it. */
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

const BACKSLASH = 0x5c;
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
