/** What is under way on a listener, so that it can be brought to an end. */
import type { Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/** For connections that linger or whose answer is still in the kernel's hands. */
const LAST_CALL_MS = 2_500;

interface Connection {
  answer: ServerResponse | undefined;
  /** To the request that came last; it may have to wait for others. */
  last: ServerResponse | undefined;
  isBroken: boolean;
}

/** By connection: a set that every request enters and leaves was a fifth of all instructions. */
export class Traffic {
  readonly #connections = new Map<Duplex, Connection>();
  readonly #tunnels = new Set<Duplex>();
  #onQuiet: (() => void) | undefined;
  running = 0;
  draining = false;

  connect(socket: Duplex): void {
    this.#connections.set(socket, { answer: undefined, last: undefined, isBroken: false });
    socket.once('close', () => this.#connections.delete(socket));
  }

  /** @returns false where the answer to this request will never be due */
  expect(socket: Duplex, outgoing: ServerResponse): boolean {
    const connection = this.#connections.get(socket);
    if (connection?.isBroken === true) return false;
    if (connection !== undefined) connection.last = outgoing;
    return true;
  }

  add(socket: Duplex, outgoing: ServerResponse): void {
    const connection = this.#connections.get(socket);
    if (connection !== undefined) connection.answer = outgoing;
    this.running += 1;
    if (this.draining) outgoing.shouldKeepAlive = false;
    outgoing.on('close', () => {
      if (connection?.answer === outgoing) connection.answer = undefined;
      if (connection?.last === outgoing) connection.last = undefined;
      this.running -= 1;
      if (this.running === 0) this.#onQuiet?.();
    });
  }

  addTunnel(socket: Duplex): void {
    this.#tunnels.add(socket);
    socket.once('close', () => this.#tunnels.delete(socket));
  }

  answerOn(socket: Duplex): ServerResponse | undefined {
    const answer = this.#connections.get(socket)?.answer;
    // Node takes the socket away from an answer a moment before its 'close'
    return answer?.socket === socket ? answer : undefined;
  }

  /** The answer that all others on this connection come before. */
  lastOn(socket: Duplex): ServerResponse | undefined {
    const last = this.#connections.get(socket)?.last;
    // Until Node takes the connection away from it, nothing else may answer there
    const isOver = last === undefined || last.destroyed || (last.writableFinished && last.socket === null);
    return isOver ? undefined : last;
  }

  /** After the answers that are due on the connection (RFC 9112 9.3.2). */
  breakOff(socket: Duplex, refuse: () => void): void {
    const connection = this.#connections.get(socket);
    if (connection?.isBroken === true) return;
    const last = this.lastOn(socket);
    if (connection === undefined || last === undefined) {
      refuse();
      return;
    }
    connection.isBroken = true;
    last.once('close', () => {
      if (socket.writable) refuse();
    });
  }

  async drain(server: Server, limitMs: number): Promise<number> {
    this.draining = true;
    const closed = Promise.withResolvers<unknown>();
    server.close(closed.resolve);
    for (const { answer } of this.#connections.values()) {
      if (answer?.headersSent === false) answer.shouldKeepAlive = false;
    }
    const quiet = Promise.withResolvers<unknown>();
    const limit = setTimeout(quiet.resolve, limitMs);
    this.#onQuiet = () => quiet.resolve(undefined);
    if (this.running === 0) this.#onQuiet();
    await quiet.promise;
    clearTimeout(limit);
    const cut = this.running;
    for (const socket of this.#tunnels) socket.destroy();
    if (cut > 0) server.closeAllConnections();
    else server.closeIdleConnections();
    const lastCall = setTimeout(() => server.closeAllConnections(), LAST_CALL_MS);
    await closed.promise;
    clearTimeout(lastCall);
    return cut;
  }
}
