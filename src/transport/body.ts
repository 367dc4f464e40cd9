/** Request bodies: read whole, and bounded in length, rate and memory. A body is asked for only when it is read. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ClientGone, GatewayError } from '../errors.ts';
import { declaredBytes } from './answer.ts';

const EMPTY = Buffer.alloc(0);
/** A body of at most this length is collected as it comes: cheaper than a stream, and slow clients hold no connection upstream. */
export const SHORT_BODY_BYTES = 64 * 1024;

const awaitingContinue = new WeakSet<IncomingMessage>();

/** Notes that the client sends its body only after `100 Continue` (RFC 9110 10.1.1). */
export function awaitContinue(incoming: IncomingMessage): void {
  awaitingContinue.add(incoming);
}

/** Asks for the body where the client waits to be asked. */
export function sendContinue(incoming: IncomingMessage, outgoing: ServerResponse): void {
  if (awaitingContinue.delete(incoming) && !outgoing.headersSent && !outgoing.destroyed) outgoing.writeContinue();
}

export function tooSlow(): GatewayError {
  return new GatewayError('request_timeout', {
    detail: 'Its body stood still, or came by less than 500 bytes a second.',
  });
}

/**
 * Reads the whole body. Call it after the checks that need no body: a client that waits for `100 Continue` gets it now.
 *
 * @param maxBytes bound; a declared length beyond it is refused before a byte is read
 * @param hold called with what a long body would take in memory; false where there is no room for it
 * @throws GatewayError `body_too_large`, `bodies_held`, `request_timeout` (see `MinimumRate`)
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
    const rate = new MinimumRate(() => stop(tooSlow()));
    const stop = (error: Error | undefined) => {
      rate.stop();
      incoming.off('data', onData).off('end', onEnd).off('close', onClose).off('timeout', onTimeout);
      if (error === undefined) return;
      incoming.pause();
      reject(error);
    };
    const onData = (chunk: Buffer) => {
      size += chunk.length;
      rate.add(chunk.length);
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
    rate.start();
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

/** As Apache's `RequestReadTimeout body=20,MinRate=500`: a client that drips is cut, a slow line is not. */
const GRACE_MS = 20_000;
const MIN_BYTES_PER_MS = 0.5;
/** As nginx's `client_body_timeout`: a fast start earns no longer silence than this. */
const LONGEST_SILENCE_MS = 60_000;

/** The least rate at which a client has to send its body. */
export class MinimumRate {
  readonly #onTooSlow: () => void;
  #timer: NodeJS.Timeout | undefined;
  #since = 0;
  #lastAt = 0;
  #bytes = 0;

  /**
   * @param onTooSlow called once fewer than 500 bytes a second have come after the first 20 seconds, or none for a minute
   */
  constructor(onTooSlow: () => void) {
    this.#onTooSlow = onTooSlow;
  }

  /** From now on the client has to send. What came before does not matter: the body was not read then. */
  start(): void {
    this.stop();
    this.#since = performance.now();
    this.#lastAt = this.#since;
    this.#bytes = 0;
    this.#timer = setTimeout(this.#check, GRACE_MS);
  }

  /** Adds what came. */
  add(bytes: number): void {
    this.#lastAt = performance.now();
    this.#bytes += bytes;
  }

  /** The body is whole, or is not read at the moment. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  readonly #check = (): void => {
    const dueAt = this.#since + GRACE_MS + this.#bytes / MIN_BYTES_PER_MS;
    const restMs = Math.min(dueAt, this.#lastAt + LONGEST_SILENCE_MS) - performance.now();
    if (restMs > 0) this.#timer = setTimeout(this.#check, Math.ceil(restMs));
    else this.#onTooSlow();
  };
}

/**
 * Bodies that are held in memory to be judged: bounded by payer and in all, so that many long ones at once end in a 503
 * for the payer who sent them, and not in the end of the process.
 */
export type HeldBodies = ReturnType<typeof createHeldBodies>;

interface Holding {
  readonly payer: string;
  bytes: number;
}

/** Where bodies of this length are all that is allowed, so many of them may still come at once. */
const LEAST_SHARE_BYTES = 100 * 1024 * 1024;
const SHARES = 2;

/** @param maxBodyBytes the longest body: one is always held, and two of two payers */
export function createHeldBodies(maxBodyBytes: number) {
  const share = Math.max(maxBodyBytes, LEAST_SHARE_BYTES);
  const holdings = new WeakMap<ServerResponse, Holding>();
  const heldBy = new Map<string, number>();
  let held = 0;

  function add(holding: Holding, bytes: number): void {
    held += bytes;
    holding.bytes += bytes;
    const ofPayer = (heldBy.get(holding.payer) ?? 0) + bytes;
    if (ofPayer > 0) heldBy.set(holding.payer, ofPayer);
    else heldBy.delete(holding.payer);
  }

  /** The body of this exchange is no longer in memory; the end of its answer releases it too. */
  function release(outgoing: ServerResponse): void {
    const holding = holdings.get(outgoing);
    if (holding === undefined) return;
    holdings.delete(outgoing);
    add(holding, -holding.bytes);
  }

  function hold(outgoing: ServerResponse, payer: string): Holding {
    const known = holdings.get(outgoing);
    if (known !== undefined) return known;
    const holding = { payer, bytes: 0 };
    holdings.set(outgoing, holding);
    outgoing.once('close', () => release(outgoing));
    return holding;
  }

  /**
   * Reads a body whole, as `readBody` does.
   *
   * @param payer whose share of the memory it takes
   * @throws GatewayError as `readBody`; `bodies_held` where the share of the payer, or all of it, is taken
   */
  function read(incoming: IncomingMessage, outgoing: ServerResponse, maxBytes: number, payer: string): Promise<Buffer> {
    return readBody(incoming, outgoing, maxBytes, (size) => {
      const holding = hold(outgoing, payer);
      const more = size - holding.bytes;
      const isFull = held + more > SHARES * share || (heldBy.get(payer) ?? 0) + more > share;
      if (!isFull) add(holding, more);
      return !isFull;
    });
  }

  return { read, release };
}
