/**
 * Interim answers of the upstream. undici passes over every 1xx but a 100 without `Expect`, which it takes for the
 * end of the connection; a client must bear that one as well (RFC 9110 15.2). So it is shown a 102 in its place: one
 * digit of the status line, wherever the packets are cut.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';

/** Interim answers to one request before the upstream counts as broken. */
export const MAX_INTERIM = 100;

/** undici publishes the socket here right before it writes the head of a request to it. */
const REQUEST_HEAD = 'undici:client:sendHeaders';

/** `HTTP/1.1 100`: where its three digits stand. The parser takes no other form of a status line. */
const FIRST_DIGIT = 9;
const LAST_DIGIT = 11;
const ZERO = 0x30;
const TWO = 0x32;
const CR = 0x0d;
const LF = 0x0a;

export function watchInterimAnswers() {
  const heads = new WeakMap<object, AnswerHead>();
  const onRequest = (message: unknown): void => {
    const { socket } = message as { readonly socket: Socket };
    heads.get(socket)?.expect();
  };
  subscribe(REQUEST_HEAD, onRequest);
  return {
    /** Call it with each new connection, before undici reads from it. */
    watch(socket: Socket): void {
      const head = new AnswerHead();
      heads.set(socket, head);
      const read = socket.read.bind(socket);
      socket.read = (size?: number): unknown => {
        const chunk: unknown = read(size);
        if (head.isOpen && Buffer.isBuffer(chunk)) head.pass(chunk);
        return chunk;
      };
    },
    close: () => unsubscribe(REQUEST_HEAD, onRequest),
  };
}

/** Follows the bytes of one connection as far as the status line of the final answer. */
class AnswerHead {
  isOpen = false;
  /** How much of a status line was seen, and the digits of its status. */
  #at = 0;
  #status = 0;
  /** How much of the empty line that ends an interim head was seen. */
  #ending = 0;

  /** The next bytes are the head of an answer. */
  expect(): void {
    this.isOpen = true;
    this.#at = 0;
    this.#status = 0;
    this.#ending = 0;
  }

  pass(chunk: Buffer): void {
    for (let index = 0; index < chunk.length && this.isOpen; index += 1) {
      const byte = chunk[index] ?? 0;
      if (this.#at > LAST_DIGIT) this.#skip(byte);
      // Line breaks before a head are no part of it.
      else if (this.#at > 0 || (byte !== CR && byte !== LF)) this.#readStatus(chunk, index, byte);
    }
  }

  #readStatus(chunk: Buffer, index: number, byte: number): void {
    if (this.#at >= FIRST_DIGIT) this.#status = this.#status * 10 + byte - ZERO;
    if (this.#at === LAST_DIGIT) {
      if (this.#status === 100) chunk[index] = TWO;
      // 101 ends what is HTTP on this connection.
      else if (this.#status === 101 || this.#status >= 200) this.isOpen = false;
    }
    this.#at += 1;
  }

  #skip(byte: number): void {
    if (byte === CR) this.#ending = this.#ending === 2 ? 3 : 1;
    else if (byte !== LF) this.#ending = 0;
    else if (this.#ending === 3) this.expect();
    else this.#ending = this.#ending === 1 ? 2 : 0;
  }
}
