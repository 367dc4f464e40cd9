/** Request bodies: read whole and bounded, or handed on as a stream. No body is asked for before somebody reads it. */
import { Readable } from 'node:stream';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ClientGone, GatewayError } from '../errors.ts';
import { declaredBytes } from './answer.ts';
import { Pace } from './pace.ts';

const EMPTY = Buffer.alloc(0);
/** Up to here a body is collected without a word about it: cheaper than a stream, and slow clients cost no connection. */
export const SHORT_BODY_BYTES = 64 * 1024;

const awaitingContinue = new WeakSet<IncomingMessage>();

/** Notes that the client sends its body only after `100 Continue` (RFC 9110 10.1.1). */
export function awaitContinue(incoming: IncomingMessage): void {
  awaitingContinue.add(incoming);
}

/**
 * Reads the whole body. Call it after the checks that need no body: a client that asked to is told to send only now.
 *
 * @param maxBytes bound; a declared length beyond it is refused before a byte is read
 * @param hold told how much of a long body would be in memory now; false where there is no room for it
 * @throws GatewayError `body_too_large`, `bodies_held`, `request_timeout` (see `Pace`)
 * @throws ClientGone when the client left before the end
 */
export function readBody(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  maxBytes: number,
  hold?: (bytes: number) => boolean,
): Promise<Buffer> {
  const declared = declaredBytes(incoming);
  if (declared !== Infinity && declared > maxBytes) return Promise.reject(new GatewayError('body_too_large'));
  if (declared === 0) return Promise.resolve(EMPTY);
  if (incoming.destroyed && !incoming.complete) return Promise.reject(new ClientGone());
  sendContinue(incoming, outgoing);
  return new Promise((resolve, reject) => {
    let short: Buffer[] = [];
    let long: GrowingBuffer | undefined;
    let size = 0;
    const pace = new Pace(() => stop(tooSlow()));
    const stop = (error: Error | undefined) => {
      pace.stop();
      incoming.off('data', onData).off('end', onEnd).off('close', onClose).off('timeout', onTimeout);
      if (error === undefined) return;
      incoming.pause();
      reject(error);
    };
    const onData = (chunk: Buffer) => {
      size += chunk.length;
      pace.add(chunk.length);
      if (size > maxBytes) stop(new GatewayError('body_too_large'));
      else if (size > SHORT_BODY_BYTES && hold?.(size) === false) stop(new GatewayError('bodies_held'));
      else if (size <= SHORT_BODY_BYTES) short.push(chunk);
      else {
        if (long === undefined) {
          long = new GrowingBuffer(Math.min(declared, maxBytes), short);
          short = [];
        }
        long.add(chunk);
      }
    };
    const onEnd = () => {
      stop(undefined);
      const [first = EMPTY] = short;
      resolve(long?.whole() ?? (short.length > 1 ? Buffer.concat(short, size) : first));
    };
    const onClose = () => stop(new ClientGone());
    const onTimeout = () => stop(tooSlow());
    pace.start();
    incoming.on('data', onData).on('end', onEnd).on('close', onClose).on('timeout', onTimeout);
  });
}

/**
 * A long body as it comes, each byte copied once. It grows in its place and takes memory only for what has come, whatever
 * length was declared; it owns that memory, so that a thread can take it over.
 */
class GrowingBuffer {
  readonly #memory: ArrayBuffer;
  #bytes: Uint8Array;
  #size = 0;

  constructor(mostBytes: number, chunks: readonly Buffer[]) {
    this.#memory = new ArrayBuffer(0, { maxByteLength: mostBytes });
    this.#bytes = new Uint8Array(this.#memory);
    for (const chunk of chunks) this.add(chunk);
  }

  add(chunk: Buffer): void {
    const size = this.#size + chunk.length;
    if (size > this.#memory.byteLength) {
      this.#memory.resize(Math.min(this.#memory.maxByteLength, size + GROWS_BY_BYTES));
      this.#bytes = new Uint8Array(this.#memory);
    }
    this.#bytes.set(chunk, this.#size);
    this.#size = size;
  }

  whole(): Buffer {
    return Buffer.from(this.#memory, 0, this.#size);
  }
}

/** Each growth is a call of the system. */
const GROWS_BY_BYTES = 1024 * 1024;

/**
 * The body as a stream of its own: undici destroys what it was given, and `incoming` must outlive that, since the
 * answer still goes out on its connection.
 */
export class UploadStream extends Readable {
  readonly #incoming: IncomingMessage;
  readonly #outgoing: ServerResponse;
  readonly #pace = new Pace(() => void this.destroy(tooSlow()));
  #started = false;

  constructor(incoming: IncomingMessage, outgoing: ServerResponse) {
    super({ highWaterMark: 64 * 1024 });
    this.#incoming = incoming;
    this.#outgoing = outgoing;
  }

  override _read(): void {
    if (!this.#started) this.#start();
    else if (this.#incoming.isPaused()) {
      this.#pace.start();
      this.#incoming.resume();
    }
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const incoming = this.#incoming;
    this.#pace.stop();
    if (this.#started) {
      incoming
        .off('data', this.#onData)
        .off('end', this.#onEnd)
        .off('close', this.#onClose)
        .off('timeout', this.#onTimeout);
      incoming.pause();
    }
    callback(error);
  }

  #start(): void {
    this.#started = true;
    const incoming = this.#incoming;
    if (incoming.destroyed && !incoming.complete) {
      this.destroy(new ClientGone());
      return;
    }
    sendContinue(incoming, this.#outgoing);
    this.#pace.start();
    incoming.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose).on('timeout', this.#onTimeout);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#pace.add(chunk.length);
    if (this.push(chunk)) return;
    // The upstream does not take more: not the client's fault.
    this.#pace.stop();
    this.#incoming.pause();
  };
  readonly #onEnd = (): void => {
    this.#pace.stop();
    this.push(null);
  };
  readonly #onClose = (): void => void this.destroy(new ClientGone());
  readonly #onTimeout = (): void => {
    if (!this.#incoming.isPaused()) this.destroy(tooSlow());
  };
}

/** A body that was read whole, let go of as the upstream takes it: the answer may be a long one. */
export class HeldUpload extends Readable {
  #bytes: Buffer | undefined;
  #sent = 0;

  constructor(bytes: Buffer) {
    super();
    this.#bytes = bytes;
  }

  override _read(): void {
    const bytes = this.#bytes;
    if (bytes === undefined) return;
    const start = this.#sent;
    this.#sent = Math.min(bytes.length, start + SHORT_BODY_BYTES);
    if (this.#sent === bytes.length) this.#bytes = undefined;
    this.push(bytes.subarray(start, this.#sent));
    if (this.#bytes === undefined) this.push(null);
  }
}

function tooSlow(): GatewayError {
  return new GatewayError('request_timeout', {
    detail: 'Its body stood still, or came by less than 500 bytes a second.',
  });
}

function sendContinue(incoming: IncomingMessage, outgoing: ServerResponse): void {
  if (awaitingContinue.delete(incoming) && !outgoing.headersSent && !outgoing.destroyed) outgoing.writeContinue();
}
