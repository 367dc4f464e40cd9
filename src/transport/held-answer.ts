/** An answer held back until it is whole, so that it can be rewritten. */

/** In bytes. An answer that is longer counts as unreadable: the rewrite gets an empty body. */
export const MAX_REWRITTEN_BYTES = 64 * 1024 * 1024;
const EMPTY = Buffer.alloc(0);

export class HeldAnswer {
  #chunks: Buffer[] = [];
  #bytes = 0;

  /** @returns false where the answer is too long: it is empty then, and wants no more */
  add(chunk: Buffer): boolean {
    this.#bytes += chunk.length;
    const fits = this.#bytes <= MAX_REWRITTEN_BYTES;
    if (fits) this.#chunks.push(chunk);
    else this.#chunks = [];
    return fits;
  }

  body(): Buffer {
    const [first = EMPTY] = this.#chunks;
    return this.#chunks.length > 1 ? Buffer.concat(this.#chunks) : first;
  }
}
