/**
 * Where the models are in the bytes of a list answer. Filtering cuts bytes out and leaves every other byte as the backend
 * wrote it: numbers too large for JavaScript, float spellings, key order, escapes.
 *
 * The text is decoded as Latin-1, in which an index is a byte offset; JSON's own characters are ASCII, so its structure
 * reads the same, and only the ids are decoded as UTF-8. A tokenizer of JSON that gives offsets (jsonc-parser) takes 2.5
 * times as long.
 */
import { type ModelId, parseModelId } from '../policy/grant.ts';
import { endOfString } from '../references/json.ts';

/**
 * Where an answer names models, as plain data, which a thread can be sent: a tree of keys that the reader follows. What no
 * shape mentions is passed byte for byte.
 */
export interface ListShape {
  /** Short name for logs and metrics. */
  readonly name: string;
  readonly root: ShapeNode;
  /** Sent where the answer cannot be read: lists nothing, in the shape that the client expects. */
  readonly empty: string;
  /** The answer lists the providers' models, as `{data: [{id, preset?}]}`. */
  readonly showsProviders?: true;
}

export interface ShapeNode {
  /** What stands at this place: */
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

interface Span {
  readonly start: number;
  /** Behind the last byte. */
  readonly end: number;
}

/** A string that names a model; `id` is undefined where the text is no valid id, which is never permitted. */
export interface NamedSpan extends Span {
  readonly id: ModelId | undefined;
}

export interface Entry extends Span {
  readonly ids: NamedSpan[];
  readonly references: NamedSpan[];
  /** Arrays of ids inside of the entry. */
  readonly names: EntryList[];
  /** Whether this entry is a model at all. */
  readonly isModel: boolean;
}

/** An array of entries: `start` and `end` are the places inside its brackets. */
export interface EntryList extends Span {
  readonly entries: Entry[];
}

export interface ListIndex {
  readonly lists: EntryList[];
  /** Outside of any entry. */
  readonly references: NamedSpan[];
  readonly names: EntryList[];
  readonly csv: (Span & { readonly text: string })[];
  readonly totals: (Span & { readonly value: number })[];
}

/** @throws SyntaxError if the body is not JSON, Error if what should be a list is none */
export function indexList(body: Buffer, shape: ListShape): ListIndex {
  // Validity first: the reader below relies on it
  const parsed: unknown = JSON.parse(body.toString('utf8'));
  if (typeof parsed !== 'object' || parsed === null) throw new Error('the answer is no object and no array');
  const reader = new Reader(body);
  reader.value(shape.root, undefined);
  if (expectsEntries(shape.root) && reader.lists.length === 0) throw new Error('the answer holds no list of models');
  const { lists, references, names, csv, totals } = reader;
  return { lists, references, names, csv, totals };
}

/** Whether an answer without any list of entries has lost its shape. */
function expectsEntries(node: ShapeNode): boolean {
  return node.mark === 'entries' || Object.values(node.keys ?? {}).some(expectsEntries);
}

class Reader implements ListIndex {
  readonly lists: EntryList[] = [];
  readonly references: NamedSpan[] = [];
  readonly names: EntryList[] = [];
  readonly csv: (Span & { text: string })[] = [];
  readonly totals: (Span & { value: number })[] = [];
  private readonly body: Buffer;
  private readonly text: string;
  private at = 0;

  constructor(body: Buffer) {
    this.body = body;
    this.text = body.toString('latin1');
  }

  /** Reads the value at `at` and leaves `at` behind it. */
  value(node: ShapeNode | undefined, entry: Entry | undefined): void {
    this.space();
    const start = this.at;
    const first = this.text[start];
    if (node === undefined) this.skip(first);
    else if (first === '{') this.object(node, entry);
    else if (first === '[') this.array(node, entry);
    else {
      this.skip(first);
      this.note(node, { start, end: this.at }, entry);
    }
  }

  private object(node: ShapeNode, entry: Entry | undefined): void {
    this.at++;
    for (this.space(); this.text[this.at] !== '}'; this.space()) {
      const key = this.string();
      this.space();
      this.at++; // the colon
      this.value(node.keys !== undefined && Object.hasOwn(node.keys, key) ? node.keys[key] : undefined, entry);
      this.space();
      if (this.text[this.at] === ',') this.at++;
    }
    this.at++;
  }

  private array(node: ShapeNode, outer: Entry | undefined): void {
    const isList = node.mark === 'entries' || node.mark === 'names';
    const list = { start: this.at + 1, end: 0, entries: [] as Entry[] };
    this.at++;
    for (this.space(); this.text[this.at] !== ']'; this.space()) {
      const entry = { start: this.at, end: 0, ids: [], references: [], names: [], isModel: true };
      const quoted = this.text[this.at] === '"';
      this.value(isList && quoted ? { mark: 'id' } : (node.each ?? EMPTY), isList ? entry : outer);
      list.entries.push({ ...entry, end: this.at, isModel: this.isModel(node.each, entry.start) });
      this.space();
      if (this.text[this.at] === ',') this.at++;
    }
    list.end = this.at;
    if (node.mark === 'entries') this.lists.push(list);
    if (node.mark === 'names') (outer?.names ?? this.names).push(list);
    this.at++;
  }

  /** Reads the entry again where the shape says that not every entry is a model. */
  private isModel(node: ShapeNode | undefined, start: number): boolean {
    if (node?.onlyIf === undefined) return true;
    const entry: unknown = JSON.parse(this.body.toString('utf8', start, this.at));
    return (entry as Record<string, unknown> | null)?.[node.onlyIf.key] === node.onlyIf.value;
  }

  /** Files a scalar under its mark. Null and empty strings name nothing. */
  private note(node: ShapeNode, span: Span, entry: Entry | undefined): void {
    if (node.mark === undefined) return;
    const scalar: unknown = JSON.parse(this.body.toString('utf8', span.start, span.end));
    if (node.mark === 'total') {
      if (typeof scalar === 'number') this.totals.push({ ...span, value: scalar });
    } else if (typeof scalar === 'string' && scalar !== '') {
      if (node.mark === 'csv') this.csv.push({ ...span, text: scalar });
      else if (node.mark === 'id' && entry !== undefined) entry.ids.push({ ...span, id: parseModelId(scalar) });
      else (entry?.references ?? this.references).push({ ...span, id: parseModelId(scalar) });
    }
  }

  private skip(first: string | undefined): void {
    if (first === '"') this.at = endOfString(this.text, this.at) + 1;
    else if (first === '{' || first === '[') this.skipNested();
    else while (this.at < this.text.length && !END_OF_SCALAR.has(this.text[this.at] ?? '')) this.at++;
  }

  /** Counts brackets outside of strings; the JSON is known to be valid. */
  private skipNested(): void {
    let depth = 0;
    for (; this.at < this.text.length; this.at++) {
      const code = this.text.charCodeAt(this.at);
      if (code === 0x22) this.at = endOfString(this.text, this.at);
      else if (code === 0x7b || code === 0x5b) depth++;
      else if ((code === 0x7d || code === 0x5d) && --depth === 0) {
        this.at++;
        return;
      }
    }
  }

  private string(): string {
    const start = this.at;
    this.at = endOfString(this.text, start) + 1;
    const raw = this.text.slice(start + 1, this.at - 1);
    return raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw;
  }

  private space(): void {
    while (this.text.charCodeAt(this.at) <= 0x20) this.at++;
  }
}

const EMPTY: ShapeNode = {};
const END_OF_SCALAR: ReadonlySet<string> = new Set([',', '}', ']', ' ', '\n', '\r', '\t']);
