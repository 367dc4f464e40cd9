import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ACCESS_KEY, PROVIDER_KEY, type TestDoor, startTestDoor } from '../../support/gate/provider-door.ts';

let door: TestDoor;
beforeAll(async () => {
  door = await startTestDoor();
});
afterAll(() => door[Symbol.asyncDispose]());
beforeEach(() => door.provider.reset());

const CHAT = '/chat/completions';
const messages = [{ role: 'user', content: 'hello' }];
const chat = (user: string | undefined, model: string, more: object = {}, headers?: Record<string, string>) =>
  door.ask(user, CHAT, { model, messages, ...more }, headers);

interface OpenAiError {
  readonly error: { readonly message: string; readonly code: string; readonly type: string };
}
const errorOf = async (response: Response) => ((await response.json()) as OpenAiError).error;

describe('a call that the backend makes for a user', () => {
  test.each(['A', 'acme/one', 'B'])('reaches %s, which an organization of the user has', async (model) => {
    const response = await chat('ann', model);
    expect(response.status).toBe(200);
    await response.text();
    expect(door.ran()).toEqual([model]);
  });

  test('streams', async () => {
    const response = await chat('ann', 'A', { stream: true });
    expect(response.headers.get('content-type')).toContain('text/event-stream');
    expect(await response.text()).toMatch(/data: \[DONE\]\s*$/);
  });

  test.each([
    ['ann', 'F'],
    ['ann', 'P'],
    ['bob', 'A'],
    ['bob', 'B'],
    ['dan', 'A'],
    ['pen', 'A'],
    ['adm', 'F'],
  ])('for %s does not reach %s', async (user, model) => {
    const response = await chat(user, model);
    expect(response.status).toBe(403);
    const { message, code } = await errorOf(response);
    expect(message).toContain(`"${model}" does not exist or your organization does not have access to it`);
    expect(code).toBe('model_not_permitted');
    expect(door.ran()).toEqual([]);
  });

  test('is refused on the very next call after the grant was withdrawn', async () => {
    door.database.grant('acme', 'W');
    expect((await chat('ann', 'W')).status).toBe(200);
    door.database.withdraw('acme', 'W');
    expect((await chat('ann', 'W')).status).toBe(403);
  });

  test('names every model that it may use', async () => {
    for (const more of [{ models: ['A', 'F'] }, { fallbacks: ['F'] }, { extra_body: { model: 'F' } }, { Model: 'F' }]) {
      expect((await chat('ann', 'A', more)).status).toBe(403);
    }
    expect(door.ran()).toEqual([]);
  });

  test('without a user is refused in words for the operator', async () => {
    const response = await chat(undefined, 'A');
    expect(response.status).toBe(403);
    const { message, code } = await errorOf(response);
    expect(code).toBe('no_identity');
    expect(message).toContain('ENABLE_FORWARD_USER_INFO_HEADERS=true');
  });

  test('for a user who does not exist is refused', async () => {
    const response = await chat('nobody-there', 'A');
    expect([response.status, (await errorOf(response)).code]).toEqual([403, 'user_unknown']);
  });

  test.each([
    ['no model', { messages }, 'model_missing'],
    ['a model that is no text', { model: 7, messages }, 'reference_unreadable'],
  ])('with %s is a mistake', async (_, body, code) => {
    const response = await door.ask('ann', CHAT, body);
    expect([response.status, (await errorOf(response)).code]).toEqual([400, code]);
  });
});

test.each([
  ['another type', { 'content-type': 'text/plain' }],
  ['another charset', { 'content-type': 'application/json; charset=utf-16' }],
  ['a coding', { 'content-encoding': 'gzip' }],
])('a body of %s is refused for that, and not for its model', async (_, headers) => {
  const response = await door.ask('ann', CHAT, { model: 'A', messages }, headers);
  const { code, message } = await errorOf(response);
  expect([response.status, code]).toEqual([400, 'content_unreadable']);
  expect(message).toContain('Expected one Content-Type, application/json in UTF-8');
  expect(door.ran()).toEqual([]);
});

describe('what goes on to the provider', () => {
  test('has its key, its host and nothing of the backend', async () => {
    await chat(
      'ann',
      'A',
      {},
      {
        cookie: 'token=secret',
        'x-openwebui-user-email': 'ann@example.com',
        'x-openwebui-chat-id': 'chat-1',
        'x-openwebui-anything': 'x',
        'x-modelgate-model': 'A',
        'http-referer': 'https://openwebui.com/',
        'x-forwarded-for': '10.0.0.1',
      },
    );
    const request = door.provider.last();
    expect(request.url).toBe('/v1/chat/completions');
    expect(request.all('authorization')).toEqual([`Bearer ${PROVIDER_KEY}`]);
    expect(request.all('host')).toEqual([new URL(door.provider.url).host]);
    expect(request.all('http-referer')).toEqual(['https://openwebui.com/']);
    const names = request.rawHeaders.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase());
    expect(names.filter((name) => /^x-(openwebui|modelgate|forwarded)|cookie/.test(name))).toEqual([]);
    expect(JSON.stringify(request.rawHeaders)).not.toContain(ACCESS_KEY);
  });

  test('is the body as it came', async () => {
    const body = '{ "model":"A",\n "messages":[{"role":"user","content":"caf\\u00e9 é"}] }';
    await fetch(`${door.base}${CHAT}`, {
      method: 'POST',
      body,
      headers: { 'x-api-key': ACCESS_KEY, 'x-openwebui-user-id': 'ann', 'content-type': 'application/json' },
    });
    expect(door.provider.last().bytes.toString()).toBe(body);
    expect(door.provider.last().all('x-api-key')).toEqual([PROVIDER_KEY]);
    expect(door.provider.last().has('authorization')).toBe(false);
  });
});

describe('what is refused at the door', () => {
  test('a wrong access key, in every dialect', async () => {
    for (const path of [CHAT, '/messages', '/models']) {
      const response = await door.ask('ann', path, path === '/models' ? undefined : { model: 'A' }, {
        authorization: 'Bearer wrong',
      });
      expect(response.status).toBe(401);
      expect(await response.text()).toContain('access key');
    }
    expect(door.provider.requests).toEqual([]);
  });

  test('an address of no provider', async () => {
    const response = await fetch(`${door.url}/example.com/v1/models`, {
      headers: { authorization: `Bearer ${ACCESS_KEY}` },
    });
    expect([response.status, (await errorOf(response)).code]).toEqual([404, 'provider_unknown']);
  });

  test.each(['/files', '/batches', '/realtime', '/responses/1/cancel'])('the endpoint %s', async (path) => {
    const response = await door.ask('ann', path, { model: 'A' });
    expect([response.status, (await errorOf(response)).code]).toEqual([404, 'unknown_endpoint']);
    expect(door.provider.requests).toEqual([]);
  });
});

describe('lists of models', () => {
  test('are whole for every user, and asked for once', async () => {
    const lists = await Promise.all(
      ['ann', 'bob', undefined].map(async (user) => (await door.ask(user, '/models')).json()),
    );
    expect(new Set(lists.map((list) => JSON.stringify(list))).size).toBe(1);
    expect(JSON.stringify(lists[0])).toContain('"F"');
    await (await door.ask('ann', '/models')).text();
    expect(door.provider.requests.length).toBeLessThanOrEqual(1);
  });
});

test('an access line says which door it was, and for whom', async () => {
  door.lines.splice(0);
  await (await chat('ann', 'F')).text();
  await expect
    .poll(() => door.lines.find(({ msg }) => msg === 'request'))
    .toMatchObject({ door: 'provider', user: 'ann', decision: 'deny', reason: 'not_granted', model: 'F', status: 403 });
});

test('a door that is about to stop goes on serving, and each answer ends its connection', async () => {
  await using leaving = await startTestDoor();
  leaving.door.announceDrain();
  const response = await leaving.ask('ann', CHAT, { model: 'A', messages });
  expect([response.status, response.headers.get('connection')]).toEqual([200, 'close']);
  await response.text();
});
