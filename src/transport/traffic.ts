/** What is under way on a listener, so that it can be brought to an end. */
import type { Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/** After everything has been answered: for connections that linger or whose answer is still in the kernel's hands. */
const LAST_CALL_MS = 2_500;

export class Traffic {
  readonly #answers = new Set<ServerResponse>();
  readonly #tunnels = new Set<Duplex>();
  #onQuiet: (() => void) | undefined;
  #draining = false;

  get draining(): boolean {
    return this.#draining;
  }

  get running(): number {
    return this.#answers.size;
  }

  add(outgoing: ServerResponse): void {
    this.#answers.add(outgoing);
    if (this.#draining) outgoing.shouldKeepAlive = false;
    outgoing.on('close', () => {
      this.#answers.delete(outgoing);
      if (this.#answers.size === 0) this.#onQuiet?.();
    });
  }

  addTunnel(socket: Duplex): void {
    this.#tunnels.add(socket);
    socket.once('close', () => this.#tunnels.delete(socket));
  }

  /** The answer that is being given on this connection. */
  answerOn(socket: Duplex): ServerResponse | undefined {
    for (const outgoing of this.#answers) if (outgoing.socket === socket) return outgoing;
    return undefined;
  }

  /** See `Downstream.drain`. */
  async drain(server: Server, limitMs: number): Promise<number> {
    this.#draining = true;
    const closed = new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
    for (const outgoing of this.#answers) if (!outgoing.headersSent) outgoing.shouldKeepAlive = false;
    await this.#quiet(limitMs);
    const cut = this.#answers.size;
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
      if (this.#answers.size === 0) this.#onQuiet();
    });
  }
}
