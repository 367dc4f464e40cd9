/**
 * Where the models are in the bytes of a list answer, and cutting out what its reader may not use; every other byte stays.
 * The text is decoded as Latin-1, in which an index is a byte offset; only ids are decoded as UTF-8. jsonc-parser takes
 * 2.5 times as long.
 */
import { type ModelId, parseModelId } from '../policy/grant.ts';
import { endOfString } from '../references/bounds.ts';
import { isObject } from '../references/json.ts';

/** Where an answer names models, as plain data, which a thread can be sent: a tree of keys that the reader follows. */
export interface ListShape {
  readonly name: string;
  readonly root: ShapeNode;
  /** Sent where the answer cannot be read: lists nothing, in the shape that the client expects. */
  readonly empty: string;
  /** The answer lists the providers' models, as `{data: [{id, preset?}]}`. */
  readonly showsProviders?: true;
}

export interface ShapeNode {
  readonly mark?:
    | 'entries' /** an array whose elements are list entries; an entry that is a string is its own id */
    | 'names' /** an array of ids inside of an entry or beside the list */
    | 'id' /** the string by which the enclosing entry is used; outside of one, null when it is not permitted */
    | 'reference' /** a further id: null when it is not permitted */
    | 'csv' /** ids separated by commas in one string */
    | 'total'; /** a count of the entries of all pages, lowered by what this page loses */
  readonly keys?: Readonly<Record<string, ShapeNode>>;
  readonly each?: ShapeNode;
  /** On an entry: its id counts only where this key has this value; other entries stay. */
  readonly onlyIf?: { readonly key: string; readonly value: string };
}

/** From the first byte to the one behind the last; of a list, inside of its brackets. */
interface Span {
  readonly start: number;
  readonly end: number;
}
/** `id` is undefined where the text is no valid id, which is never permitted. */
type NamedSpan = Span & { readonly id: ModelId | undefined };
type EntryList = Span & { readonly entries: Entry[] };

interface Entry extends Span {
  readonly ids: NamedSpan[];
  readonly references: NamedSpan[];
  readonly names: EntryList[];
  readonly isModel: boolean;
}

export type ListIndex = ReturnType<typeof indexList>;

/** @throws SyntaxError if the body is not JSON, Error if what should be a list is none */
export function indexList(body: Buffer, shape: ListShape) {
  // Validity first: the reader below relies on it
  const parsed: unknown = JSON.parse(body.toString('utf8'));
  if (typeof parsed !== 'object' || parsed === null) throw new Error('the answer is no object and no array');
  const reader = new Reader(body);
  reader.value(shape.root, reader.outside);
  const { lists, outside, csv, totals } = reader;
  if (expectsEntries(shape.root) && lists.length === 0) throw new Error('the answer holds no list of models');
  return { lists, outside, csv, totals, providerIds: shape.showsProviders === true ? providerIdsIn(parsed) : [] };
}

function providerIdsIn(list: unknown): readonly string[] {
  const entries = isObject(list) && Array.isArray(list['data']) ? (list['data'] as unknown[]) : [];
  const models = entries.filter((entry) => isObject(entry)).filter(({ preset }) => preset !== true);
  return models.map(({ id }) => id).filter((id) => typeof id === 'string');
}

const expectsEntries = ({ mark, keys = {} }: ShapeNode): boolean =>
  mark === 'entries' || Object.values(keys).some(expectsEntries);

const newEntry = (start: number): Entry => ({ start, end: 0, ids: [], references: [], names: [], isModel: true });

class Reader {
  readonly lists: EntryList[] = [];
  readonly outside: Entry = newEntry(0);
  readonly csv: (Span & { readonly text: string })[] = [];
  readonly totals: (Span & { readonly value: number })[] = [];
  readonly #body: Buffer;
  readonly #text: string;
  #at = 0;

  constructor(body: Buffer) {
    this.#body = body;
    this.#text = body.toString('latin1');
  }

  value(node: ShapeNode | undefined, entry: Entry): void {
    this.#space();
    const start = this.#at;
    const first = this.#text[start];
    if (node === undefined) this.#skip(first);
    else if (first === '{') this.#object(node, entry);
    else if (first === '[') this.#array(node, entry);
    else {
      this.#skip(first);
      if (node.mark !== undefined) this.#note(node.mark, { start, end: this.#at }, entry);
    }
  }

  #object({ keys = {} }: ShapeNode, entry: Entry): void {
    this.#members('}', () => {
      const start = this.#at;
      this.#skip('"');
      const raw = this.#text.slice(start + 1, this.#at - 1);
      const key = raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw;
      this.#space();
      this.#at++; // the colon
      this.value(Object.hasOwn(keys, key) ? keys[key] : undefined, entry);
    });
  }

  #array(node: ShapeNode, outer: Entry): void {
    const { mark, each = {} } = node;
    const isList = mark === 'entries' || mark === 'names';
    const entries: Entry[] = [];
    const start = this.#at + 1;
    this.#members(']', () => {
      const entry = newEntry(this.#at);
      const isText = this.#text[this.#at] === '"';
      this.value(isList && isText ? { mark: 'id' } : each, isList ? entry : outer);
      // Only where the shape says that not every entry is a model, it is read again
      const read = each.onlyIf && (JSON.parse(this.#body.toString('utf8', entry.start, this.#at)) as unknown);
      const isModel = each.onlyIf === undefined || (isObject(read) && read[each.onlyIf.key] === each.onlyIf.value);
      entries.push({ ...entry, end: this.#at, isModel });
    });
    const list = { start, end: this.#at - 1, entries };
    if (mark === 'entries') this.lists.push(list);
    if (mark === 'names') outer.names.push(list);
  }

  #members(close: string, readMember: () => void): void {
    this.#at++;
    for (this.#space(); this.#text[this.#at] !== close; this.#space()) {
      readMember();
      this.#space();
      if (this.#text[this.#at] === ',') this.#at++;
    }
    this.#at++;
  }

  /** Files a scalar under its mark. Null and empty strings name nothing. */
  #note(mark: string, span: Span, entry: Entry): void {
    const scalar: unknown = JSON.parse(this.#body.toString('utf8', span.start, span.end));
    if (mark === 'total' && typeof scalar === 'number') this.totals.push({ ...span, value: scalar });
    if (mark === 'total' || typeof scalar !== 'string' || scalar === '') return;
    if (mark === 'csv') this.csv.push({ ...span, text: scalar });
    else if (mark === 'id' && entry !== this.outside) entry.ids.push({ ...span, id: parseModelId(scalar) });
    else entry.references.push({ ...span, id: parseModelId(scalar) });
  }

  /** Counts brackets outside of strings; the JSON is known to be valid. */
  #skip(first: string | undefined): void {
    if (first !== '"' && first !== '{' && first !== '[') {
      while (this.#at < this.#text.length && !END_OF_SCALAR.has(this.#text[this.#at] ?? '')) this.#at++;
      return;
    }
    let depth = 0;
    do {
      const code = this.#text.charCodeAt(this.#at);
      if (code === 0x22) this.#at = endOfString(this.#text, this.#at);
      else if (code === 0x7b || code === 0x5b) depth++;
      else if (code === 0x7d || code === 0x5d) depth--;
      this.#at++;
    } while (depth > 0);
  }

  #space(): void {
    while (this.#text.charCodeAt(this.#at) <= 0x20) this.#at++;
  }
}

const END_OF_SCALAR: ReadonlySet<string> = new Set([',', '}', ']', ' ', '\n', '\r', '\t']);

/** The `judge` that guards invoking decides here too, so that what is listed is exactly what can be used. */
export type Permits = (model: ModelId) => boolean;

type Edit = Span & { readonly text: string };

/** @param body the bytes that `index` was made of; never written to */
export function filterList(body: Buffer, { lists, outside, csv, totals }: ListIndex, permits: Permits) {
  const edits = nested(outside, permits);
  let kept = 0;
  let removed = 0;
  for (const list of lists) {
    const stay = permittedIn(list, permits);
    kept += stay.length;
    removed += list.entries.length - stay.length;
    // one by one: a list may be longer than the arguments of a call
    for (const entry of stay) for (const edit of nested(entry, permits)) edits.push(edit);
    for (const edit of gaps(list, stay)) edits.push(edit);
  }
  for (const span of csv) {
    const ids = span.text.split(',').filter((id) => permits(id.trim() as ModelId));
    edits.push({ ...span, text: JSON.stringify(ids.join(',')) });
  }
  for (const span of totals) edits.push({ ...span, text: String(Math.max(0, span.value - removed)) });
  return { body: apply(body, edits), kept, removed };
}

function nested({ references, names }: Entry, permits: Permits): Edit[] {
  const redacted = references.filter(({ id }) => id === undefined || !permits(id));
  const lists = names.flatMap((list) => gaps(list, permittedIn(list, permits)));
  return [...redacted.map(({ start, end }) => ({ start, end, text: 'null' })), ...lists];
}

/** No user can use an entry without a readable id. */
const permittedIn = ({ entries }: EntryList, permits: Permits): readonly Entry[] =>
  entries.filter(
    ({ isModel, ids }) => !isModel || (ids.length > 0 && ids.every(({ id }) => id !== undefined && permits(id))),
  );

/** The stretches between the entries that stay, each replaced by the comma that belongs there. */
function gaps({ start, end, entries: all }: EntryList, stay: readonly Entry[]): Edit[] {
  if (all.length === stay.length) return [];
  if (stay.length === 0) return [{ start, end, text: '' }];
  const edits: Edit[] = [];
  let from = start;
  for (const entry of stay) {
    if (entry.start > from) edits.push({ start: from, end: entry.start, text: entry === stay[0] ? '' : ',' });
    from = entry.end;
  }
  return from < end ? [...edits, { start: from, end, text: '' }] : edits;
}

function apply(body: Buffer, edits: Edit[]): Buffer {
  if (edits.length === 0) return body;
  edits.sort((one, other) => one.start - other.start);
  const parts: Buffer[] = [];
  let from = 0;
  for (const { start, end, text } of edits) {
    parts.push(body.subarray(from, start), Buffer.from(text));
    from = end;
  }
  return Buffer.concat([...parts, body.subarray(from)]);
}
