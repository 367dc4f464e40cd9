/** What comes back is what the provider has sent: status, header list and body, byte for byte. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ACCESS_KEY, type TestDoor, startTestDoor } from '../../support/gate/provider-door.ts';
import { rawRequest } from '../../support/gate/raw-connection.ts';
import { type RecordingUpstream, startRecordingUpstream } from '../../support/upstream/upstreams.ts';

const STREAM = [
  ': PROCESSING\r\n\r\n',
  'data: {"id":"gen-1","choices":[{"delta":{"content":"caf',
  'é"}}],"usage":null}\n\ndata: {"choices":[],"usage":{"prompt_tokens":0}}\n\n',
  'data: [DONE]\n\n',
];

let upstream: RecordingUpstream;
let door: TestDoor;
beforeAll(async () => {
  upstream = await startRecordingUpstream((_incoming, outgoing, { path }) => {
    const status = Number(/\d{3}/.exec(path)?.[0] ?? 200);
    outgoing.setHeader('x-request-id', 'req_of_the_provider');
    outgoing.setHeader('X-Generation-Id', 'gen-1');
    outgoing.setHeader('Set-Cookie', ['__cf_bm=1; path=/', 'b=2']);
    outgoing.setHeader('x-ratelimit-remaining-requests', '9');
    outgoing.setHeader('Cache-Control', 'max-age=5');
    if (status === 429) outgoing.setHeader('Retry-After', '7');
    if (path.endsWith('chat/completions')) {
      outgoing.writeHead(status, { 'content-type': 'text/event-stream; charset=utf-8' });
      for (const part of STREAM) outgoing.write(part);
      outgoing.end();
      return;
    }
    const body = JSON.stringify({ path, ok: status < 400 });
    outgoing.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length }).end(body);
  });
  door = await startTestDoor({
    MODELGATE_PROVIDERS: ['', '/402', '/429', '/500', '/503'].map((base) => upstream.origin + base).join(' '),
    MODELGATE_PROVIDER_SERVICE_MODELS: 'A',
  });
  door.database.grant('acme', 'A:latest');
});
afterAll(async () => {
  await door[Symbol.asyncDispose]();
  await upstream.close();
});

const BODY = JSON.stringify({ model: 'A', messages: [], input: 'x', prompt: 'x' });

async function ask(port: number, path: string, method: string) {
  const body = method === 'POST' ? BODY : '';
  const lines = [
    `${method} ${path} HTTP/1.1`,
    'Host: x',
    `Authorization: Bearer ${ACCESS_KEY}`,
    'X-OpenWebUI-User-Id: ann',
    'Content-Type: application/json',
    ...(method === 'POST' ? [`Content-Length: ${body.length}`] : []),
    'Connection: close',
  ];
  const { status, headers, body: text } = await rawRequest(port, `${lines.join('\r\n')}\r\n\r\n${body}`);
  const own = headers.filter(([name]) => !/^(date|connection|transfer-encoding|content-length)$/.test(name));
  return { status, headers: own.map((line) => line.join(': ')).toSorted(), body: unchunked(text) };
}

/** How the body is cut into chunks is between two neighbours (RFC 9112 7.1). */
const unchunked = (text: string): string =>
  /^[\da-f]+\r\n/i.test(text) ? ([...text.matchAll(/([\da-f]+)\r\n/gi)].length > 0 ? joinChunks(text) : text) : text;

function joinChunks(text: string): string {
  let [rest, whole] = [text, ''];
  for (;;) {
    const head = /^([\da-f]+)\r\n/i.exec(rest);
    const length = Number.parseInt(head?.[1] ?? '0', 16);
    if (head === null || length === 0) return whole;
    whole += rest.slice(head[0].length, head[0].length + length);
    rest = rest.slice(head[0].length + length + 2);
  }
}

const POSTED = [
  ...['/chat/completions', '/v1/chat/completions', '/completions', '/responses', '/messages', '/messages/count_tokens'],
  ...['/embeddings', '/rerank', '/api/chat', '/api/generate', '/api/show', '/api/embed', '/api/embeddings'],
  ...['/audio/speech', '/audio/transcriptions', '/images/generations', '/images/edits'],
  ...['/openai/deployments/A/chat/completions?api-version=2024-10-21'],
];
const LISTED = ['/models', '/v1/models', '/models/A', '/api/tags', '/api/ps', '/api/version'];

test.each([
  ...POSTED.map((path) => ['POST', path] as const),
  ...LISTED.map((path) => ['GET', path] as const),
  ...['402', '429', '500', '503'].map((status) => ['POST', `/${status}/embeddings`] as const),
  ['POST', '/500/chat/completions'] as const,
  ['GET', '/500/models'] as const,
])('%s %s', async (method, path) => {
  const direct = await ask(upstream.port, path, method);
  const through = await ask(Number(new URL(door.url).port), `/127.0.0.1:${upstream.port}${path}`, method);
  expect(through).toEqual(direct);
  expect(direct.headers).toContain('x-request-id: req_of_the_provider');
});

test('a body goes on byte for byte', async () => {
  await ask(Number(new URL(door.url).port), `/127.0.0.1:${upstream.port}/embeddings`, 'POST');
  expect(upstream.last().body).toBe(BODY);
});
