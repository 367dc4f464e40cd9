/** However a provider frames its answer, and wherever it breaks off: a client has what it would have without the door. */
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import { ACCESS_KEY, type TestDoor, startTestDoor } from '../../support/gate/provider-door.ts';
import { openConnection } from '../../support/gate/raw-connection.ts';
import { until } from '../../support/process/with-timeout.ts';
import { type ByteUpstream, startScriptedUpstream } from '../../support/upstream/upstreams.ts';

const JSON_HEAD = 'Content-Type: application/json\r\n';
const EVENTS_HEAD = 'Content-Type: text/event-stream\r\n';
const CHUNKED = 'Transfer-Encoding: chunked\r\n';

const WHOLE = '{"id":"chatcmpl-1","model":"A","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}';
const WORDS = `: PROCESSING\n\ndata: {"model":"A","choices":[{"delta":{"content":"caf\u00c3\u00a9"}}]}\r\n\r\n`;
const USAGE = 'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n';
const DONE = 'data: [DONE]\n\n';

const head = (...lines: string[]): string =>
  `HTTP/1.1 200 OK\r\nX-Request-Id: of-the-provider\r\nX-B: 2\r\nx-a: 1\r\nX-B: 3\r\n${lines.join('')}\r\n`;
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;
const byBytes = (text: string): string => text.replaceAll(/[^]/g, chunk);
const END = '0\r\n\r\n';
const lengthOf = (text: string): string => `Content-Length: ${text.length}\r\n`;
const zipped = (text: string): string => gzipSync(Buffer.from(text, 'latin1')).toString('latin1');
const ZIPPED_HEAD = 'Content-Encoding: gzip\r\n';
const errorOf = (status: number, more = ''): string => {
  const body = `{"error":{"message":"status ${status}"}}`;
  return `HTTP/1.1 ${status} Refused\r\n${more}${JSON_HEAD}${lengthOf(body)}\r\n${body}`;
};

/** What the provider sends, and then closes. */
const ANSWERS: Readonly<Record<string, string>> = {
  'with a length': head(JSON_HEAD, lengthOf(WHOLE)) + WHOLE,
  'in chunks of one byte': head(JSON_HEAD, CHUNKED) + byBytes(WHOLE) + END,
  'that ends with its connection': head(JSON_HEAD, 'Connection: close\r\n') + WHOLE,
  'with a trailer': `${head(JSON_HEAD, CHUNKED, 'Trailer: X-T\r\n')}${chunk(WHOLE)}0\r\nX-T: 1\r\n\r\n`,
  'that is coded, though nobody has asked': head(JSON_HEAD, ZIPPED_HEAD, lengthOf(zipped(WHOLE))) + zipped(WHOLE),
  'of no bytes': head(JSON_HEAD, 'Content-Length: 0\r\n'),
  'of no chunks': head(JSON_HEAD, CHUNKED) + END,
  'of no content': 'HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n',
  'behind an interim one': `HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n${head(JSON_HEAD, lengthOf(WHOLE))}${WHOLE}`,
  'of another type': head('Content-Type: audio/mpeg\r\n', lengthOf('\u00ff\u00fb\u0090')) + '\u00ff\u00fb\u0090',
  'without a type': head(lengthOf(WHOLE)) + WHOLE,
  'that is no JSON': head(JSON_HEAD, lengthOf('{"usage":{{{')) + '{"usage":{{{',
  'in events of one byte': head(EVENTS_HEAD, CHUNKED) + byBytes(WORDS + DONE) + END,
  'in events with a length': head(EVENTS_HEAD, lengthOf(WORDS + DONE)) + WORDS + DONE,
  'in coded events': head(EVENTS_HEAD, CHUNKED, ZIPPED_HEAD) + chunk(zipped(WORDS + USAGE + DONE)) + END,
  'in events without an end': head(EVENTS_HEAD, CHUNKED) + chunk(`${WORDS}data: {"choices":[]}`) + END,
  'in lines':
    head('Content-Type: application/x-ndjson\r\n', CHUNKED) + byBytes('{"done":false}\n{"done":true}\n') + END,
  ...Object.fromEntries(
    [402, 404, 429, 500, 503].map((status) => [`of ${status}`, errorOf(status, 'Retry-After: 7\r\n')]),
  ),
};

const CUT: Readonly<Record<string, string>> = {
  'before its length': head('Content-Type: audio/mpeg\r\n', 'Content-Length: 1000\r\n') + WHOLE,
  'between two chunks': head(JSON_HEAD, CHUNKED) + chunk(WHOLE.slice(0, 40)) + chunk(WHOLE.slice(40)),
  'inside of a chunk': `${head(JSON_HEAD, CHUNKED)}ff\r\n${WHOLE}`,
  'between two events': head(EVENTS_HEAD, CHUNKED) + chunk(WORDS),
  'inside of an event': head(EVENTS_HEAD, CHUNKED) + chunk(`${WORDS}data: {"cho`),
};

let upstream: ByteUpstream;
let door: TestDoor;
afterEach(async () => {
  await door[Symbol.asyncDispose]();
  await upstream.close();
});

async function start(bytes: string): Promise<void> {
  upstream = await startScriptedUpstream(bytes);
  door = await startTestDoor({ MODELGATE_PROVIDERS: upstream.origin });
}

/** @returns the answer as its client reads it: the body without its chunks, and whether it has come to its end */
async function ask(port: number, path: string, body: object) {
  const text = JSON.stringify({ model: 'A', messages: [], ...body });
  const lines = [
    `POST ${path}/chat/completions HTTP/1.1`,
    ...['Host: x', `Authorization: Bearer ${ACCESS_KEY}`, 'X-OpenWebUI-User-Id: ann', 'Connection: close'],
    ...['Content-Type: application/json', `Content-Length: ${text.length}`],
  ];
  const connection = await openConnection(port, `${lines.join('\r\n')}\r\n\r\n${text}`);
  const received = (await connection.closes()).replace(/^HTTP\/1\.1 1\d\d .*?\r\n\r\n/s, '');
  const [top = '', ...rest] = received.split('\r\n\r\n');
  const [status = '', ...fields] = top.split('\r\n');
  const headers = fields.map((line) => line.replace(/^[^:]+/, (name) => name.toLowerCase()));
  const length = /^content-length: (\d+)/m.exec(headers.join('\n'))?.[1];
  const raw = rest.join('\r\n\r\n');
  const isChunked = headers.some((line) => line.startsWith('transfer-encoding:'));
  const read = isChunked
    ? joinChunks(raw)
    : { body: raw, isWhole: length === undefined || raw.length === Number(length) };
  // the order of lines of one name matters, and no other (RFC 9110 5.3)
  const nameOf = (line: string) => line.slice(0, line.indexOf(':'));
  const kept = headers.filter(isEndToEnd).toSorted((a, b) => nameOf(a).localeCompare(nameOf(b)));
  return { status: status.slice(9, 12), headers: kept, ...read };
}

/** Of this connection alone, or of the time. */
const isEndToEnd = (line: string): boolean =>
  !/^(?:date|connection|keep-alive|transfer-encoding|content-length|trailer):/.test(line);

function joinChunks(raw: string): { body: string; isWhole: boolean } {
  let [rest, body] = [raw, ''];
  for (;;) {
    const [line = '', size = ''] = /^([\da-f]+)\r\n/i.exec(rest) ?? [];
    const length = Number.parseInt(size, 16);
    if (line === '' || length === 0) return { body, isWhole: length === 0 };
    body += rest.slice(line.length, line.length + length);
    rest = rest.slice(line.length + length + 2);
  }
}

const through = (body: object) => ask(Number(new URL(door.url).port), `/127.0.0.1:${upstream.port}`, body);
const direct = (body: object) => ask(upstream.port, '', body);

const settled = () => until(() => door.calls().every(({ state }) => state !== 'open'), 5_000, 'the call to be settled');

describe('an answer', () => {
  test.each(Object.keys(ANSWERS))('%s is the same, streamed or not', async (what) => {
    await start(ANSWERS[what] ?? '');
    for (const body of [{}, { stream: true }, { stream: true, stream_options: { include_usage: true } }]) {
      const expected = await direct(body);
      expect(await through(body)).toEqual(expected);
      expect(expected.isWhole).toBe(true);
    }
    await settled();
    expect(door.calls()).toHaveLength(3);
  });

  test('of 400 to a stream is that of the call as it was, and the provider is asked twice', async () => {
    await start(errorOf(400));
    expect(await through({ stream: true })).toEqual(await direct({ stream: true }));
    expect(upstream.texts).toHaveLength(3);
    await settled();
    expect(door.calls()).toMatchObject([{ state: 'failed', status: 400 }]);
  });

  test('has the event with usage where the caller has asked, and not where only the door has', async () => {
    await start(head(EVENTS_HEAD, CHUNKED) + byBytes(WORDS + USAGE + DONE) + END);
    const asks = { stream: true, stream_options: { include_usage: true } };
    expect(await through(asks)).toEqual(await direct(asks));
    for (const options of [{}, { stream_options: null }, { stream_options: { include_usage: false } }])
      expect((await through({ stream: true, ...options })).body).toBe(WORDS + DONE);
    await settled();
    expect(door.calls()).toMatchObject(Array(4).fill({ measured: 'reported', input: 3, output: 4 }));
  });
});

test('of which nothing has come but what is held back is none, and so an error', async () => {
  await start(head(JSON_HEAD, 'Content-Length: 1000\r\n') + WHOLE);
  expect(await through({})).toMatchObject({ status: '502', isWhole: true });
  await settled();
  expect(door.calls()).toMatchObject([{ state: 'closed', input: 3 }]);
});

describe('an answer that is cut', () => {
  test.each(Object.keys(CUT))('%s is cut for the client too', async (what) => {
    await start(CUT[what] ?? '');
    const [expected, came] = [await direct({}), await through({})];
    expect(came.isWhole).toBe(false);
    expect(expected.isWhole).toBe(false);
    expect([came.status, came.headers]).toEqual([expected.status, expected.headers]);
    expect(expected.body.startsWith(came.body)).toBe(true);
    expect(expected.body.length - came.body.length).toBeLessThanOrEqual(WHOLE.length);
    await settled();
  });
});
