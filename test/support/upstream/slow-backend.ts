import type { ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { withTimeout } from '../process/with-timeout.ts';

export interface SlowBackend extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** The next request for `/slow`, whose answer has begun and is never ended by the backend itself. */
  held(): Promise<ServerResponse>;
  close(): Promise<void>;
}

/** A backend that answers with its path, but `/slow`, which the test ends. @param port 0 lets the system choose */
export async function startSlowBackend(port = 0): Promise<SlowBackend> {
  const waiting: ((response: ServerResponse) => void)[] = [];
  const server = createServer((request, response) => {
    if (request.url !== '/slow') {
      response.end(`backend ${request.url ?? ''}`);
      return;
    }
    response.writeHead(200, { 'content-type': 'text/plain' });
    response.write('begun');
    waiting.shift()?.(response);
  });
  server.listen(port, '127.0.0.1');
  await new Promise((resolve, reject) => server.once('listening', resolve).once('error', reject));
  const { port: bound } = server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return {
    url: `http://127.0.0.1:${bound}`,
    port: bound,
    held: () => withTimeout(new Promise((resolve) => waiting.push(resolve)), 10_000, 'a request for /slow'),
    close,
    [Symbol.asyncDispose]: close,
  };
}
