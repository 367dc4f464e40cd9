/**
 * Cookies as Starlette's `cookie_parser` (0.45 to 1.10) and Python's `http.cookies._unquote` read them. Not RFC 6265: split
 * on `;` whatever the quotes say, stripped of Python's white space, unquoted with octal escapes, never percent-decoded.
 */

const isPythonSpace = (code: number): boolean =>
  code <= 0x20 ? code === 0x20 || (code >= 0x09 && code <= 0x0d) || code >= 0x1c : code === 0x85 || code === 0xa0;

/** No regular expression: on a line full of blanks one that is anchored at the end takes quadratic time. */
function strip(text: string, isStripped: (code: number) => boolean): string {
  let start = 0;
  let end = text.length;
  while (start < end && isStripped(text.charCodeAt(start))) start++;
  while (end > start && isStripped(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

export const stripAsPython = (text: string): string => strip(text, isPythonSpace);

/** Only the blanks that HTTP itself allows: what else Python would strip stays part of the pair. */
const trimBlank = (text: string): string => strip(text, (code) => code === 0x20 || code === 0x09);

const ESCAPE = /\\(?:([0-3][0-7][0-7])|([^\n]))/g;

/** Python's `http.cookies._unquote`: text that does not both start and end with a double quote is returned as it is. */
function unquoteAsPython(text: string): string {
  if (text.length < 2 || !text.startsWith('"') || !text.endsWith('"')) return text;
  const inner = text.slice(1, -1);
  if (!inner.includes('\\')) return inner;
  return inner.replace(ESCAPE, (_match, octal: string | undefined, character: string | undefined) =>
    octal === undefined ? (character ?? '') : String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

/** One `token` cookie: the pair as it was spelled, and the value that the backend gets. */
export type TokenPair = NonNullable<ReturnType<typeof toTokenPair>>;

/** @returns the pair if this chunk between two semicolons is a cookie named `token` (exact case) */
function toTokenPair(chunk: string) {
  const equals = chunk.indexOf('=');
  if (equals === -1 || stripAsPython(chunk.slice(0, equals)) !== 'token') return undefined;
  return { spelled: trimBlank(chunk), value: unquoteAsPython(stripAsPython(chunk.slice(equals + 1))) };
}

/** Every `token` cookie of one Cookie line, in order; the backend takes the last. */
export function tokenPairs(line: string): readonly TokenPair[] {
  if (!line.includes('token')) return [];
  return line
    .split(';')
    .map(toTokenPair)
    .filter((pair) => pair !== undefined);
}

/** All Cookie lines as one, with no `token` cookie but this pair, where the last one stood. Other bytes and order stay. */
export function mergeCookieLines(lines: readonly string[], token: string | undefined): string {
  let slot = token === undefined ? 0 : lines.reduce((count, line) => count + tokenPairs(line).length, 0);
  const merged: string[] = [];
  for (const line of lines) {
    const chunks: string[] = [];
    for (const chunk of line.split(';')) {
      if (toTokenPair(chunk) === undefined) chunks.push(chunk);
      else if (--slot === 0 && token !== undefined) chunks.push(` ${token}`);
    }
    const rest = trimBlank(chunks.join(';'));
    if (rest !== '') merged.push(rest);
  }
  return merged.join('; ');
}
