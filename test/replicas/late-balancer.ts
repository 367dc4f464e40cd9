/** A Service of Kubernetes in small: it passes connections on to those endpoints that it believes to be ready, and learns late. */
import { type Socket, connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { closed, listening } from '../support/upstream/upstreams.ts';

export interface Endpoint {
  readonly port: number;
  /** Whose `/readyz` is asked. */
  readonly adminUrl: string;
}

const PROBE_EVERY_MS = 50;

/** @param lateMs from the first probe that fails to the moment when no new connection goes there */
export async function startLateBalancer(endpoints: readonly Endpoint[], lateMs: number) {
  const believed = new Set(endpoints);
  const sockets = new Set<Socket>();
  let next = 0;
  const server = createServer((client) => {
    const ready = [...believed];
    const endpoint = ready[next++ % ready.length];
    if (endpoint === undefined) return void client.destroy();
    const gate = connect(endpoint.port, '127.0.0.1');
    for (const [side, other] of [[client, gate] as const, [gate, client] as const]) {
      sockets.add(side);
      side.setNoDelay(true).on('error', () => undefined);
      side.on('close', () => {
        sockets.delete(side);
        other.destroy();
      });
      side.pipe(other);
    }
  });
  const port = await listening(server);
  let isOver = false;
  const watch = async (endpoint: Endpoint): Promise<void> => {
    while (!isOver) {
      const isReady = await fetch(`${endpoint.adminUrl}/readyz`)
        .then(async (answer) => (await answer.json(), answer.ok))
        .catch(() => false);
      if (isReady) believed.add(endpoint);
      else if (believed.has(endpoint)) {
        await sleep(lateMs);
        believed.delete(endpoint);
      }
      await sleep(PROBE_EVERY_MS);
    }
  };
  const watching = endpoints.map(watch);
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      isOver = true;
      await Promise.all(watching);
      for (const socket of sockets) socket.destroy();
      await closed(server);
    },
  };
}
