/** What is under way on a listener, so that it can be brought to an end. */
import type { Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/** After everything has been answered: for connections that linger or whose answer is still in the kernel's hands. */
const LAST_CALL_MS = 2_500;

interface Connection {
  /** The answer being given on it; requests are served one after the other, so that there is at most one. */
  answer: ServerResponse | undefined;
}

/**
 * Kept by connection, not by request: a set that every request enters and leaves is rebuilt all the time, and what its
 * old tables still point to outlives every young collection (seen here as a fifth of all instructions spent).
 */
export class Traffic {
  readonly #connections = new Map<Duplex, Connection>();
  readonly #tunnels = new Set<Duplex>();
  #running = 0;
  #onQuiet: (() => void) | undefined;
  #draining = false;

  get draining(): boolean {
    return this.#draining;
  }

  get running(): number {
    return this.#running;
  }

  connect(socket: Duplex): void {
    this.#connections.set(socket, { answer: undefined });
    socket.once('close', () => this.#connections.delete(socket));
  }

  add(socket: Duplex, outgoing: ServerResponse): void {
    const connection = this.#connections.get(socket);
    if (connection !== undefined) connection.answer = outgoing;
    this.#running += 1;
    if (this.#draining) outgoing.shouldKeepAlive = false;
    outgoing.on('close', () => {
      if (connection?.answer === outgoing) connection.answer = undefined;
      this.#running -= 1;
      if (this.#running === 0) this.#onQuiet?.();
    });
  }

  addTunnel(socket: Duplex): void {
    this.#tunnels.add(socket);
    socket.once('close', () => this.#tunnels.delete(socket));
  }

  /** The answer that is being given on this connection. */
  answerOn(socket: Duplex): ServerResponse | undefined {
    const answer = this.#connections.get(socket)?.answer;
    // Node takes the socket away from an answer once it is out, a moment before its 'close'.
    return answer?.socket === socket ? answer : undefined;
  }

  /** See `Downstream.drain`. */
  async drain(server: Server, limitMs: number): Promise<number> {
    this.#draining = true;
    const closed = new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
    for (const { answer } of this.#connections.values()) {
      if (answer?.headersSent === false) answer.shouldKeepAlive = false;
    }
    await this.#quiet(limitMs);
    const cut = this.#running;
    for (const socket of this.#tunnels) socket.destroy();
    if (cut > 0) server.closeAllConnections();
    else server.closeIdleConnections();
    const lastCall = setTimeout(() => server.closeAllConnections(), LAST_CALL_MS);
    await closed;
    clearTimeout(lastCall);
    return cut;
  }

  #quiet(limitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, limitMs);
      this.#onQuiet = () => {
        clearTimeout(timer);
        resolve();
      };
      if (this.#running === 0) this.#onQuiet();
    });
  }
}
