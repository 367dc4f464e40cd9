/**
 * Holds back what a WebSocket client sends until its first message was judged. The reader of frames is that of `ws`:
 * it refuses extensions, unmasked frames, bytes that are not UTF-8, and messages that are too long (RFC 6455 5 and 8.1).
 */
import type { Writable } from 'node:stream';
import { Receiver } from 'ws';

declare module 'ws' {
  // `ws` 8 exports it without documenting it, so that its types leave it out
  interface Receiver extends Writable {
    on(event: 'message', listener: (data: Buffer, isBinary: boolean) => void): this;
    on(event: 'conclude' | 'ping' | 'pong' | 'error', listener: () => void): this;
  }
  const Receiver: new (options: { isServer: boolean; maxPayload: number; maxFragments: number }) => Receiver;
}

export type GateVerdict = 'more' | 'pass' | 'refuse';

/**
 * Sees the client's bytes, in order, chunk by chunk, until it says `pass` (everything held goes upstream and the gate
 * is out of the way) or `refuse` (both sides are closed with 1008). A verdict that takes time is final: it sees nothing
 * more. A gate that throws or rejects refuses.
 */
export type ClientFrameGate = (bytes: Buffer) => GateVerdict | Promise<'pass' | 'refuse'>;

/** Pings and pongs before the first message; a client that sends more has no message. */
const MAX_CONTROL_FRAMES = 16;

/**
 * A gate for sockets whose first text message says what they are for. A message that cannot be read is refused; a
 * close instead of a message passes.
 *
 * @param judge true lets the connection go on
 * @param maxBytes longest first message
 */
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
    controlFrames += 1;
    if (controlFrames > MAX_CONTROL_FRAMES) decide(() => 'refuse');
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

function ignore(): void {
  // `errored` holds it already.
}
