/** Two sockets joined after a WebSocket handshake, the client's held back until its first message was judged. */
import { Socket } from 'node:net';
import type { Duplex, Writable } from 'node:stream';
import { Receiver } from 'ws';
import { ignore } from './answer.ts';

declare module 'ws' {
  // `ws` 8 exports it without documenting it, so that its types leave it out
  interface Receiver extends Writable {
    on(event: 'message', listener: (data: Buffer, isBinary: boolean) => void): this;
    on(event: 'conclude' | 'ping' | 'pong' | 'error', listener: () => void): this;
  }
  const Receiver: new (options: { isServer: boolean; maxPayload: number; maxFragments: number }) => Receiver;
}

/** Sees the client's bytes until its verdict; `refuse` closes both sides with 1008, as does a gate that throws. */
export type ClientFrameGate = (bytes: Buffer) => 'more' | 'pass' | 'refuse' | Promise<'pass' | 'refuse'>;
const GRACE_MS = 2_000;
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
  readonly early: readonly Buffer[];
  readonly gate: ClientFrameGate | undefined;
  readonly idleTimeoutMs: number;
}

/** @returns once both sockets are gone, whether the gate refused */
export const joinSockets = (sockets: JoinedSockets): Promise<boolean> => new Tunnel(sockets).outcome.promise;

class Tunnel {
  readonly #client: Duplex;
  readonly #upstream: Duplex;
  readonly outcome = Promise.withResolvers<boolean>();
  readonly #idle: NodeJS.Timeout;
  readonly #gateTimer: NodeJS.Timeout | undefined;
  #gate: ClientFrameGate | undefined;
  #held: Buffer[] = [];
  #heldBytes = 0;
  #awaiting = false;
  #refused = false;
  #open = 2;

  constructor({ client, upstream, early, gate, idleTimeoutMs }: JoinedSockets) {
    this.#client = client;
    this.#upstream = upstream;
    this.#gate = gate;
    this.#idle = setTimeout(() => {
      client.destroy();
      upstream.destroy();
    }, idleTimeoutMs);
    this.#join(client, upstream, (chunk) => this.#fromClient(chunk));
    this.#join(upstream, client, (chunk) => this.#pass(chunk, upstream, client));
    if (gate !== undefined) this.#gateTimer = setTimeout(() => this.#refuse(), GATE_MS);
    for (const chunk of early) this.#fromClient(chunk);
    if (!this.#awaiting && !upstream.writableNeedDrain) client.resume();
  }

  #join(from: Duplex, to: Duplex, onData: (chunk: Buffer) => void): void {
    tune(from);
    from.on('data', onData);
    from.on('drain', () => to.resume());
    // WebSocket has no half-closed state: one end ends both, after what is on its way.
    from.on('end', () => this.#endSoon(to));
    from.on('close', () => {
      this.#open -= 1;
      if (this.#open > 0) return this.#endSoon(to);
      clearTimeout(this.#idle);
      clearTimeout(this.#gateTimer);
      this.outcome.resolve(this.#refused);
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
      verdict = 'refuse';
    }
    if (typeof verdict === 'string') {
      this.#obey(verdict);
      return;
    }
    this.#awaiting = true;
    this.#client.pause();
    const settle = (settled: 'pass' | 'refuse') => {
      this.#awaiting = false;
      this.#obey(settled);
      if (!this.#upstream.writableNeedDrain) this.#client.resume();
    };
    verdict.then(settle, () => settle('refuse'));
  }

  #obey(verdict: 'more' | 'pass' | 'refuse'): void {
    if (verdict === 'refuse') this.#refuse();
    if (this.#refused || verdict === 'more') return;
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
}

/** No delay for small frames; a peer that vanished without a word is found by the kernel. */
function tune(stream: Duplex): void {
  if (!(stream instanceof Socket)) return;
  stream.setNoDelay(true);
  stream.setKeepAlive(true, 30_000);
  stream.setTimeout(0);
}

/** Pings and pongs before the first message; a client that sends more has no message. */
const MAX_CONTROL_FRAMES = 16;

/** A close instead of a first message passes; what breaks RFC 6455 5 and 8.1, or has extensions, does not. */
export function gateFirstMessage(
  judge: (text: string) => boolean | Promise<boolean>,
  maxBytes = 64 * 1024,
): ClientFrameGate {
  const receiver = new Receiver({ isServer: true, maxPayload: maxBytes, maxFragments: maxBytes });
  let verdict: ReturnType<ClientFrameGate> = 'more';
  let controlFrames = 0;
  const decide = (made: () => ReturnType<ClientFrameGate>): void => {
    if (verdict === 'more') verdict = made();
  };
  const onControlFrame = (): void => {
    if (++controlFrames > MAX_CONTROL_FRAMES) decide(() => 'refuse');
  };
  receiver
    .on('message', (data, isBinary) => decide(() => (isBinary ? 'refuse' : verdictOf(judge(data.toString())))))
    .on('conclude', () => decide(() => 'pass'))
    .on('ping', onControlFrame)
    .on('pong', onControlFrame)
    .on('error', ignore);
  return function firstMessageGate(bytes) {
    // a copy: the receiver unmasks in place, and upstream go the bytes that came
    receiver.write(Buffer.from(bytes));
    // the event `error` comes only in the next turn
    if (receiver.errored !== null) decide(() => 'refuse');
    return verdict;
  };
}

function verdictOf(permitted: boolean | Promise<boolean>): 'pass' | 'refuse' | Promise<'pass' | 'refuse'> {
  if (typeof permitted !== 'boolean') return permitted.then((late) => (late ? 'pass' : 'refuse'));
  return permitted ? 'pass' : 'refuse';
}
