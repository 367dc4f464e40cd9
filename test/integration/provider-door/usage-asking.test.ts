/** The door asks for the usage of a stream, and sends a call once more where a provider refuses to be asked. */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { afterEach, describe, expect, test } from 'vitest';
import { createUsageAsking } from '../../../src/provider-door/prepare.ts';
import { type Provider, type ProviderScope, createProviderScope } from '../../../src/provider-door/scope.ts';
import { createUpstream } from '../../../src/transport/upstream.ts';
import { ACCESS_KEY, type TestDoor, startTestDoor } from '../../support/gate/provider-door.ts';
import { manualClock } from '../../support/process/clock.ts';
import { withTimeout } from '../../support/process/with-timeout.ts';
import {
  type RecordedRequest,
  type RecordingUpstream,
  type Upstream,
  startRecordingUpstream,
  startUpstream,
} from '../../support/upstream/upstreams.ts';

type Reply = (outgoing: ServerResponse, request: RecordedRequest) => unknown;

let upstream: RecordingUpstream;
let door: TestDoor;
afterEach(async () => {
  await door[Symbol.asyncDispose]();
  await upstream.close();
});

async function startDoor(reply: Reply): Promise<void> {
  upstream = await startRecordingUpstream((_incoming, outgoing, request) => reply(outgoing, request));
  door = await startTestDoor({ MODELGATE_PROVIDERS: upstream.origin });
}

const isAsked = ({ body }: RecordedRequest): boolean => body.includes('"include_usage":true');
const stream: Reply = (outgoing) => {
  outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
  outgoing.end('data: {"choices":[]}\n\ndata: [DONE]\n\n');
};
const refuse =
  (status: number): Reply =>
  (outgoing) =>
    outgoing.writeHead(status, { 'content-type': 'application/json', 'x-of': 'refusal' }).end('{"error":"refused"}');
const refuseAsked =
  (status: number): Reply =>
  (outgoing, request) =>
    isAsked(request) ? refuse(status)(outgoing, request) : stream(outgoing, request);

const CALL = '{"model":"A", "stream":true,"messages":[]}';
const ASKED = '{"stream_options":{"include_usage":true},"model":"A", "stream":true,"messages":[]}';

/** @param inChunks a body without a declared length */
async function ask(body = CALL, inChunks = false) {
  const answer = await fetch(`${door.url}/127.0.0.1:${upstream.port}/chat/completions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${ACCESS_KEY}`,
      'content-type': 'application/json',
      'x-openwebui-user-id': 'ann',
    },
    ...(inChunks ? { body: Readable.toWeb(Readable.from([Buffer.from(body)])), duplex: 'half' } : { body }),
  });
  return { status: answer.status, of: answer.headers.get('x-of'), text: await answer.text() };
}

const STREAMED = { status: 200, of: null, text: 'data: {"choices":[]}\n\ndata: [DONE]\n\n' };
const REFUSED = { status: 400, of: 'refusal', text: '{"error":"refused"}' };
const came = (): string[] => upstream.requests.splice(0).map(({ body }) => body);
const warned = () => door.lines.filter(({ msg }) => String(msg).includes('stream_options'));

const LONG = `{"model":"A","stream":true,"messages":[{"content":"é${'x'.repeat(300_000)}"}],"stream_options":null}`;

describe('usage of a stream', () => {
  test('is asked for, and nothing else changes', async () => {
    await startDoor(stream);
    expect(await ask()).toEqual(STREAMED);
    expect(came()).toEqual([ASKED]);
  });

  test.each([
    ['short', CALL, ASKED],
    ['long', LONG, LONG.replace(':null', ':{"include_usage":true}')],
  ])('is asked for in a %s body with and without a declared length', async (_length, body, asked) => {
    await startDoor(stream);
    for (const inChunks of [false, true]) {
      expect(await ask(body, inChunks)).toEqual(STREAMED);
      const [request] = upstream.requests;
      expect(request?.bytes.toString()).toBe(asked);
      expect(request?.all('content-length')).toEqual([String(Buffer.byteLength(asked))]);
      upstream.reset();
    }
  });

  test.each([
    '{"model":"A","stream":true,"stream_options":{"include_usage":true}}',
    '{"model":"A","stream":false}',
    '{ "model" : "A" }',
  ])('is not asked for where it is, or where there is none: %s', async (body) => {
    await startDoor(stream);
    await ask(body);
    expect(came()).toEqual([body]);
  });
});

describe('a provider that refuses to be asked', () => {
  test.each([400, 422])('by %i gets the call once more as it came, and is not asked again', async (status) => {
    await startDoor(refuseAsked(status));
    expect(await ask()).toEqual(STREAMED);
    expect(came()).toEqual([ASKED, CALL]);
    expect(await ask()).toEqual(STREAMED);
    expect(came()).toEqual([CALL]);
    expect(warned()).toMatchObject([{ provider: `127.0.0.1:${upstream.port}` }]);
  });

  test('gets a long body again, byte for byte', async () => {
    await startDoor(refuseAsked(400));
    expect(await ask(LONG)).toEqual(STREAMED);
    expect(upstream.requests.map(({ bytes }) => bytes.toString())).toEqual([
      LONG.replace(':null', ':{"include_usage":true}'),
      LONG,
    ]);
    expect(upstream.last().all('content-length')).toEqual([String(Buffer.byteLength(LONG))]);
  });

  test('has refused before the body was there', async () => {
    await startDoor(stream);
    // of the first request only the head is read
    const [first] = upstream.server.listeners('request');
    upstream.server.removeAllListeners('request').once('request', (incoming, outgoing) => {
      upstream.server.on('request', first as () => void);
      incoming.on('error', () => undefined);
      outgoing.writeHead(400, { 'content-length': 2 }).end('no');
    });
    const huge = LONG.replace('xxx', 'x'.repeat(8_000_000));
    expect(await ask(huge)).toEqual(STREAMED);
    expect(upstream.last().bytes.toString()).toBe(huge);
  });

  test('has no connection left open', async () => {
    const closed: Promise<unknown>[] = [];
    await startDoor((outgoing, request) => {
      // an answer that never ends
      if (!isAsked(request)) return stream(outgoing, request);
      closed.push(once(outgoing, 'close'));
      return outgoing.writeHead(400).write('{"error":');
    });
    expect(await ask()).toEqual(STREAMED);
    expect(closed).toHaveLength(1);
    await withTimeout(Promise.all(closed), 5_000, 'the refused connection to be closed');
  });

  test('is asked again where something else was wrong', async () => {
    await startDoor(refuse(400));
    for (let call = 0; call < 2; call++) {
      expect(await ask()).toEqual(REFUSED);
      expect(came()).toEqual([ASKED, CALL]);
    }
    expect(warned()).toEqual([]);
  });

  test('is one that has never taken the question', async () => {
    let reply = stream;
    await startDoor((outgoing, request) => reply(outgoing, request));
    await ask();
    came();
    reply = refuse(400);
    expect(await ask()).toEqual(REFUSED);
    expect(came()).toEqual([ASKED]);
  });

  test.each([401, 402, 404, 429, 500])('is none that answers %i', async (status) => {
    await startDoor(refuse(status));
    expect(await ask()).toEqual({ ...REFUSED, status });
    expect(came()).toEqual([ASKED]);
  });
});

describe('what is learnt', () => {
  const scopes: ProviderScope[] = [];
  let usageAsking: ReturnType<typeof createUsageAsking>;
  let relay: Upstream;
  let pool: ReturnType<typeof createUpstream>;
  const clock = manualClock();
  afterEach(async () => void (await Promise.all([relay.close(), pool.close()])));

  /** Sends each request as a call that asks. */
  async function startRelay(reply: Reply): Promise<void> {
    await startDoor(reply);
    const url = new URL(upstream.origin);
    pool = createUpstream({
      ...{ url, probePath: '/', connectTimeoutMs: 2_000, responseTimeoutMs: 9_000, idleTimeoutMs: 9_000 },
      earlyHints: 'drop',
    });
    const provider = { url, key: undefined, prefix: undefined, upstream: { ...pool, peerOf: undefined } };
    usageAsking = createUsageAsking({ refusing: new Set(), warn: () => undefined, now: clock.now });
    relay = await startUpstream((incoming, outgoing) => {
      const scope = createProviderScope(incoming, outgoing, provider);
      scopes.push(scope);
      Object.assign(scope, { target: '/chat/completions', hidesUsage: true });
      scope.bodyParts = [Buffer.from(ASKED)];
      scope.unasked = [Buffer.from(CALL)];
      void usageAsking.send(scope, {});
    });
  }
  const call = () => fetch(relay.origin, { method: 'POST' }).then((answer) => answer.text());
  const mayAsk = () => usageAsking.mayAsk({ url: new URL(upstream.origin) } as Provider);

  test('is a refusal for an hour, and the call no longer hides what the provider tells by itself', async () => {
    await startRelay(refuseAsked(400));
    expect(mayAsk()).toBe(true);
    expect(await call()).toBe(STREAMED.text);
    expect(scopes.at(-1)?.hidesUsage).toBe(false);
    expect(mayAsk()).toBe(false);
    clock.advance(3_600_000);
    expect(mayAsk()).toBe(false);
    clock.advance(1);
    expect(mayAsk()).toBe(true);
  });

  test('is what a provider takes, for ever', async () => {
    await startRelay(stream);
    await call();
    expect(scopes.at(-1)).toMatchObject({ hidesUsage: true, unasked: undefined });
    clock.advance(1e9);
    expect(mayAsk()).toBe(true);
  });
});
