/** What is under way on a listener, so that it can be brought to an end. */
import type { Server, ServerResponse } from 'node:http';
import { Server as TcpServer } from 'node:net';
import type { Duplex } from 'node:stream';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { restartTunnel } from './tunnel.ts';

/** For connections that linger or whose answer is still in the kernel's hands. */
const LAST_CALL_MS = 2_500;

/** A proxy that keeps connections uses most of them within this time, and is answered with `Connection: close`. */
const LAST_REQUESTS_MS = 500;

/** Clients whose sockets end at the same moment come again at the same moment, to the gates that are left. */
const MAX_SPREAD_MS = 5_000;
const SPREAD_BY_TUNNEL_MS = 50;
const SPREAD_STEP_MS = 100;

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
  #onEmpty: (() => void) | undefined;
  running = 0;
  draining = false;
  #isAnnounced = false;

  connect(socket: Duplex): void {
    this.#connections.set(socket, { answer: undefined, last: undefined, isBroken: false });
    socket.once('close', () => {
      this.#connections.delete(socket);
      if (this.#connections.size === 0) this.#onEmpty?.();
    });
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
    if (this.#isAnnounced) outgoing.shouldKeepAlive = false;
    outgoing.on('close', () => {
      if (connection?.answer === outgoing) connection.answer = undefined;
      if (connection?.last === outgoing) connection.last = undefined;
      this.running -= 1;
      this.#tellQuiet();
    });
  }

  addTunnel(socket: Duplex): void {
    this.#tunnels.add(socket);
    socket.once('close', () => {
      this.#tunnels.delete(socket);
      this.#tellQuiet();
    });
  }

  #tellQuiet(): void {
    if (this.running === 0 && this.#tunnels.size === 0) this.#onQuiet?.();
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

  /** Each answer ends its connection from here on, so that the client opens the next one elsewhere; all goes on being served. */
  announceDrain(): void {
    this.#isAnnounced = true;
    for (const { answer } of this.#connections.values()) {
      if (answer?.headersSent === false) answer.shouldKeepAlive = false;
    }
  }

  /** @returns how many answers did not end within the limit, and were cut */
  async drain(server: Server, limitMs: number): Promise<number> {
    // A connection that waits to be accepted is reset with what it has sent, so none may wait
    if (server.listening) await shortTurn();
    this.draining = true;
    this.announceDrain();
    const closed = Promise.withResolvers<unknown>();
    // Not that of an HTTP server: it cuts kept connections, whose next request may be there already
    TcpServer.prototype.close.call(server, closed.resolve);
    void this.#restartTunnels(limitMs);
    const quiet = Promise.withResolvers<unknown>();
    const limit = setTimeout(quiet.resolve, limitMs);
    await this.#closeKept(server, limitMs);
    this.#onQuiet = () => quiet.resolve(undefined);
    this.#tellQuiet();
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

  async #closeKept(server: Server, limitMs: number): Promise<void> {
    const empty = Promise.withResolvers<unknown>();
    const time = setTimeout(empty.resolve, Math.min(limitMs, LAST_REQUESTS_MS));
    this.#onEmpty = () => empty.resolve(undefined);
    if (this.#connections.size === 0) this.#onEmpty();
    await empty.promise;
    clearTimeout(time);
    // what has come by now is read first
    await shortTurn();
    server.closeIdleConnections();
  }

  async #restartTunnels(limitMs: number): Promise<void> {
    const tunnels = [...this.#tunnels];
    const spreadMs = Math.min(limitMs, MAX_SPREAD_MS, tunnels.length * SPREAD_BY_TUNNEL_MS);
    const atOnce = Math.ceil((tunnels.length * SPREAD_STEP_MS) / Math.max(spreadMs, SPREAD_STEP_MS));
    for (let begun = 0; begun < tunnels.length; begun += atOnce) {
      if (begun > 0) await sleep(SPREAD_STEP_MS, undefined, { ref: false });
      for (const socket of tunnels.slice(begun, begun + atOnce)) restartTunnel(socket);
    }
  }
}

const SHORT_TURN_MS = 0.3;
const MOST_TURNS = 20;

/** Resolves right after a turn of the event loop that had next to nothing to do: all that had arrived is accepted and read. */
async function shortTurn(): Promise<void> {
  for (let turn = 0; turn < MOST_TURNS; turn += 1) {
    const began = performance.now();
    await nextTurn();
    if (turn > 0 && performance.now() - began < SHORT_TURN_MS) return;
  }
}
