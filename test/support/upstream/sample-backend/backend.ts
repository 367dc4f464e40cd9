/**
 * A backend for tests: Open WebUI's routes and shapes without its models. It knows who asks, enforces no rule
 * about models (as BYPASS_MODEL_ACCESS_CONTROL=true) and writes down every request and every model that it ran: what
 * shows up in `invoked` got past the gate.
 *
 * Sockets are not served; tests attach a Socket.IO server to `server`. Requests are kept in memory: not for large bodies.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { type RecordedRequest, startRecordingUpstream, writeSlowly } from '../upstreams.ts';
import { CHAT_ROUTES, PASSTHROUGH_ROUTE } from './chat-routes.ts';
import type { Run } from '../../database/database.ts';
import { openSampleDirectory, type SampleUser } from './directory.ts';
import { readUser } from './identity.ts';
import { answerAsPage, LIST_ROUTES } from './list-routes.ts';
import { type ProviderModel, createSampleModels, SAMPLE_MODELS } from './models.ts';
import { type SampleContext, type SampleReply, type SampleRoute, createMatcher, failure, readTarget } from './route.ts';
import { WORKSPACE_ROUTES } from './workspace-routes.ts';

export interface SampleBackendOptions {
  /** Path of the SQLite file. */
  readonly database: string;
  /** Gets what is written into it. */
  readonly alsoWrite?: Run | undefined;
  readonly secretKey: string;
  readonly provider?: readonly ProviderModel[];
  /** Milliseconds between two words of a stream; 0 by default. */
  readonly wordDelayMs?: number;
}

export interface SampleBackend {
  /** `http://host:port` */
  readonly url: string;
  readonly server: Server;
  /** Oldest first. */
  readonly received: readonly RecordedRequest[];
  /** Ids of the models that were run, oldest first. */
  readonly invoked: string[];
  /** Forgets `received` and `invoked`. */
  reset(): void;
  close(): Promise<void>;
}

export async function startSampleBackend(options: SampleBackendOptions): Promise<SampleBackend> {
  const { provider = SAMPLE_MODELS, secretKey, wordDelayMs = 0 } = options;
  const directory = openSampleDirectory(options.database, options.alsoWrite);
  const models = createSampleModels(provider, directory);
  const invoked: string[] = [];
  const answer = createAnswer({ directory, models, provider, secretKey, invoked });
  const upstream = await startRecordingUpstream((incoming, outgoing, request) =>
    send(incoming, outgoing, answer(request), wordDelayMs),
  );
  return {
    url: upstream.origin,
    server: upstream.server,
    received: upstream.requests,
    invoked,
    reset() {
      upstream.reset();
      invoked.length = 0;
    },
    async close() {
      await upstream.close();
      directory.close();
    },
  };
}

const ROUTES: readonly SampleRoute[] = [...CHAT_ROUTES, ...LIST_ROUTES, ...WORKSPACE_ROUTES, PASSTHROUGH_ROUTE];

function createAnswer(context: SampleContext) {
  const match = createMatcher(ROUTES);
  const answer = ({ method, url, rawHeaders, bytes: body }: RecordedRequest): SampleReply => {
    const { path, query } = readTarget(url);
    const found = match(method, path);
    if (found === undefined) return answerAsPage({ method, path });
    const user = readUser(rawHeaders, context.directory, context.secretKey);
    const refusal = refuse(user, found.route.access);
    if (refusal !== undefined) return refusal;
    const known = typeof user === 'string' ? undefined : user;
    return found.route.answer({ method, path, query, params: found.params, body, user: known }, context);
  };
  return (request: RecordedRequest): SampleReply => {
    try {
      return answer(request);
    } catch (error) {
      return failure(500, String(error)); // a mistake of the sample, to be seen in the test that meets it
    }
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
  await writeSlowly(response, reply.stream, wordDelayMs);
}

/** The backend compresses JSON of more than 500 bytes whenever the client takes it. */
function compress(plain: Buffer, accepted: string): { bytes: Buffer; encoding: Record<string, string> } {
  if (plain.length < 500) return { bytes: plain, encoding: {} };
  if (/\bbr\b/.test(accepted)) return { bytes: brotliCompressSync(plain), encoding: { 'content-encoding': 'br' } };
  if (/\bgzip\b/.test(accepted)) return { bytes: gzipSync(plain), encoding: { 'content-encoding': 'gzip' } };
  return { bytes: plain, encoding: {} };
}
