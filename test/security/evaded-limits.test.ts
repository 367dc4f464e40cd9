/** What costs the backend more than one request, or a model's run that no body names, and is to be paid all the same. */
import { pbkdf2 } from 'node:crypto';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { chat } from '../support/gate/attacks.ts';
import { manualClock } from '../support/process/clock.ts';
import { type TestGate, gateOfTest } from '../support/gate/gate.ts';
import { rawRequest, requestText } from '../support/gate/raw-connection.ts';
import { AT_THE_EDGE } from '../support/gate/through-nginx.ts';
import { withTimeout, inTurn } from '../support/process/with-timeout.ts';

async function gateWith(settings: Record<string, string>): Promise<TestGate> {
  const gate = await gateOfTest(settings, '0.12.4', manualClock());
  return gate;
}

const CHAT = '/api/chat/completions';
/** As the page asks: each entry is a run of its own. */
const fanOut = (models: readonly string[]) =>
  chat('A', {
    chat_id: 'c',
    session_id: 's',
    message_ids: models.map((model_id, index) => ({ model_id, message_id: `m${index}` })),
  });
const times = (count: number, model = 'A'): string[] => new Array<string>(count).fill(model);
const remaining = (answer: Response): string | null => answer.headers.get('x-ratelimit-remaining-requests');

describe('a request that runs what is stored', () => {
  test.each([
    ['resuming a tool call', '/api/v1/chats/c/messages/m/resolve', { call_id: 'c1', action: 'reject' }],
    ['compacting a chat', '/api/v1/chats/c/compact', {}],
    ['running an automation', '/api/v1/automations/a/run', {}],
  ])('costs a run, and its access line has the decision: %s', async (_name, target, body) => {
    const gate = await gateWith({ MODELGATE_LIMIT_CHAT: '2/1h:1' });
    const messages = { m: { role: 'assistant', model: 'A' } };
    gate.database.addChat({ id: 'c', user: 'ann', chat: { models: ['A'], history: { messages } } });
    gate.database.addAutomation({ id: 'a', user: 'ann', data: { model_id: 'A' } });
    const statuses = await inTurn(Array(4), async () => (await gate.ask('ann', target, body)).status);
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(0);
    expect(gate.lines).toContainEqual(expect.objectContaining({ path: target, decision: 'permit', model: 'A' }));
  });

  test('costs what waits in the chat besides', async () => {
    const gate = await gateWith({ MODELGATE_LIMIT_CHAT: '10/1h' });
    const waiting = { role: 'user', model: 'A', meta: { internal: true, type: 'subagent' }, childrenIds: [] };
    gate.database.addChat({ id: 'c', user: 'ann', chat: { history: { messages: { p: waiting, q: waiting } } } });
    expect(remaining(await gate.ask('ann', CHAT, chat('A', { chat_id: 'c' })))).toBe('7');
  });
});

describe('a request that starts several runs costs as many', () => {
  test('of its user and of its organization', async () => {
    const gate = await gateWith({ MODELGATE_LIMIT_CHAT: '10/1h', MODELGATE_LIMIT_ORGANIZATION: '6/1h' });
    expect(remaining(await gate.ask('ann', CHAT, fanOut(times(4))))).toBe('2');
    expect(gate.ran()).toEqual(times(4));
    const refused = await gate.ask('ann', CHAT, fanOut(times(3)));
    expect([refused.status, refused.headers.get('ratelimit')]).toEqual([429, '"organization";r=2;t=600']);
    expect(gate.ran()).toEqual([]);
    expect(remaining(await gate.ask('ann', CHAT, fanOut(times(2))))).toBe('0');
  });

  test('in the old form, whose keys are the models, and in channels', async () => {
    const gate = await gateWith({ MODELGATE_LIMIT_CHAT: '10/1h' });
    const body = chat('A', { chat_id: 'c', session_id: 's', message_ids: { A: '1', 'acme/one': '2' } });
    expect(remaining(await gate.ask('ann', CHAT, body))).toBe('8');
    const content = '<@M:A|a> <@M:acme/one> <@M:A>';
    expect(remaining(await gate.ask('ann', '/api/v1/channels/c/messages/post', { content }))).toBe('6');
  });

  test('each run of the organization whose grant permitted it, whichever model is named first', async () => {
    const gate = await gateWith({ MODELGATE_LIMIT_ORGANIZATION: '4/1h' });
    expect((await gate.ask('cyd', CHAT, fanOut(['A', ...times(3, 'F')]))).status).toBe(200);
    expect((await gate.ask('ann', CHAT, fanOut(times(3)))).status).toBe(200);
    expect((await gate.ask('bob', CHAT, chat('F'))).status).toBe(200);
    expect((await gate.ask('bob', CHAT, chat('F'))).status).toBe(429);
    expect((await gate.ask('ann', CHAT, chat('A'))).status).toBe(429);
  });

  test.each([
    ['a fan-out of one', { message_ids: [{ model_id: 'F', message_id: 'm' }] }],
    ['a fan-out to another one', { message_ids: { A: 'm', 'acme/one': 'n' }, model: 'F' }],
    ['a fallback', { models: ['F'] }],
  ])('and of no other one by %s', async (_way, more) => {
    const gate = await gateWith({ MODELGATE_LIMIT_ORGANIZATION: '2/1h' });
    expect((await gate.ask('cyd', CHAT, chat('A', { chat_id: 'c', session_id: 's', ...more }))).status).toBe(200);
    expect((await gate.ask('bob', CHAT, chat('F'))).status).toBe(200);
    expect((await gate.ask('bob', CHAT, chat('F'))).status).toBe(429);
  });

  test('and one where it names none, or nothing that is a list', async () => {
    const gate = await gateWith({ MODELGATE_LIMIT_CHAT: '10/1h' });
    const left = await inTurn([[], {}, null, 'x', undefined], async (message_ids) =>
      remaining(await gate.ask('ann', CHAT, chat('A', { message_ids }))),
    );
    expect(left).toEqual(['9', '8', '7', '6', '5']);
  });

  test('places too: more than one user may run at the same time run never', async () => {
    const gate = await gateWith({ MODELGATE_LIMIT_CONCURRENT_CHATS: '3' });
    expect((await gate.ask('ann', CHAT, fanOut(times(500)))).status).toBe(429);
    expect((await gate.ask('ann', CHAT, fanOut(times(4)))).status).toBe(429);
    expect(gate.ran()).toEqual([]);
    for (let request = 0; request < 3; request += 1) {
      expect((await gate.ask('ann', CHAT, fanOut(times(3)))).status).toBe(200);
    }
    expect(gate.ran()).toEqual(times(9));
  });

  test('also where report mode lets a denied one go on', async () => {
    const gate = await gateWith({ MODELGATE_LIMIT_CHAT: '10/1h', MODELGATE_MODE: 'report' });
    expect(remaining(await gate.ask('ann', CHAT, fanOut(times(4, 'F'))))).toBe('6');
  });
});

test('speech that is written down runs a model of the backend’s own choosing, and counts as one', async () => {
  const gate = await gateWith({ MODELGATE_LIMIT_CHAT: '2/1h' });
  const form = new FormData();
  form.set('file', new Blob(['RIFF']), 'speech.wav');
  const init = { method: 'POST', body: form };
  const statuses = await inTurn(
    Array(3),
    async () => (await gate.ask('ann', '/api/v1/audio/transcriptions', undefined, init)).status,
  );
  expect(statuses.map((status) => status === 429)).toEqual([false, false, true]);
});

describe('a session of the event socket by polling', () => {
  test('counts when it is opened, however the query says that it is new', async () => {
    const gate = await gateWith({ MODELGATE_LIMIT_ADDRESS: '3/1h' });
    const ask = (target: string) => rawRequest(gate.port, requestText(`GET ${target}`));
    const openings = [
      '/ws/socket.io/?EIO=4&transport=polling',
      '/ws/socket.io?EIO=4&transport=polling&sid=',
      '/%77s/socket.io/x?EIO=4&sid&SID=abc',
      '/ws/socket.io/?EIO=4',
      '/ws/socket.io/?EIO=4&sid=&%73id=',
    ];
    const statuses = await inTurn(openings, async (target) => (await ask(target)).status);
    expect(statuses.map((status) => status === 429)).toEqual([false, false, false, true, true]);
    // the polls of one that is open are many a second
    expect((await ask('/ws/socket.io/?EIO=4&transport=polling&sid=abc')).status).not.toBe(429);
  });
});

describe('behind a trusted proxy that writes ports, or empty elements', () => {
  const TRUSTING = { MODELGATE_LIMIT_ADDRESS: '2/1h', MODELGATE_TRUSTED_PROXIES: '127.0.0.1/32,10.0.0.0/8' };
  const CHAINS = [
    (client: string) => `${client}:4711`,
    (client: string) => `${client}:4712, 10.0.0.9:80`,
    (client: string) => `203.0.113.9, ${client}, , 10.0.0.9,`,
  ];

  test('a client has one allowance, and spends no other', async () => {
    const gate = await gateWith(TRUSTING);
    const ask = async (chain: string) =>
      (await rawRequest(gate.port, requestText('GET /api/models', [`X-Forwarded-For: ${chain}`]))).status;
    expect(await inTurn(CHAINS, (chain) => ask(chain('198.51.100.7')))).toEqual([401, 401, 429]);
    expect(await ask('198.51.100.8:4711')).toBe(AT_THE_EDGE.addressesToldApart ? 401 : 429);
  });
});

test('a voice call that ends while its first message is judged gives its place back', async () => {
  const gate = await gateWith({ MODELGATE_LIMIT_CONCURRENT_CHATS: '1' });
  const sockets = new WebSocketServer({ server: gate.backend.server, perMessageDeflate: false });
  const gone = new Promise<void>((resolve) => {
    sockets.on('connection', (socket) => {
      socket.on('error', () => undefined);
      socket.on('close', () => resolve());
    });
  });
  const call = new WebSocket(`${gate.url.replace('http', 'ws')}/api/v1/audio/realtime`);
  await withTimeout(once(call, 'open'), 15_000, 'the call to open');
  const frame = JSON.stringify({ type: 'auth', token: await gate.token('ann'), model_id: 'A' });
  // a signature that was not seen before is checked in these threads: it waits until they are done
  const busy = Promise.all(Array.from({ length: 8 }, () => promisify(pbkdf2)('a', 'b', 200_000, 64, 'sha512')));
  call.send(frame, () => call.terminate());
  await withTimeout(gone, 15_000, 'the backend to see the end');
  await expect.poll(() => gate.figures()).toContain('modelgate_sockets_open 0');
  await busy;
  await expect.poll(() => gate.lines.some(({ model }) => model === 'A')).toBe(true);
  expect(await gate.figures()).toContain('modelgate_invocations_in_flight 0');
  expect((await gate.ask('ann', CHAT, chat('A'))).status).toBe(200);
});
