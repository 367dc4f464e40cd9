/**
 * Reads members at the top of a JSON object while its bytes come: an answer may be 60 MB of vectors or pictures, and is
 * never held, nor parsed as a whole. What is no JSON gives nothing.
 */
import { tryParseJson } from '../references/json.ts';

/** A key or value that is longer is not read: usage takes some hundred bytes. */
const MAX_KEPT_BYTES = 64 * 1024;
/** Of a short string a loop finds the end sooner than a call of `indexOf` does. */
const LOOPED_BYTES = 64;

const [QUOTE, COMMA, COLON, BACKSLASH] = [0x22, 0x2c, 0x3a, 0x5c];
const [OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY] = [0x7b, 0x7d, 0x5b, 0x5d];
const SPACE = 0x20;
const tableOf = (bytes: readonly number[]) => Uint8Array.from({ length: 256 }, (_, at) => Number(bytes.includes(at)));
/** Where the members are, and their elements, and in what is deeper: only its end is looked for. */
const SHALLOW = tableOf([QUOTE, COMMA, COLON, OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY]);
const DEEP = tableOf([QUOTE, OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY]);

interface Wanted {
  readonly names: ReadonlySet<string>;
  /** Called for each member of these names; of one that repeats the last counts, as for `JSON.parse`. */
  readonly found: (name: string, value: unknown) => void;
  /** The member whose elements are counted, where it is an array. */
  readonly counted?: string | undefined;
}

export class JsonMembers {
  readonly #wanted: Wanted;
  #depth = 0;
  #isInString = false;
  #isEscaped = false;
  #isKey = false;
  #name = '';
  /** What is being kept: a key, or a wanted value. */
  #kept: Buffer[] | undefined;
  #keptBytes = 0;
  #isCounting = false;
  #isElement = false;
  #elements: number | undefined;

  constructor(wanted: Wanted) {
    this.#wanted = wanted;
  }

  /** Undefined where the counted member did not come, or is no array. */
  get elements(): number | undefined {
    return this.#elements;
  }

  /** Never throws. */
  write(chunk: Buffer): void {
    let keptFrom = 0;
    let at = this.#isInString ? this.#endOfString(chunk, 0) : 0;
    if (at > 0 && !this.#isInString) keptFrom = this.#closeKey(chunk, 0, at);
    while ((at = this.#nextStructural(chunk, at)) < chunk.length) {
      const byte = chunk[at++];
      if (byte === QUOTE) {
        keptFrom = this.#openString(keptFrom, at - 1);
        at = this.#endOfString(chunk, at);
        if (!this.#isInString) keptFrom = this.#closeKey(chunk, keptFrom, at);
      } else if (byte === COMMA) {
        if (this.#depth === 1) this.#closeMember(chunk, keptFrom, at - 1);
        else if (this.#depth === 2) this.#countElement();
      } else if (byte === COLON) {
        if (this.#depth === 1 && this.#isKey) {
          this.#openValue();
          keptFrom = at;
        }
      } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) this.#open(byte);
      else this.#close(chunk, keptFrom, at - 1);
    }
    this.#keepPart(chunk, keptFrom, at);
  }

  #nextStructural(chunk: Buffer, start: number): number {
    const table = this.#depth > 2 ? DEEP : SHALLOW;
    const end = chunk.length;
    let at = start;
    while (at < end && table[chunk[at] ?? 0] === 0) at++;
    // a number, true, false or null
    if (this.#isCounting && !this.#isElement) this.#isElement = chunk.subarray(start, at).some((byte) => byte > SPACE);
    return at;
  }

  /** @returns from where on bytes are kept */
  #openString(keptFrom: number, start: number): number {
    this.#isInString = true;
    if (this.#depth === 2) this.#isElement = true;
    if (!this.#isKey || this.#depth !== 1) return keptFrom;
    this.#keep();
    return start;
  }

  /** @returns where the loop goes on: behind the closing quote, or at the end of the chunk */
  #endOfString(chunk: Buffer, start: number): number {
    let at = start;
    let loopedTo = at + LOOPED_BYTES;
    while (at < chunk.length) {
      if (this.#isEscaped) this.#isEscaped = false;
      else if (at >= loopedTo) {
        const quote = chunk.indexOf(QUOTE, at);
        const end = quote === -1 ? chunk.length : quote;
        let backslashes = 0;
        while (end - backslashes > at && chunk[end - 1 - backslashes] === BACKSLASH) backslashes++;
        this.#isEscaped = backslashes % 2 === 1;
        at = end;
        loopedTo = at + LOOPED_BYTES;
        continue;
      } else if (chunk[at] === BACKSLASH) this.#isEscaped = true;
      else if (chunk[at] === QUOTE) {
        this.#isInString = false;
        return at + 1;
      }
      at++;
    }
    return at;
  }

  #open(byte: number): void {
    this.#depth++;
    if (this.#depth === 1) this.#isKey = byte === OPEN_OBJECT;
    else if (this.#depth === 2 && byte === OPEN_ARRAY && this.#name === this.#wanted.counted && !this.#isKey) {
      this.#isCounting = true;
      this.#isElement = false;
      this.#elements = 0;
    } else if (this.#depth === 3) this.#isElement = true;
  }

  #close(chunk: Buffer, keptFrom: number, end: number): void {
    if (this.#depth === 2) {
      if (this.#isElement) this.#countElement();
      this.#isCounting = false;
    } else if (this.#depth === 1) {
      this.#closeMember(chunk, keptFrom, end);
      this.#isKey = false;
    }
    // what follows may be a value of its own, as in lines of JSON
    this.#depth = Math.max(0, this.#depth - 1);
  }

  #countElement(): void {
    if (this.#isCounting && this.#elements !== undefined) this.#elements++;
    this.#isElement = false;
  }

  #openValue(): void {
    this.#isKey = false;
    if (this.#wanted.names.has(this.#name)) this.#keep();
  }

  #closeMember(chunk: Buffer, keptFrom: number, end: number): void {
    const value = this.#takeKept(chunk, keptFrom, end);
    if (value !== undefined) this.#wanted.found(this.#name, tryParseJson(value));
    this.#isKey = true;
    this.#name = '';
  }

  /** @returns from where on bytes are kept: the same place, for a string that is no key */
  #closeKey(chunk: Buffer, keptFrom: number, end: number): number {
    if (!this.#isKey || this.#depth !== 1) return keptFrom;
    const key = tryParseJson(this.#takeKept(chunk, keptFrom, end) ?? '');
    this.#name = typeof key === 'string' ? key : '';
    return end;
  }

  #keep(): void {
    this.#kept = [];
    this.#keptBytes = 0;
  }

  #keepPart(chunk: Buffer, from: number, end: number): void {
    if (this.#kept === undefined) return;
    this.#keptBytes += end - from;
    // a copy: a part of a chunk would hold all of it
    if (this.#keptBytes <= MAX_KEPT_BYTES) this.#kept.push(Buffer.from(chunk.subarray(from, end)));
    else this.#kept = undefined;
  }

  #takeKept(chunk: Buffer, from: number, end: number): string | undefined {
    this.#keepPart(chunk, from, end);
    const kept = this.#kept;
    this.#kept = undefined;
    return kept === undefined ? undefined : Buffer.concat(kept).toString('utf8');
  }
}
