/**
 * Where the models are in the bytes of a list answer, and cutting out what its reader may not use; every other byte stays.
 * The text is decoded as Latin-1, in which an index is a byte offset; only ids are decoded as UTF-8. jsonc-parser takes
 * 2.5 times as long.
 */
import { type ModelId, parseModelId } from '../policy/grant.ts';
import { isObject } from '../references/json.ts';
import { type Edit, type Span, afterSpace, endOfValue, spliced } from '../references/members.ts';

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
    | 'total' /** a count of the entries of all pages, lowered by what this page loses */
    | 'kind'; /** what the enclosing entry is: no model, and it stays, unless it is `model` */
  readonly keys?: Readonly<Record<string, ShapeNode>>;
  readonly each?: ShapeNode;
  readonly model?: string;
}

/** The span is inside of its brackets. `isCounted`: its elements are entries of the answer, not names inside of one. */
type EntryList = Span & { readonly entries: Entry[]; readonly isCounted: boolean };
/** `id` is undefined where the text is no valid id, which is never permitted. */
type Reference = Span & Readonly<{ id: ModelId | undefined } | { csv: string } | { total: number }>;

interface Entry {
  readonly start: number;
  end: number;
  readonly ids: (ModelId | undefined)[];
  readonly references: Reference[];
  readonly lists: EntryList[];
  isModel: boolean;
}

export type ListIndex = ReturnType<typeof indexList>;

/** @throws SyntaxError if the body is not JSON, Error if what should be a list is none */
export function indexList(body: Buffer, shape: ListShape) {
  // Validity first: the reader below relies on it
  const parsed: unknown = JSON.parse(body.toString('utf8'));
  if (typeof parsed !== 'object' || parsed === null) throw new Error('the answer is no object and no array');
  const reader = new Reader(body);
  reader.value(shape.root, reader.outside);
  const { outside } = reader;
  if (expectsEntries(shape.root) && !outside.lists.some(({ isCounted }) => isCounted)) {
    throw new Error('the answer holds no list of models');
  }
  return { outside, providerIds: shape.showsProviders === true ? providerIdsIn(parsed) : [] };
}

function providerIdsIn(list: unknown): readonly string[] {
  const entries = isObject(list) && Array.isArray(list['data']) ? (list['data'] as unknown[]) : [];
  const models = entries.filter((entry) => isObject(entry)).filter(({ preset }) => preset !== true);
  return models.map(({ id }) => id).filter((id) => typeof id === 'string');
}

const expectsEntries = ({ mark, keys = {} }: ShapeNode): boolean =>
  mark === 'entries' || Object.values(keys).some(expectsEntries);

const newEntry = (start: number): Entry => ({ start, end: 0, ids: [], references: [], lists: [], isModel: true });

class Reader {
  readonly outside: Entry = newEntry(0);
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
    if (node !== undefined && this.#text[start] === '{') this.#members('}', () => this.#property(node, entry));
    else if (node !== undefined && this.#text[start] === '[') this.#array(node, entry);
    else {
      this.#skip();
      if (node?.mark !== undefined) this.#note(node, { start, end: this.#at }, entry);
    }
  }

  #property({ keys = {} }: ShapeNode, entry: Entry): void {
    const start = this.#at;
    this.#skip();
    const raw = this.#text.slice(start + 1, this.#at - 1);
    const key = raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw;
    this.value(Object.hasOwn(keys, key) ? keys[key] : undefined, entry);
  }

  #array({ mark, each = {} }: ShapeNode, outer: Entry): void {
    const isList = mark === 'entries' || mark === 'names';
    const entries: Entry[] = [];
    const start = this.#at + 1;
    this.#members(']', () => {
      const entry = newEntry(this.#at);
      const isText = this.#text[this.#at] === '"';
      this.value(isList && isText ? { mark: 'id' } : each, isList ? entry : outer);
      entry.end = this.#at;
      entries.push(entry);
    });
    if (isList) outer.lists.push({ start, end: this.#at - 1, entries, isCounted: mark === 'entries' });
  }

  #members(close: string, readMember: () => void): void {
    this.#at++;
    for (this.#space(); this.#text[this.#at] !== close; this.#space()) readMember();
    this.#at++;
  }

  /** Files a scalar under its mark. Null and empty strings name nothing. */
  #note({ mark, model }: ShapeNode, span: Span, entry: Entry): void {
    const scalar: unknown = JSON.parse(this.#body.toString('utf8', span.start, span.end));
    if (mark === 'kind') entry.isModel = scalar === model;
    else if (mark === 'total' && typeof scalar === 'number') entry.references.push({ ...span, total: scalar });
    else if (mark === 'total' || typeof scalar !== 'string' || scalar === '') return;
    else if (mark === 'csv') entry.references.push({ ...span, csv: scalar });
    else if (mark === 'id' && entry !== this.outside) entry.ids.push(parseModelId(scalar));
    else entry.references.push({ ...span, id: parseModelId(scalar) });
  }

  #skip(): void {
    this.#at = endOfValue(this.#text, this.#at);
  }

  #space(): void {
    this.#at = afterSpace(this.#text, this.#at);
  }
}

/** The `judge` that guards invoking decides here too, so that what is listed is exactly what can be used. */
export type Permits = (model: ModelId) => boolean;

/** @param body the bytes that `index` was made of; never written to */
export function filterList(body: Buffer, { outside }: ListIndex, permits: Permits) {
  const edits: Edit[] = [];
  let [kept, removed] = [0, 0];
  // No user can use an entry without a readable id
  const isUsable = ({ isModel, ids }: Entry) =>
    !isModel || (ids.length > 0 && ids.every((id) => id !== undefined && permits(id)));
  const filterEntry = ({ references, lists }: Entry): void => {
    for (const list of lists) {
      const stay = list.entries.filter(isUsable);
      kept += list.isCounted ? stay.length : 0;
      removed += list.isCounted ? list.entries.length - stay.length : 0;
      for (const entry of stay) filterEntry(entry);
      // one by one: a list may be longer than the arguments of a call
      for (const edit of gaps(list, stay)) edits.push(edit);
    }
    for (const reference of references) {
      const text = redacted(reference, permits, removed);
      if (text !== undefined) edits.push({ ...reference, text });
    }
  };
  filterEntry(outside);
  return { body: edits.length === 0 ? body : Buffer.concat(spliced(body, edits)), kept, removed };
}

/** @returns undefined where it stays */
function redacted(reference: Reference, permits: Permits, removed: number): string | undefined {
  if ('total' in reference) return String(Math.max(0, reference.total - removed));
  if (!('csv' in reference)) return reference.id !== undefined && permits(reference.id) ? undefined : 'null';
  const ids = reference.csv.split(',').filter((id) => permits(id.trim() as ModelId));
  return JSON.stringify(ids.join(','));
}

/** The stretches between the entries that stay, each replaced by the comma that belongs there. */
function gaps({ start, end, entries: all }: EntryList, stay: readonly Entry[]): Edit[] {
  if (all.length === stay.length) return [];
  const edits: Edit[] = [];
  let from = start;
  for (const entry of stay) {
    if (entry.start > from) edits.push({ start: from, end: entry.start, text: entry === stay[0] ? '' : ',' });
    from = entry.end;
  }
  return [...edits, { start: from, end, text: '' }];
}
