/** What a whole gate says about the requests it serves: figures, access lines, and the lines that explain decisions. */
import { describe, expect, test } from 'vitest';
import { startTestGate, type TestGate } from '../../support/gate/gate.ts';
import { openConnection } from '../../support/gate/raw-connection.ts';
import { startUpstream } from '../../support/upstream/upstreams.ts';
import { until } from '../../support/process/with-timeout.ts';

const chat = (model: string) => ({ model, messages: [{ role: 'user', content: 'a prompt of mine' }] });

async function line(gate: TestGate, wanted: (line: Record<string, unknown>) => boolean) {
  await until(() => gate.lines.some(wanted), 5_000, 'the log line');
  return gate.lines.find(wanted) ?? expect.fail();
}

describe('the figures', () => {
  test('of decisions name the organization and the grant, and never the user or what a client called a model', async () => {
    await using gate = await startTestGate();
    await (await gate.ask('ann', '/api/chat/completions', chat('acme/one'))).arrayBuffer();
    await (await gate.ask('ann', '/api/chat/completions', chat('no-such-model-anywhere'))).arrayBuffer();
    await (await gate.ask('cyd', '/api/chat/completions', chat('no-such-model-anywhere'))).arrayBuffer();
    const figures = await gate.figures();
    expect(figures).toContain('modelgate_organization_decisions_total{organization="acme",decision="permit"} 1');
    expect(figures).toContain('modelgate_organization_decisions_total{organization="acme",decision="deny"} 2');
    expect(figures).toContain('modelgate_organization_decisions_total{organization="globex",decision="deny"} 1');
    expect(figures).toContain('modelgate_grant_permits_total{model="acme/*"} 1');
    expect(figures).toContain('modelgate_denials_total{reason="not_granted",enforced="true"} 2');
    expect(figures.join('\n')).not.toMatch(/ann|cyd|no-such-model/);
  });

  test('of times tell the backend from the gate, and the caches say what they spared', async () => {
    await using gate = await startTestGate();
    for (let time = 0; time < 3; time += 1) await (await gate.ask('ann', '/api/models')).arrayBuffer();
    await until(
      async () => (await gate.figures()).includes('modelgate_upstream_duration_seconds_count 3'),
      5_000,
      'three exchanges',
    );
    const figures = await gate.figures();
    expect(figures).toContain('modelgate_added_latency_seconds_count 3');
    expect(figures).toContain('modelgate_upstream_first_byte_seconds_count 3');
    const lookups = (outcome: string): number =>
      Number(new RegExp(`cache="users",outcome="${outcome}"} (\\d+)`).exec(figures.join('\n'))?.[1]);
    expect(lookups('hit')).toBeGreaterThanOrEqual(1);
    expect(lookups('miss')).toBeGreaterThanOrEqual(1);
    // a request that met trouble on a busy machine asks again
    expect(lookups('hit') + lookups('miss')).toBeGreaterThanOrEqual(3);
  });

  test('of the database count what could not be read', async () => {
    await using gate = await startTestGate();
    gate.database.run('ALTER TABLE "user" RENAME TO gone');
    await (await gate.ask('ann', '/api/models')).arrayBuffer();
    const figures = (await gate.figures()).join('\n');
    expect(figures).toMatch(/modelgate_database_errors_total\{code="\w+"\} [1-9]/);
    expect(figures).toContain('modelgate_database_readable 0');
  });

  test('of streams count those that are open now, however they end', async () => {
    const held = new Set<{ end: () => void }>();
    await using upstream = await startUpstream((incoming, outgoing) => {
      incoming.resume();
      outgoing.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: first\n\n');
      held.add(outgoing);
    });
    await using gate = await startTestGate({ MODELGATE_UPSTREAM_URL: upstream.origin });
    const open = async (count: number) =>
      until(
        async () => (await gate.figures()).includes(`modelgate_streams_open ${count}`),
        5_000,
        `${count} open streams`,
      );
    const leaving = new AbortController();
    const left = await gate.ask('ann', '/api/chat/completions', chat('A'), { signal: leaving.signal });
    const ended = await gate.ask('ann', '/api/chat/completions', chat('A'));
    await open(2);
    leaving.abort();
    await open(1);
    for (const one of held) one.end();
    expect(await ended.text()).toContain('first');
    await open(0);
    expect(left.status).toBe(200);
  });
});

describe('an access line', () => {
  test.each([
    ['OPTIONS *', 'OPTIONS * HTTP/1.1\r\nHost: gate\r\n\r\n', { method: 'OPTIONS', path: '*', status: 204 }],
    [
      'an OPTIONS request that may not be forwarded',
      'OPTIONS /api HTTP/1.1\r\nHost: gate\r\nMax-Forwards: 0\r\n\r\n',
      { method: 'OPTIONS', path: '/api', status: 204 },
    ],
    ['CONNECT', 'CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n', { method: 'CONNECT', status: 405 }],
    [
      'an expectation that is not met',
      'POST /api HTTP/1.1\r\nHost: gate\r\nExpect: magic\r\nContent-Length: 0\r\n\r\n',
      { path: '/api', status: 417, code: 'expectation_failed' },
    ],
    ['bytes that are no request', 'what is this\r\n\r\n', { status: 400, code: 'request_malformed' }],
    ['headers that are too long', `GET / HTTP/1.1\r\nA: ${'x'.repeat(70_000)}\r\n\r\n`, { status: 431 }],
    [
      'an upgrade with two lengths',
      'GET /ws/socket.io/ HTTP/1.1\r\nHost: gate\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n',
      { status: 400 },
    ],
  ])('is written for %s', async (_name, bytes, fields) => {
    await using gate = await startTestGate();
    const connection = await openConnection(gate.port, bytes);
    await connection.receives('HTTP/1.1 ');
    expect(await line(gate, ({ msg }) => msg === 'request')).toMatchObject(fields);
    expect((await gate.figures()).join('\n')).toMatch(/modelgate_requests_total\{[^}]*\} 1/);
    connection.close();
  });
});

test('a request that fails is one line, which says at what, and no more however many fail', async () => {
  await using gate = await startTestGate({
    MODELGATE_UPSTREAM_URL: 'http://127.0.0.1:1',
    MODELGATE_POLICY_MAX_STALE: '1s',
  });
  const from = gate.lines.length;
  for (let time = 0; time < 10; time += 1) {
    expect((await gate.ask('ann', '/api/chat/completions', chat('A'))).status).toBe(502);
  }
  gate.database.run('ALTER TABLE "user" RENAME TO gone');
  expect((await gate.ask('bob', '/api/chat/completions', chat('F'))).status).toBe(503);
  expect((await gate.ask('ann', '/api//models')).status).toBe(400);
  await until(() => gate.lines.filter(({ msg }) => msg === 'request').length === 12, 5_000, 'the access lines');
  const [first, ...rest] = gate.lines.slice(from).filter(({ msg }) => msg !== 'the policy database cannot be read');
  expect(first).toMatchObject({ msg: 'request', status: 502, code: 'upstream_unreachable', cause: 'ECONNREFUSED' });
  expect(rest).toHaveLength(11);
  expect(rest.at(-2)).toMatchObject({ status: 503, code: 'policy_unavailable' });
  expect(rest.at(-1)).toMatchObject({ status: 400, code: 'path_ambiguous' });
  expect(rest.at(-1)).not.toHaveProperty('cause');
});

test('one more byte behind a chat takes no answer from it, and both are reported', async () => {
  await using gate = await startTestGate();
  const connection = await openConnection(gate.port);
  const body = JSON.stringify(chat('A'));
  connection.send(
    `POST /api/chat/completions HTTP/1.1\r\nHost: gate\r\n${await gate.authorization('ann')}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}X`,
  );
  const text = await connection.closes();
  expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 400']);
  expect(text).toContain('chat.completion');
  expect(gate.ran()).toEqual(['A']);
  expect(await line(gate, ({ status }) => status === 200)).toMatchObject({ path: '/api/chat/completions' });
  expect(await line(gate, ({ status }) => status === 400)).toMatchObject({ code: 'request_malformed' });
});

describe('with SRC_LOG_LEVELS_MODELS=DEBUG', () => {
  /** The deployment guide's own search. */
  const GUIDE = /(organization|model|access)/;

  test('each decision is explained: who, which organizations, which model, which grant or reason', async () => {
    await using gate = await startTestGate({ SRC_LOG_LEVELS_MODELS: 'DEBUG' });
    await (await gate.ask('cyd', '/api/chat/completions', chat('acme/one'))).arrayBuffer();
    await (await gate.ask('bob', '/api/chat/completions', chat('A'))).arrayBuffer();
    await (await gate.ask('dan', '/api/chat/completions', chat('A'))).arrayBuffer();
    await (await gate.ask('bob', '/api/models')).arrayBuffer();
    const explained = gate.lines.filter(({ level }) => level === 'debug');
    expect(explained).toMatchObject([
      { user: 'cyd', organizations: 'acme, globex', model: 'acme/one', access: 'permit', grant: 'acme/*' },
      { user: 'bob', organizations: 'globex', model: 'A', access: 'deny', reason: 'not_granted' },
      { user: 'dan', organizations: '', model: 'A', access: 'deny', reason: 'no_organization' },
      { user: 'bob', organizations: 'globex', list: 'models', kept: 1 },
    ]);
    for (const one of explained) expect(JSON.stringify(one)).toMatch(GUIDE);
    const denial = await line(gate, ({ msg, user }) => msg === 'request' && user === 'dan');
    expect(explained[2]).toMatchObject({ request_id: denial['request_id'], decision_id: denial['decision_id'] });
    expect(JSON.stringify(gate.lines)).not.toContain('a prompt of mine');
  });

  test('without it nothing is explained', async () => {
    await using gate = await startTestGate();
    await (await gate.ask('bob', '/api/chat/completions', chat('A'))).arrayBuffer();
    await line(gate, ({ msg }) => msg === 'request');
    expect(gate.lines.filter(({ level }) => level === 'debug')).toEqual([]);
  });
});
