/**
 * Attacks by who wants models to run without being counted, or paid for by others. What the provider was asked for, and what
 * stands in the ledger then, are the judges.
 */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import Database from 'better-sqlite3';
import { afterEach, describe, expect, test } from 'vitest';
import { ACCESS_KEY, type TestDoor, startTestDoor } from '../support/gate/provider-door.ts';
import { openConnection } from '../support/gate/raw-connection.ts';
import { until } from '../support/process/with-timeout.ts';
import { type RecordedRequest, type RecordingUpstream, startRecordingUpstream } from '../support/upstream/upstreams.ts';
import type { CallRow } from '../support/database/usage.ts';

type Reply = (outgoing: ServerResponse, request: RecordedRequest) => unknown;

let upstream: RecordingUpstream;
let door: TestDoor;
afterEach(async () => {
  await door[Symbol.asyncDispose]();
  await upstream.close();
});

async function startDoor(reply: Reply, settings: Record<string, string> = {}): Promise<void> {
  upstream = await startRecordingUpstream((_incoming, outgoing, request) => reply(outgoing, request));
  door = await startTestDoor({ MODELGATE_PROVIDERS: upstream.origin, ...settings });
  door.database.grant('acme', 'dear');
}

const usage = { prompt_tokens: 100, completion_tokens: 10, total_tokens: 110 };
const whole =
  (more: object = {}): Reply =>
  (outgoing) => {
    const body = { id: 'chatcmpl-1', model: 'A', choices: [{ message: { content: 'words' } }], usage, ...more };
    outgoing.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };
const eventOf = (data: object): string => `data: ${JSON.stringify(data)}\n\n`;

const lineOf = (path: string): string => `POST /127.0.0.1:${upstream.port}${path} HTTP/1.1`;
const HEAD = ['Host: x', `Authorization: Bearer ${ACCESS_KEY}`, 'Content-Type: application/json'];
const requestOf = (path: string, body: string, user = 'ann', ...lines: string[]): string =>
  [lineOf(path), ...HEAD, `X-OpenWebUI-User-Id: ${user}`, `Content-Length: ${body.length}`, ...lines, '', body].join(
    '\r\n',
  );
const connectWith = (text: string) => openConnection(Number(new URL(door.url).port), text);

async function ask(body: object, path = '/chat/completions', user = 'ann'): Promise<{ status: number; text: string }> {
  const answer = await fetch(`${door.url}/127.0.0.1:${upstream.port}${path}`, {
    method: 'POST',
    headers: {
      ...{ authorization: `Bearer ${ACCESS_KEY}`, 'content-type': 'application/json', 'x-openwebui-user-id': user },
    },
    body: JSON.stringify({ model: 'A', messages: [], ...body }),
  });
  return { status: answer.status, text: await answer.text() };
}

/** The rows, when none of them is open any more. */
async function settledCalls(count = 1): Promise<CallRow[]> {
  const rows = () => door.calls();
  await until(() => rows().length >= count && rows().every(({ state }) => state !== 'open'), 10_000, 'calls settled');
  return rows();
}

function sql(statement: string, ...values: unknown[]): void {
  const file = new Database(`${door.database.directory}/modelgate/usage.db`, { timeout: 5_000 });
  file.prepare(statement).run(...values);
  file.close();
}

const PRICE =
  "INSERT INTO usage_price (provider, model, valid_from, source, input, output) VALUES (?, ?, 0, 'operator', ?, ?)";

function addBudget(fields: Record<string, string | number>): void {
  const row = { id: 'b', organization_id: 'acme', measure: 'usd', amount: 50, period: 'month', ...fields };
  const names = Object.keys(row);
  door.database.run(
    `INSERT INTO organization_budgets (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')})`,
    ...Object.values(row),
  );
}

describe('a client that leaves', () => {
  const start = eventOf({
    type: 'message_start',
    message: { model: 'A', usage: { input_tokens: 100, output_tokens: 1 } },
  });
  const words = eventOf({ type: 'content_block_delta', delta: { type: 'text_delta', text: ' word' } });

  test('when it has read all words of an answer has used more than the first', async () => {
    await startDoor((outgoing) => {
      outgoing.writeHead(200, { 'content-type': 'text/event-stream' }).write(start + words.repeat(50));
    });
    const client = await connectWith(requestOf('/messages', '{"model":"A","stream":true,"max_tokens":99}'));
    await client.receives((text) => text.split('content_block_delta').length > 50);
    client.close();
    const [row] = await settledCalls();
    expect(row).toMatchObject({ measured: 'interrupted', state: 'closed' });
    expect(row?.output).toBeGreaterThan(20);
  });

  test.each(['abort', 'drain'])('before its call has left has used nothing, and is no open call (%s)', async (how) => {
    await startDoor(whole(), { MODELGATE_PROVIDER_DISCONNECT: how });
    // then nothing but the call waits
    await door.ledger.beat();
    const holder = new Database(`${door.database.directory}/modelgate/usage.db`);
    holder.exec('BEGIN IMMEDIATE');
    const client = await connectWith(requestOf('/chat/completions', '{"model":"A"}'));
    await until(() => door.ledger.counts.backlog > 0, 15_000, 'the call to wait for the ledger');
    client.close();
    await until(() => client.socket.destroyed, 1_000, 'the client to be gone');
    await new Promise((resolve) => setTimeout(resolve, 100));
    holder.exec('ROLLBACK');
    holder.close();
    expect(await settledCalls()).toMatchObject([{ state: 'failed', measured: 'none', input: null, cost_nano: 0 }]);
    expect(upstream.requests).toHaveLength(0);
  });

  test.each(['abort', 'drain'])('before the head of the answer is counted (%s)', async (how) => {
    const held: ServerResponse[] = [];
    await startDoor((outgoing) => void held.push(outgoing), { MODELGATE_PROVIDER_DISCONNECT: how });
    const client = await connectWith(
      requestOf('/chat/completions', JSON.stringify({ model: 'A', x: 'x'.repeat(400) })),
    );
    await until(() => held.length === 1, 15_000, 'the call to reach the provider');
    client.close();
    await new Promise((resolve) => setTimeout(resolve, 100));
    for (const outgoing of held) whole()(outgoing, upstream.last());
    const [row] = await settledCalls();
    expect(row?.measured).toBe(how === 'drain' ? 'reported' : 'interrupted');
    expect(row?.input).toBeGreaterThanOrEqual(100);
  });

  test('is not one that waits for a provider which is not there: nothing is used, and nothing stays reserved', async () => {
    await startDoor(whole(), { MODELGATE_PROVIDERS: 'http://127.0.0.1:9' });
    addBudget({ measure: 'requests', amount: 1 });
    const { port } = upstream;
    upstream = { ...upstream, port: 9 };
    for (let turn = 0; turn < 3; turn++) expect((await ask({})).status).toBe(502);
    upstream = { ...upstream, port };
    const rows = await settledCalls(3);
    expect(rows.map(({ state, measured }) => `${state} ${String(measured)}`)).toEqual(Array(3).fill('failed none'));
  });

  test('after the last byte, or sends its call byte by byte or twice at once, is counted as often as it has called', async () => {
    await startDoor(whole());
    const body = '{"model":"A"}';
    const client = await connectWith('');
    for (const byte of requestOf('/chat/completions', body)) client.send(byte);
    await client.receives('"words"');
    client.send(requestOf('/chat/completions', body) + requestOf('/chat/completions', body, 'bob'));
    await client.receives((text) => text.split('HTTP/1.1 ').length > 3);
    client.close();
    const rows = await settledCalls(2);
    expect(rows).toHaveLength(2);
    expect(rows).toMatchObject([
      { user_id: 'ann', input: 100 },
      { user_id: 'ann', input: 100 },
    ]);
    expect(upstream.requests).toHaveLength(2);
  });
});

describe('a call without an answer', () => {
  test.each([
    ['closes the connection', (outgoing: ServerResponse): unknown => outgoing.socket?.destroy()],
    ['resets it', (outgoing: ServerResponse): unknown => outgoing.socket?.resetAndDestroy()],
    ['answers what is no HTTP', (outgoing: ServerResponse): unknown => outgoing.socket?.end('no HTTP\r\n\r\n')],
  ])('is estimated where the provider has had all of it and %s: it may have run', async (_, end) => {
    await startDoor((outgoing) => end(outgoing));
    // sent at once, and in pieces
    for (const length of [400, 200_000]) expect((await ask({ x: 'x'.repeat(length) })).status).toBe(502);
    const rows = await settledCalls(2);
    expect(rows.map(({ measured }) => measured)).toEqual(['interrupted', 'interrupted']);
    expect(rows.filter(({ input }) => Number(input) < 100)).toEqual([]);
  });

  test('has used nothing where the provider breaks off while it still takes it', async () => {
    const taker = createServer((socket) => void socket.once('data', () => socket.resetAndDestroy()));
    await once(taker.listen(0, '127.0.0.1'), 'listening');
    const { port } = taker.address() as AddressInfo;
    await startDoor(whole(), { MODELGATE_PROVIDERS: `http://127.0.0.1:${port}` });
    const target = `${door.url}/127.0.0.1:${port}/chat/completions`;
    const body = JSON.stringify({ model: 'A', messages: [], x: 'x'.repeat(20_000_000) });
    const headers = { authorization: `Bearer ${ACCESS_KEY}`, 'x-openwebui-user-id': 'ann' };
    const answer = await fetch(target, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body,
    });
    taker.close();
    expect(answer.status).toBe(502);
    expect(await settledCalls()).toMatchObject([{ state: 'failed', measured: 'none', input: null }]);
  });
});

describe('a call whose answer does not say what was used', () => {
  test.each([
    ['/responses', { background: true }, 'background'],
    ['/responses', { background: true, stream: true }, 'background'],
    ['/responses', { background: 1 }, 'background'],
    ['/chat/completions', { deferred: true }, 'deferred'],
  ])('is made one that does: %s %j', async (path, body, name) => {
    await startDoor(whole());
    expect(await ask({ ...body, input: 'x' }, path)).toMatchObject({ status: 200 });
    expect(upstream.last().json).toMatchObject({ [name]: false });
    expect(await settledCalls()).toMatchObject([{ measured: 'reported', input: 100 }]);
  });

  test.each([{ stream: 'true' }, { stream: 1 }, { stream: true, stream_options: { include_usage: 0 } }])(
    'is estimated: %j',
    async (body) => {
      await startDoor((outgoing) => {
        outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
        outgoing.end(
          eventOf({ model: 'A', choices: [{ delta: { content: 'word' } }] }).repeat(30) + 'data: [DONE]\n\n',
        );
      });
      await ask({ ...body, x: 'x'.repeat(400) });
      const [row] = await settledCalls();
      expect(row?.measured).toBe('estimated');
      expect(row?.input).toBeGreaterThanOrEqual(100);
      expect(row?.output).toBeGreaterThanOrEqual(10);
    },
  );

  test.each([null, false])('is asked, however it says that it need not be: include_usage %j', async (asked) => {
    await startDoor((outgoing) => {
      outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
      outgoing.end(eventOf({ model: 'A', choices: [], usage }) + 'data: [DONE]\n\n');
    });
    const { text } = await ask({ stream: true, stream_options: { include_usage: asked } });
    expect(text).toBe('data: [DONE]\n\n');
    expect(await settledCalls()).toMatchObject([{ measured: 'reported', input: 100, output: 10 }]);
  });

  test('is refused where a member stands twice', async () => {
    await startDoor(whole());
    const options = '"stream_options":{"include_usage":true,"include_usage":false}';
    const client = await connectWith(requestOf('/chat/completions', `{"model":"A","stream":true,${options}}`));
    await client.receives('HTTP/1.1 400');
    client.close();
    expect(upstream.requests).toHaveLength(0);
  });
});

describe('what an answer says of itself', () => {
  test('in the words of a model is not what it has used', async () => {
    const lie = `"usage": {"prompt_tokens": 1}} \n\ndata: [DONE]\n\ndata: {"usage":{"prompt_tokens":1}}`;
    await startDoor((outgoing) => {
      outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
      outgoing.write(eventOf({ model: 'A', choices: [{ delta: { content: lie } }] }).repeat(9));
      outgoing.end(eventOf({ choices: [], usage }) + 'data: [DONE]\n\n');
    });
    await ask({ stream: true });
    expect(await settledCalls()).toMatchObject([{ measured: 'reported', input: 100, output: 10 }]);
  });

  test('several times has the last count of each', async () => {
    await startDoor((outgoing) => {
      outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const said of [{ prompt_tokens: 1 }, usage, null, { prompt_tokens: 'none' }])
        outgoing.write(eventOf({ model: 'A', choices: [{ delta: { content: 'word' } }], usage: said }));
      outgoing.end('data: [DONE]\n\n');
    });
    await ask({ stream: true });
    expect(await settledCalls()).toMatchObject([{ measured: 'reported', input: 100, output: 10 }]);
  });

  test('never, because it does not end, is estimated when the gate gives it up', async () => {
    await startDoor(
      (outgoing) => {
        outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
        outgoing.write(eventOf({ model: 'A', choices: [{ delta: { content: 'word' } }] }).repeat(30));
      },
      { MODELGATE_IDLE_TIMEOUT: '1s' },
    );
    await ask({ stream: true }).catch(() => undefined);
    const [row] = await settledCalls();
    expect(row?.measured).toBe('interrupted');
    expect(row?.output).toBeGreaterThan(5);
  });

  test.each([
    { prompt_tokens: -5, completion_tokens: -1 },
    { prompt_tokens: '9', completion_tokens: '9', cost: '0' },
    { prompt_tokens: 1e308, completion_tokens: 1e308, cost: 1e308 },
    { prompt_tokens: null, completion_tokens: [] },
    [],
    'none',
  ])('is no count, and so estimated: %j', async (said) => {
    await startDoor(whole({ usage: said }));
    await ask({ x: 'x'.repeat(400) });
    const [row] = await settledCalls();
    expect(row?.measured).toBe('estimated');
    expect(row?.input).toBeGreaterThanOrEqual(100);
  });

  test('as its name is kept where it is one, and may be that of another call', async () => {
    let [id, model] = ['gen-1', 'A'];
    await startDoor((outgoing, request) => whole({ id, model })(outgoing, request));
    await ask({});
    await ask({});
    [id, model] = [`gen-${'x'.repeat(60_000)}`, 'A'.repeat(60_000)];
    await ask({});
    const rows = await settledCalls(3);
    expect(rows).toMatchObject([{ input: 100 }, { input: 100 }, { input: 100 }]);
    expect(rows.map((row) => row.generation_id)).toEqual(['gen-1', null, null]);
    expect(rows.at(-1)?.['answered_model']).toBeNull();
  });

  test.each([{ prompt_tokens: 9e15, completion_tokens: 1 }, { prompt_tokens: 1, cost: 9e6 }, { prompt_tokens: 9e8 }])(
    'does not end the sums, however much it is: %j',
    async (said) => {
      await startDoor(whole({ usage: said }));
      sql(PRICE, `127.0.0.1:${upstream.port}`, 'A', 100, 100);
      for (let turn = 0; turn < 2; turn++) await ask({});
      const rows = await settledCalls(2);
      expect(rows.every(({ cost_nano: cost }) => cost === null || Number.isSafeInteger(cost))).toBe(true);
      expect(await door.ledger.sums()).toMatchObject([{ model: 'A', requests: 2 }]);
    },
  );

  test('at its beginning alone, before a client has read all words and leaves, is not all', async () => {
    await startDoor((outgoing) => {
      outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
      outgoing.write(eventOf({ model: 'A', choices: [], usage: { prompt_tokens: 100, completion_tokens: 0 } }));
      outgoing.write(eventOf({ model: 'A', choices: [{ delta: { content: 'word' } }] }).repeat(50));
    });
    const client = await connectWith(requestOf('/chat/completions', '{"model":"A","stream":true}'));
    await client.receives((text) => text.split('"word"').length > 50);
    client.close();
    const [row] = await settledCalls();
    expect(row?.measured).toBe('interrupted');
    expect(row?.output).toBeGreaterThan(10);
  });

  test.each([
    ['behind a byte order mark', 'text/event-stream', '\ufeff'],
    ['under two types', ['text/event-stream', 'text/plain'], ''],
  ])('is read %s', async (_, types, before) => {
    await startDoor((outgoing) => {
      outgoing.setHeader('content-type', types).end(`${before}${eventOf({ model: 'A', choices: [], usage })}`);
    });
    expect((await ask({ stream: true, stream_options: { include_usage: true } })).status).toBe(200);
    expect(await settledCalls()).toMatchObject([{ measured: 'reported', input: 100, output: 10 }]);
  });

  test('costs no more room for a long id of a chat', async () => {
    await startDoor(whole());
    const client = await connectWith(
      requestOf('/chat/completions', '{"model":"A"}', 'ann', `X-OpenWebUI-Chat-Id: ${'c'.repeat(9_000)}`),
    );
    await client.receives('"words"');
    client.close();
    const [row] = await settledCalls();
    expect(row?.['chat_id']).toBe('c'.repeat(128));
  });
});

describe('a budget', () => {
  test('of money that is spent does not let a free model fall back on one that costs', async () => {
    await startDoor(whole());
    const provider = `127.0.0.1:${upstream.port}`;
    sql(
      "INSERT INTO usage_price (provider, model, valid_from, source, free) VALUES (?, 'A', 0, 'operator', 1)",
      provider,
    );
    sql(PRICE, provider, 'dear', 1e-3, 1e-3);
    addBudget({ amount: 0 });
    expect((await ask({})).status).toBe(200);
    expect((await ask({ models: ['A', 'dear'] })).status).toBe(402);
    expect((await ask({ model: 'dear' })).status).toBe(402);
    expect(upstream.requests).toHaveLength(1);
  });

  test('of a model counts what has run in the place of another, and refuses what may', async () => {
    await startDoor(whole({ model: 'dear-2026' }));
    addBudget({ measure: 'requests', amount: 1, scope: 'model:dear' });
    const both = { models: ['A', 'dear'] };
    expect([(await ask(both)).status, (await ask(both)).status, (await ask({})).status]).toEqual([200, 402, 200]);
    expect((await door.ledger.sums())?.map(({ model }) => model)).toEqual(['A', 'dear']);
  });

  test.each<[what: string, before: Record<string, string | number>, after: string]>([
    ['scope', { scope: 'model:dear' }, "scope = 'organization', amount = 2"],
    ['measure', { measure: 'tokens', amount: 500 }, "measure = 'requests', amount = 2"],
  ])('whose %s was changed by hand counts from its beginning what it says now', async (_, before, after) => {
    await startDoor(whole());
    addBudget({ measure: 'requests', amount: 1, ...before });
    expect((await ask({ model: 'dear' })).status).toBe(200);
    door.database.run(`UPDATE organization_budgets SET ${after}`);
    expect([(await ask({})).status, (await ask({})).status]).toEqual([200, 402]);
  });

  test('is not that of an organization which has not granted all that may run', async () => {
    await startDoor(whole());
    door.database.addMember('globex', 'ann');
    expect((await ask({ model: 'F' })).status).toBe(200);
    expect((await ask({ models: ['A', 'F'] })).status).toBe(403);
    door.database.grant('globex', 'A');
    expect((await ask({ models: ['A', 'F'] })).status).toBe(200);
    expect((await settledCalls(2)).map(({ organization_id: payer }) => payer)).toEqual(['globex', 'globex']);
  });

  test.each<[path: string, body: object]>([
    ['/chat/completions', { max_tokens: 5, MAX_TOKENS: 9_000 }],
    ['/chat/completions', { max_tokens: 5, N: 900 }],
    ['/chat/completions', { max_tokens: 5, plugins: [{ id: 'web' }] }],
    ['/chat/completions', { max_tokens: 5, messages: [{ content: [{ type: 'image_url', image_url: { url: 'x' } }] }] }],
    ['/responses', { max_output_tokens: 5, input: 'x', previous_response_id: 'resp_1' }],
    ['/responses', { max_output_tokens: 5, input: 'x', tools: [{ type: 'web_search' }] }],
    ['/chat/completions', { max_tokens: 5, extra_body: { max_tokens: 9_000 } }],
    ['/completions', { max_tokens: 5, prompt: Array(200).fill('') }],
    ['/rerank', { query: 'x'.repeat(100), documents: Array(20).fill('') }],
  ])('that no call may exceed is not passed by what the body does not hold: %s %j', async (path, body) => {
    await startDoor(whole(), { MODELGATE_BUDGET_RESERVE: 'maximum' });
    addBudget({ measure: 'tokens', amount: 1_000 });
    expect((await ask({ max_tokens: 5, max_output_tokens: 5 }, path)).status).toBe(200);
    expect([400, 402]).toContain((await ask(body, path)).status);
    expect(upstream.requests).toHaveLength(1);
  });

  test('of some models counts them by the prefix of the connection that is granted', async () => {
    await startDoor(whole());
    const base = `http://modelgate:8081/127.0.0.1:${upstream.port}`;
    const configure = (key: string, value: unknown) =>
      door.database.run('INSERT INTO config ("key", value) VALUES (?, ?)', key, JSON.stringify(value));
    configure('openai.api_base_urls', [base, base]);
    configure('openai.api_configs', { 0: { prefix_id: 'one' }, 1: { prefix_id: 'two' } });
    door.database.grant('acme', 'two.A');
    addBudget({ measure: 'requests', amount: 1, scope: 'model:two.*' });
    expect([(await ask({})).status, (await ask({})).status]).toEqual([200, 402]);
    expect(await settledCalls(2)).toMatchObject([{ model: 'two.A' }, { model: 'two.A' }]);
  });

  test.each(['total', 'week', 'month', 'day'])('of a %s, and a second one, both count every call', async (period) => {
    await startDoor(whole());
    addBudget({ id: 'first', measure: 'requests', amount: 9, period });
    addBudget({ id: 'second', measure: 'tokens', amount: 300, period });
    expect([(await ask({})).status, (await ask({})).status, (await ask({})).status]).toEqual([200, 200, 402]);
  });

  test('is that of the organization which paid when the call began', async () => {
    const held: ServerResponse[] = [];
    await startDoor((outgoing) => void held.push(outgoing));
    addBudget({ measure: 'requests', amount: 1 });
    const answer = ask({});
    await until(() => held.length === 1, 15_000, 'the call to reach the provider');
    const { database } = door;
    database.run('DELETE FROM organization_budgets');
    database.run("UPDATE organization_members SET organization_id = 'globex' WHERE user_id = 'ann'");
    for (const outgoing of held) whole()(outgoing, upstream.last());
    await answer;
    expect(await settledCalls()).toMatchObject([{ organization_id: 'acme', input: 100 }]);
  });
});

describe('where nothing is refused', () => {
  test.each<[what: string, settings: Record<string, string>, user: string]>([
    ['in report mode', { MODELGATE_MODE: 'report' }, 'bob'],
    ['by an extra path', { MODELGATE_PROVIDER_EXTRA_PATHS: 'chat/completions2' }, 'adm'],
  ])('%s, what an endpoint says that it has used is counted', async (_, settings, user) => {
    await startDoor(whole(), settings);
    expect((await ask({}, '/chat/completions2', user)).status).toBe(200);
    expect(await settledCalls()).toMatchObject([{ measured: 'reported', input: 100, output: 10, user_id: user }]);
  });

  test('a free endpoint is one that runs nothing', async () => {
    await startDoor((outgoing) => {
      outgoing.writeHead(200, { 'content-type': 'application/json' }).end('{"input_tokens":7}');
    });
    await ask({}, '/messages/count_tokens');
    expect(await settledCalls()).toMatchObject([{ measured: 'none', input: null, cost_nano: 0 }]);
  });
});
