/** What a provider says of a generation that was cut, in odd forms; what it was asked for is the judge. */
import { gzipSync } from 'node:zlib';
import type { ServerResponse } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { createLookup } from '../../../src/provider-door/reconcile.ts';
import { createUpstream } from '../../../src/transport/upstream.ts';
import { type RecordedRequest, sendJson, startRecordingUpstream } from '../../support/upstream/upstreams.ts';

const KEY = 'sk-of-the-provider';
const data = { id: 'gen-1', total_cost: 0.002, tokens_prompt: 10, tokens_completion: 20 };
const READ = { input: 10, output: 20, costNano: 2_000_000 };

async function lookUpAt(answer: (outgoing: ServerResponse, request: RecordedRequest) => unknown, id = 'gen-1') {
  const provider = await startRecordingUpstream((_incoming, outgoing, request) => answer(outgoing, request));
  const url = new URL(`${provider.origin}/v1`);
  const times = { connectTimeoutMs: 1_000, responseTimeoutMs: 5_000, idleTimeoutMs: 5_000 };
  const upstream = { ...createUpstream({ url, ...times, earlyHints: 'drop', probePath: '/' }), peerOf: undefined };
  onTestFinished(async () => {
    await upstream.close();
    await provider.close();
  });
  const ownKeyOf = () => Promise.resolve({ kind: 'none' } as const);
  const lookUp = createLookup({ providers: [{ url, key: KEY, prefix: undefined, upstream }], ownKeyOf });
  return { provider, usage: await lookUp({ provider: url.host, organization: 'acme' }, id) };
}

test('it is asked for the id as it is, and for no coding', async () => {
  const id = 'gen-/../../models?x=1&id=gen-2#\r\nx: y';
  const { provider, usage } = await lookUpAt((outgoing, request) => {
    const isPlain = request.all('accept-encoding').join() === 'identity';
    const body = JSON.stringify({ data: { ...data, id: new URL(request.url, 'http://x').searchParams.get('id') } });
    outgoing.writeHead(200, isPlain ? {} : { 'content-encoding': 'gzip' }).end(isPlain ? body : gzipSync(body));
  }, id);
  expect(usage).toMatchObject(READ);
  expect(provider.requests.map(({ path }) => path)).toEqual(['/v1/generation']);
});

test.each<[what: string, answer: (outgoing: ServerResponse) => unknown]>([
  ['is about another one', (outgoing) => sendJson(outgoing, { data: { ...data, id: 'gen-2' } })],
  ['is longer than any', (outgoing) => sendJson(outgoing, { data: { ...data, x: 'x'.repeat(100_000) } })],
  ['is an error', (outgoing) => sendJson(outgoing, { error: { code: 404 } })],
  ['has negative figures', (outgoing) => sendJson(outgoing, { data: { tokens_prompt: -1, total_cost: -1 } })],
])('an answer that %s has no figures', async (_, answer) => {
  expect((await lookUpAt(answer)).usage).toBeUndefined();
});

test('a redirect is not followed, and keeps no connection', async () => {
  const elsewhere = await startRecordingUpstream((_incoming, outgoing) => sendJson(outgoing, { data }));
  onTestFinished(() => elsewhere.close());
  const gone = Promise.withResolvers<unknown>();
  const { usage } = await lookUpAt((outgoing) => {
    outgoing.once('close', gone.resolve);
    outgoing.writeHead(302, { location: elsewhere.origin }).write('x'.repeat(4_000_000));
  });
  expect(usage).toBeUndefined();
  await gone.promise;
  expect(elsewhere.requests).toHaveLength(0);
});
