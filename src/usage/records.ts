/**
 * Cuts a stream into its records, events (HTML Living Standard 9.2) or lines of JSON, whatever chunks it comes in. What
 * goes out are the bytes that came. Whatever cannot matter is neither read nor copied.
 */

/** A longer record passes unread: its memory is bounded. */
const MAX_RECORD_BYTES = 1024 * 1024;
const [LF, CR] = [0x0a, 0x0d];
const NOTHING = Buffer.alloc(0);

/** What becomes of a record: it is left out, or it is the last one, behind which nothing is read. */
export type Fate = 'pass' | 'leaveOut' | 'last';

interface RecordsOptions {
  /** Events end with an empty line, records of JSON with each line. */
  readonly are: 'events' | 'lines';
  /** @param text its bytes as Latin-1: of bytes of which it says no, none is asked for again */
  readonly mayMatter: (text: string) => boolean;
  /** @param record with its line ends; must not throw */
  readonly read: (record: string) => Fate;
}

export class Records {
  readonly #options: RecordsOptions;
  /** Begins with what has come of a record that is not whole; grows by doubling. */
  #held = NOTHING;
  #heldBytes = 0;
  #isTooLong = false;
  #isLineEmpty = true;
  /** The last byte was a CR: an LF behind it ends no other line. */
  #isAfterReturn = false;
  #fate: Fate = 'pass';

  constructor(options: RecordsOptions) {
    this.#options = options;
  }

  /** The last record has come. */
  get isOver(): boolean {
    return this.#fate === 'last';
  }

  /** @returns what goes out of what has come */
  take(chunk: Buffer): Buffer {
    if (this.isOver || this.#isDull(chunk)) return chunk;
    const out: Buffer[] = [];
    let from = 0;
    let start = 0;
    // the end of the last record has come in two
    if (this.#isAfterReturn && chunk[0] === LF && this.#isBetween) {
      start = 1;
      if (this.#fate === 'leaveOut') from = 1;
      this.#isAfterReturn = false;
    }
    for (let end = start; (end = this.#nextEnd(chunk, end)) !== -1; start = end) {
      const held = this.#release();
      this.#fate = this.#close(joined([held, chunk.subarray(start, end)]));
      if (this.#fate === 'leaveOut') {
        out.push(chunk.subarray(from, start));
        from = end;
      } else out.push(held);
      if (this.#fate === 'last') return joined([...out, chunk.subarray(from)]);
    }
    out.push(chunk.subarray(from, start));
    this.#hold(chunk.subarray(start));
    if (this.#isTooLong) out.push(this.#release());
    return joined(out);
  }

  /** A last record may lack its end. @returns the rest */
  end(): Buffer {
    const held = this.#release();
    if (held.length > 0) this.#fate = this.#close(held);
    return held.length > 0 && this.#fate === 'leaveOut' ? NOTHING : held;
  }

  get #isBetween(): boolean {
    return this.#heldBytes === 0 && !this.#isTooLong && this.#isLineEmpty;
  }

  /** Whole records, of which none can matter. */
  #isDull(chunk: Buffer): boolean {
    const { length } = chunk;
    if (!this.#isBetween || this.#isAfterReturn || chunk[length - 1] !== LF) return false;
    if (this.#options.are === 'events') {
      const before = chunk[length - 2] === CR ? length - 3 : length - 2;
      if (chunk[before] !== LF) return false;
    }
    return !this.#options.mayMatter(chunk.toString('latin1'));
  }

  /** @returns behind the end of the record that goes on at `start`, or -1 */
  #nextEnd(chunk: Buffer, start: number): number {
    const endsWithLine = this.#options.are === 'lines';
    let at = start;
    while (at < chunk.length) {
      const text = at;
      while (at < chunk.length && chunk[at] !== LF && chunk[at] !== CR) at++;
      if (at > text) this.#isLineEmpty = this.#isAfterReturn = false;
      const byte = chunk[at++];
      const isSecondHalf = byte === LF && this.#isAfterReturn;
      this.#isAfterReturn = byte === CR;
      if (byte === undefined || isSecondHalf) continue;
      const isEnd = endsWithLine || this.#isLineEmpty;
      this.#isLineEmpty = true;
      if (!isEnd) continue;
      if (byte !== CR || chunk[at] !== LF) return at;
      this.#isAfterReturn = false;
      return at + 1;
    }
    return -1;
  }

  #close(record: Buffer): Fate {
    const isUnread = this.#isTooLong;
    this.#isTooLong = false;
    if (isUnread || !this.#options.mayMatter(record.toString('latin1'))) return 'pass';
    return this.#options.read(record.toString('utf8'));
  }

  #hold(part: Buffer): void {
    const bytes = this.#heldBytes + part.length;
    if (bytes > this.#held.length) {
      const grown = Buffer.allocUnsafe(Math.max(bytes, 2 * this.#held.length));
      this.#held.copy(grown, 0, 0, this.#heldBytes);
      this.#held = grown;
    }
    part.copy(this.#held, this.#heldBytes);
    this.#heldBytes = bytes;
    if (bytes > MAX_RECORD_BYTES) this.#isTooLong = true;
  }

  #release(): Buffer {
    const held = this.#held.subarray(0, this.#heldBytes);
    this.#held = NOTHING;
    this.#heldBytes = 0;
    return held;
  }
}
function joined(parts: readonly Buffer[]): Buffer {
  const filled = parts.filter(({ length }) => length > 0);
  return filled.length > 1 ? Buffer.concat(filled) : (filled[0] ?? NOTHING);
}
