/** Ports for servers that cannot be told to choose one themselves, or that come back to the one that they had. */
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below those that the system gives to outgoing connections, one of which may take a port before its server listens. */
const [LOWEST, HIGHEST] = [10_000, 32_000];
/** Each worker has as many of its own: what one was given looks free to another until a server listens there. */
const SHARE = 1_000;
const FIRST = LOWEST + ((Number(process.env['VITEST_POOL_ID'] ?? 0) * SHARE) % (HIGHEST - LOWEST));
let next = Math.floor(Math.random() * SHARE);

/** Different ones that were free a moment ago, and that no other worker is given. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = FIRST + (next++ % SHARE);
    if (await isFree(port)) ports.push(port);
  }
  return ports;
}

/** @returns one that was free a moment ago */
export async function freePort(): Promise<number> {
  const [port = 0] = await freePorts(1);
  return port;
}

/** On every address: a container publishes its own on all of them. */
async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const listens = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false)).listen(port, '0.0.0.0', () => resolve(true));
  });
  if (!listens) return false;
  server.close();
  await once(server, 'close');
  return true;
}
