/** Frames of a WebSocket (RFC 6455 5.2), as far as one who passes them on has to know them. */

/** Opcode of a frame that ends the connection (5.5.1). */
const CLOSE = 0x8;
const MASK = 0x80;
/** Length of a head with its extended length and its mask. */
const MAX_HEAD_BYTES = 14;

/** A head with a payload of up to 125 bytes; towards a server frames are masked (5.3), and a mask of zeros leaves the payload as it is. */
export function closeFrame(code: number, reason: string, towards: 'client' | 'server'): Buffer {
  const payload = Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)]);
  const head =
    towards === 'client' ? [0x80 | CLOSE, payload.length] : [0x80 | CLOSE, MASK | payload.length, 0, 0, 0, 0];
  return Buffer.concat([Buffer.from(head), payload]);
}

/** Follows the bytes of one direction, so that a frame of ours never stands in the middle of one of theirs. */
export class FrameBounds {
  readonly #head = Buffer.alloc(MAX_HEAD_BYTES);
  #headSize = 0;
  #payloadLeft = 0;
  #isClosing = false;

  /** Between two frames, before the first, or behind the last. */
  get isBetween(): boolean {
    return this.#headSize === 0;
  }

  /** The frame that ends the connection has passed, or begun to. */
  get isClosing(): boolean {
    return this.#isClosing;
  }

  /** @returns where the frame that stands at `from` ends, or the end of the bytes where it goes on behind them */
  pass(bytes: Buffer, from = 0): number {
    let at = from;
    while (this.#headSize < this.#headLength) {
      const byte = bytes[at];
      if (byte === undefined) return at;
      this.#head[this.#headSize] = byte;
      at += 1;
      this.#headSize += 1;
      if (this.#headSize === this.#headLength) this.#begin();
    }
    const step = Math.min(this.#payloadLeft, bytes.length - at);
    this.#payloadLeft -= step;
    if (this.#payloadLeft === 0) this.#headSize = 0;
    return at + step;
  }

  /** As far as it is known: the second byte says how many there are. */
  get #headLength(): number {
    if (this.#headSize < 2) return 2;
    const second = this.#head.readUInt8(1);
    return 2 + extendedBytes(second) + ((second & MASK) === 0 ? 0 : 4);
  }

  #begin(): void {
    const second = this.#head.readUInt8(1);
    const extended = extendedBytes(second);
    // beyond 2^53 bytes no frame ends in our time
    this.#payloadLeft =
      extended === 8
        ? Number(this.#head.readBigUInt64BE(2))
        : extended === 2
          ? this.#head.readUInt16BE(2)
          : second & ~MASK;
    this.#isClosing ||= (this.#head.readUInt8(0) & 0x0f) === CLOSE;
  }
}

/** Of a length of 126 or 127, which says that the length follows. */
const extendedBytes = (second: number): 0 | 2 | 8 => {
  const length = second & ~MASK;
  return length === 127 ? 8 : length === 126 ? 2 : 0;
};
