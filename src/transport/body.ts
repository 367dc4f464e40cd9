/** Request bodies: bounded in length, rate and memory. A body is asked for only when it is read. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ClientGone, GatewayError } from '../errors.ts';
import { declaredBytes } from './answer.ts';

const EMPTY = Buffer.alloc(0);
/** A body up to this length is collected first: a slow client then holds no connection upstream. */
export const SHORT_BODY_BYTES = 64 * 1024;
const awaitingContinue = new WeakSet<IncomingMessage>();

/** Notes that the client sends its body only after `100 Continue` (RFC 9110 10.1.1). */
export function awaitContinue(incoming: IncomingMessage): void {
  awaitingContinue.add(incoming);
}

/** As Apache's `RequestReadTimeout body=20,MinRate=500`: a client that drips is cut, a slow line is not. */
const GRACE_MS = 20_000;
const MIN_BYTES_PER_MS = 0.5;
/** As nginx's `client_body_timeout`: a fast start earns no longer silence than this. */
const LONGEST_SILENCE_MS = 60_000;

/** It fails once fewer than 500 bytes a second have come after the first 20 seconds, or none for a minute. */
export class Intake {
  readonly #incoming: IncomingMessage;
  readonly #onData: (chunk: Buffer) => void;
  readonly #onEnd: (error?: Error) => void;
  #timer: NodeJS.Timeout | undefined;
  #since = 0;
  #lastAt = 0;
  #bytes = 0;

  /** @param onEnd called once: without an error where the body is whole */
  constructor(outgoing: ServerResponse, onData: (chunk: Buffer) => void, onEnd: (error?: Error) => void) {
    const { req: incoming } = outgoing;
    this.#incoming = incoming;
    this.#onData = onData;
    this.#onEnd = onEnd;
    if (awaitingContinue.delete(incoming) && !outgoing.headersSent && !outgoing.destroyed) outgoing.writeContinue();
    this.#expect();
    incoming.on('data', this.#take).on('end', this.#finish).on('close', this.#leave).on('timeout', this.#wait);
  }

  pause(): void {
    clearTimeout(this.#timer);
    this.#incoming.pause();
  }

  resume(): void {
    if (!this.#incoming.isPaused()) return;
    this.#expect();
    this.#incoming.resume();
  }

  stop(error: Error): void {
    this.cancel();
    this.#onEnd(error);
  }

  cancel(): void {
    this.#detach();
    this.#incoming.pause();
  }

  #detach(): void {
    clearTimeout(this.#timer);
    const incoming = this.#incoming;
    incoming.off('data', this.#take).off('end', this.#finish).off('close', this.#leave).off('timeout', this.#wait);
  }

  /** What came before does not matter: the body was not read then. */
  #expect(): void {
    clearTimeout(this.#timer);
    this.#since = performance.now();
    this.#lastAt = this.#since;
    this.#bytes = 0;
    this.#timer = setTimeout(this.#check, GRACE_MS);
  }

  readonly #check = (): void => {
    const dueAt = this.#since + GRACE_MS + this.#bytes / MIN_BYTES_PER_MS;
    const restMs = Math.min(dueAt, this.#lastAt + LONGEST_SILENCE_MS) - performance.now();
    if (restMs > 0) this.#timer = setTimeout(this.#check, Math.ceil(restMs));
    else this.stop(tooSlow());
  };
  readonly #take = (chunk: Buffer): void => {
    this.#lastAt = performance.now();
    this.#bytes += chunk.length;
    this.#onData(chunk);
  };
  readonly #finish = (): void => {
    this.#detach();
    this.#onEnd();
  };
  readonly #leave = (): void => this.stop(new ClientGone());
  readonly #wait = (): void => {
    if (!this.#incoming.isPaused()) this.stop(tooSlow());
  };
}

const tooSlow = (): GatewayError =>
  new GatewayError('request_timeout', { detail: 'Its body stood still, or came by less than 500 bytes a second.' });

/**
 * @param hold asked for room for a long body. @throws GatewayError `body_too_large`, `bodies_held`, `request_timeout`
 */
export function readBody(
  outgoing: ServerResponse,
  maxBytes: number,
  hold?: (bytes: number) => boolean,
): Promise<Buffer> {
  const { req: incoming } = outgoing;
  const declared = declaredBytes(incoming);
  if (declared !== Infinity && declared > maxBytes) return Promise.reject(new GatewayError('body_too_large'));
  if (declared === 0) return Promise.resolve(EMPTY);
  if (incoming.destroyed && !incoming.complete) return Promise.reject(new ClientGone());
  return new Promise((resolve, reject) => {
    const short: Buffer[] = [];
    let long: GrowingBuffer | undefined;
    let size = 0;
    const onData = (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBytes) intake.stop(new GatewayError('body_too_large'));
      else if (size <= SHORT_BODY_BYTES) short.push(chunk);
      else if (hold?.(size) === false) intake.stop(new GatewayError('bodies_held'));
      else {
        long ??= new GrowingBuffer(Math.min(declared, maxBytes), short.splice(0));
        long.add(chunk);
      }
    };
    const intake = new Intake(outgoing, onData, (error) => {
      if (error === undefined) resolve(long?.whole() ?? joined(short));
      else reject(error);
    });
  });
}

export function joined(chunks: readonly Buffer[]): Buffer {
  const [first = EMPTY] = chunks;
  return chunks.length > 1 ? Buffer.concat(chunks) : first;
}

const GROWS_BY_BYTES = 1024 * 1024;

/** Takes memory only for what has come, whatever was declared, and owns it: a thread can take it over. */
class GrowingBuffer {
  readonly #memory: ArrayBuffer;
  /** As long as the memory is at the time. */
  readonly #bytes: Uint8Array;
  #size = 0;

  constructor(mostBytes: number, chunks: readonly Buffer[]) {
    this.#memory = new ArrayBuffer(0, { maxByteLength: mostBytes });
    this.#bytes = new Uint8Array(this.#memory);
    for (const chunk of chunks) this.add(chunk);
  }

  add(chunk: Buffer): void {
    const size = this.#size + chunk.length;
    const { byteLength, maxByteLength } = this.#memory;
    if (size > byteLength) this.#memory.resize(Math.min(maxByteLength, size + GROWS_BY_BYTES));
    this.#bytes.set(chunk, this.#size);
    this.#size = size;
  }

  whole(): Buffer {
    return Buffer.from(this.#memory, 0, this.#size);
  }
}

/** Where bodies of this length are all that is allowed, so many of them may still come at once. */
const LEAST_SHARE_BYTES = 100 * 1024 * 1024;
const SHARES = 2;
export type HeldBodies = ReturnType<typeof createHeldBodies>;

/** Bounds what is held in memory, by payer and in all; one body of the longest is always held. */
export function createHeldBodies(maxBodyBytes: number) {
  const share = Math.max(maxBodyBytes, LEAST_SHARE_BYTES);
  const holdings = new WeakMap<ServerResponse, { readonly payer: string; bytes: number }>();
  const heldBy = new Map<string, number>();
  let held = 0;

  function hold(outgoing: ServerResponse, payer: string, bytes: number): boolean {
    const holding = holdings.get(outgoing) ?? { payer, bytes: 0 };
    const more = bytes - holding.bytes;
    const ofPayer = (heldBy.get(payer) ?? 0) + more;
    if (more > 0 && (held + more > SHARES * share || ofPayer > share)) return false;
    if (!holdings.has(outgoing)) outgoing.once('close', () => release(outgoing));
    holdings.set(outgoing, holding);
    held += more;
    holding.bytes = bytes;
    if (ofPayer > 0) heldBy.set(payer, ofPayer);
    else heldBy.delete(payer);
    return true;
  }

  function release(outgoing: ServerResponse): void {
    const holding = holdings.get(outgoing);
    if (holding !== undefined) hold(outgoing, holding.payer, 0);
  }

  const read = (outgoing: ServerResponse, maxBytes: number, payer: string): Promise<Buffer> =>
    readBody(outgoing, maxBytes, (size) => hold(outgoing, payer, size));
  return { read, release };
}
