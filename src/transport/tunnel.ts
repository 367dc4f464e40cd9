/** Two sockets joined after a WebSocket handshake: bytes, back-pressure, silence, and one end for both. */
import type { Duplex } from 'node:stream';
import { Socket } from 'node:net';
import type { ClientFrameGate, GateVerdict } from './first-message.ts';

/** A side that has said goodbye, or was refused, gets this long to see the other's last bytes. */
const GRACE_MS = 2_000;
/** A gated client must come to the point within this time and this many bytes. */
const GATE_MS = 30_000;
const MAX_GATED_BYTES = 256 * 1024;
/** RFC 6455 7.4.1: a violation of policy. */
const CLOSE_REASON = Buffer.concat([Buffer.from([1008 >> 8, 1008 & 0xff]), Buffer.from('not permitted')]);
const CLOSE_FRAME = Buffer.concat([Buffer.from([0x88, CLOSE_REASON.length]), CLOSE_REASON]);
/** Towards a server every frame is masked (5.3); a mask of zeros leaves the payload as it is. */
const MASKED_CLOSE_FRAME = Buffer.concat([Buffer.from([0x88, 0x80 | CLOSE_REASON.length, 0, 0, 0, 0]), CLOSE_REASON]);

interface JoinedSockets {
  readonly client: Duplex;
  readonly upstream: Duplex;
  /** What the client sent before the handshake was over. */
  readonly early: readonly Buffer[];
  readonly gate: ClientFrameGate | undefined;
  /** Longest time without a byte from either side, and longest time that one side takes nothing. */
  readonly idleTimeoutMs: number;
}

/** @returns once both sockets are gone; `refused` when the gate said so */
export function joinSockets(sockets: JoinedSockets): Promise<{ refused: boolean }> {
  return new Promise((resolve) => new Tunnel(sockets, resolve).open());
}

class Tunnel {
  readonly #client: Duplex;
  readonly #upstream: Duplex;
  readonly #early: readonly Buffer[];
  readonly #resolve: (outcome: { refused: boolean }) => void;
  readonly #idle: NodeJS.Timeout;
  #gate: ClientFrameGate | undefined;
  #gateTimer: NodeJS.Timeout | undefined;
  #held: Buffer[] = [];
  #heldBytes = 0;
  #awaiting = false;
  #refused = false;
  #open = 2;

  constructor(
    { client, upstream, early, gate, idleTimeoutMs }: JoinedSockets,
    resolve: (outcome: { refused: boolean }) => void,
  ) {
    this.#client = client;
    this.#upstream = upstream;
    this.#early = early;
    this.#gate = gate;
    this.#resolve = resolve;
    this.#idle = setTimeout(() => this.#destroy(), idleTimeoutMs);
  }

  open(): void {
    const client = this.#client;
    const upstream = this.#upstream;
    this.#join(client, upstream, (chunk) => this.#fromClient(chunk));
    this.#join(upstream, client, (chunk) => this.#pass(chunk, upstream, client));
    if (this.#gate !== undefined) this.#gateTimer = setTimeout(() => this.#refuse(), GATE_MS);
    for (const chunk of this.#early) this.#fromClient(chunk);
    // Paused where it sent too much too early.
    if (!this.#awaiting && !upstream.writableNeedDrain) client.resume();
  }

  #join(from: Duplex, to: Duplex, onData: (chunk: Buffer) => void): void {
    tune(from);
    from.on('data', onData);
    from.on('drain', () => to.resume());
    // WebSocket has no half-closed state: one end ends both, after what is on its way.
    from.on('end', () => {
      this.#endSoon(to);
    });
    from.on('close', () => {
      this.#open -= 1;
      if (this.#open > 0) this.#endSoon(to);
      else this.#finish();
    });
    from.on('error', ignore);
  }

  #pass(chunk: Buffer, from: Duplex, to: Duplex): void {
    this.#idle.refresh();
    if (to.writableEnded || to.destroyed) return;
    if (!to.write(chunk)) from.pause();
  }

  #fromClient(chunk: Buffer): void {
    if (this.#refused) return;
    if (this.#gate === undefined) {
      this.#pass(chunk, this.#client, this.#upstream);
      return;
    }
    this.#idle.refresh();
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
    if (this.#heldBytes > MAX_GATED_BYTES) this.#refuse();
    else if (!this.#awaiting) this.#ask(this.#gate, chunk);
  }

  #ask(gate: ClientFrameGate, chunk: Buffer): void {
    let verdict: ReturnType<ClientFrameGate>;
    try {
      verdict = gate(chunk);
    } catch {
      // A gate that fails has not permitted anything.
      verdict = 'refuse';
    }
    if (typeof verdict === 'string') {
      this.#obey(verdict);
      return;
    }
    this.#awaiting = true;
    this.#client.pause();
    const settle = (settled: GateVerdict) => {
      this.#awaiting = false;
      this.#obey(settled);
      if (!this.#upstream.writableNeedDrain) this.#client.resume();
    };
    verdict.then(settle, () => settle('refuse'));
  }

  #obey(verdict: GateVerdict): void {
    if (this.#refused || verdict === 'more') return;
    if (verdict === 'refuse') {
      this.#refuse();
      return;
    }
    clearTimeout(this.#gateTimer);
    this.#gate = undefined;
    const held = this.#held;
    this.#held = [];
    for (const chunk of held) this.#pass(chunk, this.#client, this.#upstream);
  }

  #refuse(): void {
    if (this.#refused) return;
    this.#refused = true;
    clearTimeout(this.#gateTimer);
    this.#held = [];
    if (this.#client.writable) this.#client.write(CLOSE_FRAME);
    if (this.#upstream.writable) this.#upstream.write(MASKED_CLOSE_FRAME);
    this.#upstream.removeAllListeners('data');
    this.#upstream.resume();
    this.#client.resume();
    this.#endSoon(this.#client);
    this.#endSoon(this.#upstream);
  }

  #endSoon(socket: Duplex): void {
    if (socket.destroyed) return;
    if (!socket.writableEnded) socket.end();
    const timer = setTimeout(() => socket.destroy(), GRACE_MS);
    socket.once('close', () => clearTimeout(timer));
  }

  #destroy(): void {
    this.#client.destroy();
    this.#upstream.destroy();
  }

  #finish(): void {
    clearTimeout(this.#idle);
    clearTimeout(this.#gateTimer);
    this.#resolve({ refused: this.#refused });
  }
}

/** No delay for small frames; a peer that vanished without a word is found by the kernel. */
function tune(stream: Duplex): void {
  if (!(stream instanceof Socket)) return;
  stream.setNoDelay(true);
  stream.setKeepAlive(true, 30_000);
  stream.setTimeout(0);
}

function ignore(): void {
  // 'close' follows every error and is what ends the other side.
}
