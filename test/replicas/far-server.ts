/** A server that is far away: what is sent arrives later, in both directions, and in its order. */
import { type Socket, connect, createServer } from 'node:net';
import { onTestFinished } from 'vitest';
import { closed, listening } from '../support/upstream/upstreams.ts';

/** Until the running test ends. @param roundTripMs of what is sent and answered at once @returns the port that leads to it */
export async function farServer(port: number, roundTripMs: number): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const near = connect(port, '127.0.0.1');
    for (const [side, other] of [[client, near] as const, [near, client] as const]) {
      sockets.add(side);
      side.setNoDelay(true).on('error', () => undefined);
      side.on('data', (bytes) => void setTimeout(() => other.write(bytes), roundTripMs / 2));
      side.on('close', () => void setTimeout(() => (sockets.delete(side), other.destroy()), roundTripMs / 2));
    }
  });
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    return closed(server);
  });
  return listening(server);
}
