/** Holds back what a WebSocket client sends first, until somebody has judged it. */
import { FirstMessageReader } from './websocket-frame.ts';

export type GateVerdict = 'more' | 'pass' | 'refuse';

/**
 * Sees the client's bytes, in order, chunk by chunk, until it says `pass` (everything held goes upstream and the gate
 * is out of the way) or `refuse` (both sides are closed with 1008). A verdict that takes time is final: it sees nothing
 * more. A gate that throws or rejects refuses.
 */
export type ClientFrameGate = (bytes: Buffer) => GateVerdict | Promise<'pass' | 'refuse'>;

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
  const reader = new FirstMessageReader(maxBytes);
  return function firstMessageGate(bytes) {
    const message = reader.push(bytes);
    switch (message.kind) {
      case 'incomplete':
        return 'more';
      case 'closed':
        return 'pass';
      case 'unreadable':
        return 'refuse';
      case 'message': {
        const permitted = judge(message.text);
        return typeof permitted === 'boolean' ? toVerdict(permitted) : permitted.then(toVerdict);
      }
    }
  };
}

function toVerdict(permitted: boolean): 'pass' | 'refuse' {
  return permitted ? 'pass' : 'refuse';
}
