/**
 * Just enough of RFC 6455 to read the first message of a client before it is passed on, and to close with a reason.
 * Strict where the backend's reader could differ: no extensions, no unmasked or oddly sized frame, clean UTF-8.
 */

const TEXT = 0x1;
const CONTINUATION = 0x0;
const CLOSE = 0x8;
const FIRST_CONTROL = 0x8;
const MAX_CONTROL_BYTES = 125;
/** Control frames passed over before the first message; more is no client that means to talk. */
const MAX_CONTROL_FRAMES = 16;

export type FirstMessage =
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'message'; readonly text: string }
  /** A close frame came first: there will be no message. */
  | { readonly kind: 'closed' }
  | { readonly kind: 'unreadable'; readonly reason: string };

interface Frame {
  readonly final: boolean;
  readonly opcode: number;
  readonly payload: Buffer;
  readonly end: number;
}

const INCOMPLETE: FirstMessage = { kind: 'incomplete' };

/** Collects a client's bytes until its first text message is whole; never holds more than `maxBytes` and one chunk. */
export class FirstMessageReader {
  readonly #maxBytes: number;
  #pending: Buffer = Buffer.alloc(0);
  #fragments: Buffer[] | undefined;
  #size = 0;
  #controlFrames = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Feed it every byte once, in order; after anything but `incomplete` it is done. */
  push(chunk: Buffer): FirstMessage {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    for (;;) {
      const frame = readFrame(this.#pending, this.#maxBytes - this.#size);
      if (frame === undefined) return INCOMPLETE;
      if (typeof frame === 'string') return unreadable(frame);
      this.#pending = this.#pending.subarray(frame.end);
      const message = this.#take(frame);
      if (message !== undefined) return message;
    }
  }

  #take({ final, opcode, payload }: Frame): FirstMessage | undefined {
    if (opcode >= FIRST_CONTROL) {
      this.#controlFrames += 1;
      if (opcode === CLOSE) return { kind: 'closed' };
      return this.#controlFrames > MAX_CONTROL_FRAMES ? unreadable('too many control frames') : undefined;
    }
    const begun = this.#fragments !== undefined;
    if (opcode === TEXT ? begun : opcode !== CONTINUATION || !begun) return unreadable('not a text message');
    const fragments = (this.#fragments ??= []);
    fragments.push(payload);
    this.#size += payload.length;
    if (fragments.length > this.#maxBytes) return unreadable('too many fragments');
    return final ? decoded(Buffer.concat(fragments, this.#size)) : undefined;
  }
}

/**
 * A close frame (RFC 6455 5.5.1).
 *
 * @param masked true towards a server
 */
export function closeFrame(code: number, reason: string, masked: boolean): Buffer {
  const text = Buffer.from(reason, 'utf8').subarray(0, MAX_CONTROL_BYTES - 2);
  const header = masked ? [0x80 | CLOSE, 0x80 | (text.length + 2), 0, 0, 0, 0] : [0x80 | CLOSE, text.length + 2];
  // A mask of zeros leaves the payload as it is.
  return Buffer.concat([Buffer.from([...header, code >> 8, code & 0xff]), text]);
}

/** The frame at the start of `bytes`, undefined while it is not whole, or why it cannot be read. */
function readFrame(bytes: Buffer, room: number): Frame | string | undefined {
  if (bytes.length < 2) return undefined;
  const first = bytes.readUInt8(0);
  const second = bytes.readUInt8(1);
  const opcode = first & 0x0f;
  const final = (first & 0x80) !== 0;
  if ((first & 0x70) !== 0) return 'an extension is in use';
  if (opcode > 0xa || (opcode > 0x2 && opcode < 0x8)) return 'unknown kind of frame';
  if ((second & 0x80) === 0) return 'not masked';
  const size = payloadSize(bytes, second & 0x7f);
  if (size === undefined || typeof size === 'string') return size;
  if (opcode >= FIRST_CONTROL && (!final || size.bytes > MAX_CONTROL_BYTES)) return 'odd control frame';
  if (opcode < FIRST_CONTROL && size.bytes > room) return 'first message too long';
  const start = size.offset + 4;
  const end = start + size.bytes;
  if (bytes.length < end) return undefined;
  const payload = Buffer.from(bytes.subarray(start, end));
  for (let index = 0; index < payload.length; index += 1) {
    payload.writeUInt8(payload.readUInt8(index) ^ bytes.readUInt8(size.offset + (index & 3)), index);
  }
  return { final, opcode, payload, end };
}

/** RFC 6455 5.2: the shortest of three forms; another one is a reason to doubt that both ends read the same. */
function payloadSize(bytes: Buffer, short: number): { bytes: number; offset: number } | string | undefined {
  if (short < 126) return { bytes: short, offset: 2 };
  if (short === 126) {
    if (bytes.length < 4) return undefined;
    const size = bytes.readUInt16BE(2);
    return size < 126 ? 'odd length' : { bytes: size, offset: 4 };
  }
  if (bytes.length < 10) return undefined;
  const size = bytes.readBigUInt64BE(2);
  if (size < 65_536n || size > BigInt(Number.MAX_SAFE_INTEGER)) return 'odd length';
  return { bytes: Number(size), offset: 10 };
}

function decoded(payload: Buffer): FirstMessage {
  try {
    return { kind: 'message', text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(payload) };
  } catch {
    // The decoder's only error: bytes that are not UTF-8.
    return unreadable('not UTF-8');
  }
}

function unreadable(reason: string): FirstMessage {
  return { kind: 'unreadable', reason };
}

// Holds back what a WebSocket client sends first, until somebody has judged it.

export type GateVerdict = 'more' | 'pass' | 'refuse';

/**
 * Sees the client's bytes, in order, chunk by chunk, until it says `pass` (everything held goes upstream and the gate
 * is out of the way) or `refuse` (both sides are closed with 1008). A verdict that takes time is final: it sees nothing
 * more. A gate that throws or rejects refuses.
 */
export type ClientFrameGate = (bytes: Buffer) => GateVerdict | Promise<'pass' | 'refuse'>;

/**
 * A gate for sockets whose first text message says what they are for. A message that cannot be read is refused; a
 * close instead of a message passes.
 *
 * @param judge true lets the connection go on
 * @param maxBytes longest first message
 */
export function gateFirstMessage(
  judge: (text: string) => boolean | Promise<boolean>,
  maxBytes = 64 * 1024,
): ClientFrameGate {
  const reader = new FirstMessageReader(maxBytes);
  return function firstMessageGate(bytes) {
    const message = reader.push(bytes);
    switch (message.kind) {
      case 'incomplete':
        return 'more';
      case 'closed':
        return 'pass';
      case 'unreadable':
        return 'refuse';
      case 'message': {
        const permitted = judge(message.text);
        return typeof permitted === 'boolean' ? toVerdict(permitted) : permitted.then(toVerdict);
      }
    }
  };
}

function toVerdict(permitted: boolean): 'pass' | 'refuse' {
  return permitted ? 'pass' : 'refuse';
}
