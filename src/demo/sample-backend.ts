/**
 * A backend for demos and tests: Open WebUI's routes and shapes without its models. It knows who asks, enforces no rule
 * about models (as BYPASS_MODEL_ACCESS_CONTROL=true) and writes down every request and every model that it ran: what
 * shows up in `invoked` got past the gate.
 *
 * Sockets are not served; tests attach a Socket.IO server to `server`. Requests are kept in memory: not for large bodies.
 */
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { setTimeout as sleep } from 'node:timers/promises';
import { CHAT_ROUTES, PASSTHROUGH_ROUTE } from './sample-chat-routes.ts';
import { openSampleDirectory } from './sample-directory.ts';
import type { SampleUser } from './sample-directory.ts';
import { readUser } from './sample-identity.ts';
import { answerAsPage, LIST_ROUTES } from './sample-list-routes.ts';
import type { ProviderModel } from './sample-models.ts';
import { createSampleModels, SAMPLE_PROVIDER_MODELS } from './sample-models.ts';
import type { SampleContext, SampleReply, SampleRoute } from './sample-route.ts';
import { createMatcher, failure, readTarget } from './sample-route.ts';
import { WORKSPACE_ROUTES } from './sample-workspace-routes.ts';

export interface SampleBackendOptions {
  /** Path of the SQLite file, such as `createSampleDatabase` makes. */
  readonly database: string;
  readonly secretKey: string;
  /** 0, the default, takes a free one. */
  readonly port?: number;
  readonly host?: string;
  readonly provider?: readonly ProviderModel[];
  /** Milliseconds between two words of a stream; 0 by default. */
  readonly wordDelayMs?: number;
  /** CUSTOM_API_KEY_HEADER of the backend, in lower case. */
  readonly apiKeyHeader?: string;
}

export interface ReceivedRequest {
  readonly method: string;
  /** The request target, exactly as it came. */
  readonly target: string;
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
}

export interface SampleBackend {
  /** `http://host:port` */
  readonly url: string;
  readonly server: Server;
  /** Every request whose body was read to its end, oldest first. */
  readonly received: readonly ReceivedRequest[];
  /** Ids of the models that were run, oldest first. */
  readonly invoked: readonly string[];
  /** Forgets `received` and `invoked`. */
  reset(): void;
  close(): Promise<void>;
}

/** @throws the listener's own error, such as EADDRINUSE */
export async function startSampleBackend(options: SampleBackendOptions): Promise<SampleBackend> {
  const { host = '127.0.0.1', port = 0, provider = SAMPLE_PROVIDER_MODELS } = options;
  const directory = openSampleDirectory(options.database);
  const models = createSampleModels(provider, directory);
  const received: ReceivedRequest[] = [];
  const context: SampleContext = { directory, models, provider, secretKey: options.secretKey, invoked: [] };
  const answer = createAnswer(context, options.apiKeyHeader ?? 'x-api-key');
  // as much as Open WebUI takes, which the gate must not stay below
  const server = createServer({ maxHeaderSize: 128 * 1024 }, (request, response) => {
    serve(request, response).catch(() => response.destroy()); // the other side went away in the middle
  });

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method = 'GET', url = '/', rawHeaders } = request;
    const record = { method, target: url, rawHeaders, body: Buffer.concat(chunks) };
    received.push(record);
    await send(request, response, answerOrFail(record), options.wordDelayMs ?? 0);
  }

  function answerOrFail(record: ReceivedRequest): SampleReply {
    try {
      return answer(record);
    } catch (error) {
      return failure(500, String(error)); // a mistake of the sample, to be seen in the test that meets it
    }
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(port, host, resolve);
  }).catch((error: unknown) => {
    directory.close();
    throw error;
  });
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}`,
    server,
    received,
    invoked: context.invoked,
    reset: () => {
      received.length = 0;
      context.invoked.length = 0;
    },
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => {
          directory.close();
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

const ROUTES: readonly SampleRoute[] = [...CHAT_ROUTES, ...LIST_ROUTES, ...WORKSPACE_ROUTES, PASSTHROUGH_ROUTE];

function createAnswer(context: SampleContext, apiKeyHeader: string) {
  const match = createMatcher(ROUTES);
  return ({ method, target, rawHeaders, body }: ReceivedRequest): SampleReply => {
    const { path, query } = readTarget(target);
    const found = match(method, path);
    if (found === undefined) return answerAsPage({ method, path });
    const user = readUser(rawHeaders, context.directory, context.secretKey, apiKeyHeader);
    const refusal = refuse(user, found.route.access);
    if (refusal !== undefined) return refusal;
    const known = typeof user === 'string' ? undefined : user;
    return found.route.answer({ method, path, query, params: found.params, body, user: known }, context);
  };
}

/** The backend's own checks: who it is, and whether the role is enough. Never which model. */
function refuse(user: SampleUser | string, access: SampleRoute['access']): SampleReply | undefined {
  if (access === 'public') return undefined;
  if (typeof user === 'string') return failure(401, user);
  const roles = access === 'admin' ? ['admin'] : ['user', 'admin'];
  if (roles.includes(user.role)) return undefined;
  return failure(
    401,
    'You do not have permission to access this resource. Please contact your administrator for assistance.',
  );
}

async function send(
  request: IncomingMessage,
  response: ServerResponse,
  reply: SampleReply,
  wordDelayMs: number,
): Promise<void> {
  if ('json' in reply) {
    const plain = Buffer.from(JSON.stringify(reply.json));
    const { bytes, encoding } = compress(plain, request.headers['accept-encoding'] ?? '');
    const headers = { 'content-type': 'application/json', ...encoding, ...reply.headers };
    response.writeHead(reply.status ?? 200, { ...headers, 'content-length': bytes.length }).end(bytes);
    return;
  }
  response.writeHead(200, { 'content-type': reply.contentType });
  for (const piece of reply.stream) {
    if (response.destroyed) return;
    response.write(piece);
    if (wordDelayMs > 0) await sleep(wordDelayMs);
  }
  response.end();
}

/** The backend compresses JSON of more than 500 bytes whenever the client takes it. */
function compress(plain: Buffer, accepted: string): { bytes: Buffer; encoding: Record<string, string> } {
  if (plain.length < 500) return { bytes: plain, encoding: {} };
  if (/\bbr\b/.test(accepted)) return { bytes: brotliCompressSync(plain), encoding: { 'content-encoding': 'br' } };
  if (/\bgzip\b/.test(accepted)) return { bytes: gzipSync(plain), encoding: { 'content-encoding': 'gzip' } };
  return { bytes: plain, encoding: {} };
}
