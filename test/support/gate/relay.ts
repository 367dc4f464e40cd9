/** The transport with no policy around it: what its tests drive, and the "bare transport" of the bench. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ClientGone, GatewayError } from '../../../src/errors.ts';
import { sendAnswer } from '../../../src/transport/answer.ts';
import type { AnswerRewrite, HeaderEdit } from '../../../src/transport/exchange.ts';
import { createPeerLookup } from '../../../src/transport/client.ts';
import { forward } from '../../../src/transport/forward.ts';
import { createDownstream } from '../../../src/transport/listener.ts';
import { tunnel } from '../../../src/transport/tunnel.ts';
import { type Upstream, createUpstream } from '../../../src/transport/upstream.ts';

export interface RelayOptions {
  readonly upstream: string;
  readonly timeouts?: Partial<Parameters<typeof createUpstream>[0]>;
  readonly limits?: Parameters<typeof createDownstream>[0]['limits'];
  readonly trustedProxies?: Parameters<typeof createPeerLookup>[0];
  readonly edit?: HeaderEdit;
  readonly rewrite?: AnswerRewrite;
  /** Makes the gate of each socket under `/ws/`. */
  readonly gate?: () => Parameters<typeof tunnel>[3];
  readonly port?: number;
}

export interface Relay {
  readonly origin: string;
  readonly port: number;
  readonly downstream: ReturnType<typeof createDownstream>;
  readonly upstream: Upstream;
  /** What every exchange came to: a status, or the name of the error. */
  readonly outcomes: string[];
  close(): Promise<void>;
}

const NO_EDIT: HeaderEdit = { remove: new Set(), add: [] };

export async function startRelay(options: RelayOptions): Promise<Relay> {
  const outcomes: string[] = [];
  const pool = createUpstream({
    url: new URL(options.upstream),
    connectTimeoutMs: 2_000,
    responseTimeoutMs: 60_000,
    idleTimeoutMs: 60_000,
    earlyHints: 'drop',
    probePath: '/',
    ...options.timeouts,
  });
  const upstream = { ...pool, peerOf: createPeerLookup(options.trustedProxies ?? []) };
  const failed = (answer: (status: number, body: string) => void) => (error: unknown) => {
    if (error instanceof ClientGone) outcomes.push('client gone');
    else if (error instanceof GatewayError) {
      outcomes.push(error.code);
      answer(error.status, JSON.stringify({ detail: error.message }));
    } else throw error;
  };
  const requestOf = (incoming: IncomingMessage, outgoing: ServerResponse) => ({
    outgoing,
    target: incoming.url ?? '/',
    credentialEdit: options.edit ?? NO_EDIT,
    answerEdits: [],
    body: undefined,
    rewrite: options.rewrite,
    requestId: 'relay-request',
  });
  const downstream = createDownstream({
    handle(incoming, outgoing) {
      forward(upstream, requestOf(incoming, outgoing)).then(
        (outcome) => outcomes.push(outcome.truncated ? 'truncated' : String(outcome.status)),
        failed((status, body) => sendAnswer(outgoing, status, [], body)),
      );
    },
    upgrade(incoming, outgoing, head) {
      tunnel(upstream, requestOf(incoming, outgoing), head, options.gate?.()).then(
        (outcome) => outcomes.push(outcome.refused ? 'refused' : String(outcome.status)),
        failed((status, body) => sendAnswer(outgoing, status, [], body)),
      );
    },
    mayUpgrade: (incoming) => incoming.url?.startsWith('/ws/') === true,
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  });
  const { server } = downstream;
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    port,
    downstream,
    upstream,
    outcomes,
    async close() {
      await downstream.drain(0);
      await upstream.close();
    },
  };
}
