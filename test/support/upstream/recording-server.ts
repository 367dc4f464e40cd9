import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { modelsNamed } from '../gate/models-named.ts';
import { withTimeout } from '../process/with-timeout.ts';

export interface RecordedRequest {
  method: string;
  /** Path without its query. */
  path: string;
  /** Each model id that the body or the path names, without repeats. */
  models: string[];
  /** The parsed JSON, or the text where it is none. */
  body: unknown;
  headers: IncomingHttpHeaders;
}

/** What every stub of a model provider offers a test, beside its own settings. */
export interface Recorder {
  /** `http://127.0.0.1:<port>`. */
  origin: string;
  requests: RecordedRequest[];
  /** Every model id that was asked for, in order of first mention, without repeats. */
  asked(): string[];
  /** Forgets what was recorded. */
  reset(): void;
  /** The first request that fits, of those recorded and those to come; fails after `ms`. */
  arrival(fits: (request: RecordedRequest) => boolean, ms?: number): Promise<RecordedRequest>;
  close(): Promise<void>;
}

export type Answer = (request: RecordedRequest, response: ServerResponse) => void | Promise<void>;

interface Waiter {
  fits: (request: RecordedRequest) => boolean;
  resolve: (request: RecordedRequest) => void;
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function parseBody(raw: Buffer): unknown {
  const text = raw.toString('utf8');
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

async function record(request: IncomingMessage): Promise<RecordedRequest> {
  const path = (request.url ?? '/').replace(/\?.*$/s, '');
  const body = parseBody(await readBody(request));
  const { method = 'GET', headers } = request;
  return { method, path, models: modelsNamed(path, body), body, headers };
}

/** A real HTTP server on a free loopback port that writes down every request before `answer` answers it. */
export async function startRecordingServer(answer: Answer): Promise<Recorder> {
  const requests: RecordedRequest[] = [];
  const waiters = new Set<Waiter>();

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const recorded = await record(request);
    requests.push(recorded);
    for (const waiter of waiters) {
      if (!waiter.fits(recorded)) continue;
      waiters.delete(waiter);
      waiter.resolve(recorded);
    }
    await answer(recorded, response);
  };
  const server = createServer((request, response) => {
    // A caller that leaves in the middle of its own request or of the answer is no event for a stub.
    serve(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;

  return {
    origin: `http://127.0.0.1:${port}`,
    requests,
    asked: () => [...new Set(requests.flatMap((request) => request.models))],
    reset: () => void requests.splice(0),
    arrival: (fits, ms = 10_000) => {
      const known = requests.find(fits);
      if (known) return Promise.resolve(known);
      const { promise, resolve } = Promise.withResolvers<RecordedRequest>();
      const waiter = { fits, resolve };
      waiters.add(waiter);
      return withTimeout(promise, ms, 'a request arrives at the provider').finally(() => waiters.delete(waiter));
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export function sendJson(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
