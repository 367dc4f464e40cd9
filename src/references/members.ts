/**
 * JSON edited as bytes: where the members of an object stand, and other values in their places. All other bytes stay as
 * they came. The text is decoded as Latin-1, in which an index is a byte offset.
 */
import { endOfString } from './bounds.ts';
import { isObject } from './json.ts';

/** From the first byte to the one behind the last. */
export type Span = Readonly<{ start: number; end: number }>;
export type Edit = Span & { readonly text: string };

/** Where a value stands, and of an object the members that were looked for, as far as they are there. */
export type Place = Span & {
  readonly inside?: Readonly<{ isEmpty: boolean; members: Readonly<Record<string, Place>> }>;
};

/** Names of members to look for, each with those to look for inside of it. */
type MemberNames = Readonly<{ [name: string]: MemberNames }>;

/** @param body strict JSON @param value what it says @returns undefined where it is no object */
export function placeOf(body: Buffer, value: unknown, names: MemberNames): Place | undefined {
  if (!isObject(value)) return undefined;
  const start = body.indexOf('{');
  const isSearched = Object.keys(names).some((name) => Object.hasOwn(value, name));
  const isEmpty = Object.keys(value).length === 0;
  // Nearly all bodies have none of them: the rest need not be looked at
  if (!isSearched) return { start, end: body.length, inside: { isEmpty, members: {} } };
  return placeAt(body.toString('latin1'), { start, end: body.length }, value, names);
}

function placeAt(text: string, span: Span, value: unknown, names: MemberNames): Place {
  if (!isObject(value)) return span;
  const members: Record<string, Place> = {};
  for (let at = afterSpace(text, span.start + 1); text[at] !== '}'; at = afterSpace(text, at)) {
    const endOfKey = endOfString(text, at) + 1;
    const name = keyOf(text.slice(at, endOfKey));
    const start = afterSpace(text, endOfKey);
    at = endOfValue(text, start);
    const inside = Object.hasOwn(names, name) ? names[name] : undefined;
    if (inside !== undefined) members[name] = placeAt(text, { start, end: at }, value[name], inside);
  }
  return { ...span, inside: { isEmpty: Object.keys(value).length === 0, members } };
}

/** Of bytes beyond ASCII it makes no name that is looked for. */
const keyOf = (quoted: string): string =>
  quoted.includes('\\') ? (JSON.parse(quoted) as string) : quoted.slice(1, -1);

/** @returns the index behind the value that begins there: brackets are counted outside of strings */
export function endOfValue(text: string, start: number): number {
  let at = start;
  for (let depth = 0; at < text.length; at++) {
    const character = text.charAt(at);
    if (character === '"') at = endOfString(text, at);
    else if (character === '{' || character === '[') depth++;
    else if (depth === 0 && BETWEEN.has(character)) return at;
    else if ((character === '}' || character === ']') && depth-- === 0) return at;
  }
  return at;
}

/** Passes commas and colons too: the JSON is known to be valid. */
export function afterSpace(text: string, start: number): number {
  let at = start;
  while (BETWEEN.has(text.charAt(at))) at++;
  return at;
}

const BETWEEN: ReadonlySet<string> = new Set([':', ',', ' ', '\n', '\r', '\t']);

/** Values to be set. An object is set member by member where an object stands already. */
export type Members = Readonly<{ [name: string]: string | number | boolean | null | Members }>;

/**
 * Sets members: a value that is there is replaced, a new member comes first.
 * @param place of the whole body, looked for with the names of all that is set @returns parts of the new body, in order
 */
export function setMembers(body: Buffer, place: Place, members: Members): readonly Buffer[] {
  return spliced(body, editsOf(place, members));
}

function editsOf({ start, end, inside }: Place, value: Members[string]): Edit[] {
  if (inside === undefined || typeof value !== 'object' || value === null) {
    return [{ start, end, text: JSON.stringify(value) }];
  }
  const edits: Edit[] = [];
  const added: string[] = [];
  for (const [name, one] of Object.entries(value)) {
    const known = inside.members[name];
    if (known === undefined) added.push(`${JSON.stringify(name)}:${JSON.stringify(one)}`);
    else edits.push(...editsOf(known, one));
  }
  if (added.length === 0) return edits;
  const text = added.join(',') + (inside.isEmpty ? '' : ',');
  return [{ start: start + 1, end: start + 1, text }, ...edits];
}

/** @returns the bytes with other texts in the places of the edits, in parts: a long body is not copied */
export function spliced(body: Buffer, edits: Edit[]): readonly Buffer[] {
  if (edits.length === 0) return [body];
  edits.sort((one, other) => one.start - other.start);
  const parts: Buffer[] = [];
  let from = 0;
  for (const { start, end, text } of edits) {
    parts.push(body.subarray(from, start), Buffer.from(text));
    from = end;
  }
  return [...parts, body.subarray(from)];
}
