/**
 * Attacks on the provider door. The provider writes down which models it is asked for, and is the only judge: each way is
 * tried for a model that is forbidden, and the same way must get through for one that is granted.
 */
import { SignJWT, UnsecuredJWT, generateKeyPair } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ACCESS_KEY, type TestDoor, startTestDoor } from '../support/gate/provider-door.ts';
import { openConnection } from '../support/gate/raw-connection.ts';
import { startRecordingUpstream } from '../support/upstream/upstreams.ts';

const SECRET = 'the signing secret of both sides';
const messages = [{ role: 'user', content: 'hello' }];
const NOW = Math.floor(Date.now() / 1_000);
const CLAIMS = { sub: 'ann', iss: 'open-webui', iat: NOW, exp: NOW + 300, role: 'admin' };

const sign = (claims: object = CLAIMS, { alg = 'HS256', secret = SECRET } = {}) =>
  new SignJWT({ ...claims }).setProtectedHeader({ alg }).sign(new TextEncoder().encode(secret));

describe('forged identities', () => {
  let plain: TestDoor;
  let signed: TestDoor;
  beforeAll(async () => {
    plain = await startTestDoor();
    signed = await startTestDoor({ FORWARD_USER_INFO_HEADER_JWT_SECRET: SECRET });
  });
  afterAll(() => Promise.all([plain[Symbol.asyncDispose](), signed[Symbol.asyncDispose]()]));

  async function send(door: TestDoor, lines: readonly (readonly [string, string])[], path = '/chat/completions') {
    door.provider.reset();
    const headers = new Headers();
    for (const [name, value] of lines) headers.append(name, value);
    headers.set('content-type', 'application/json');
    const body = JSON.stringify({ model: 'A', messages });
    const response = await fetch(`${door.base}${path}`, { method: 'POST', body, headers });
    await response.text();
    return { status: response.status, reached: door.provider.requests.length };
  }

  const KEY = ['Authorization', `Bearer ${ACCESS_KEY}`] as const;
  const ANN = ['X-OpenWebUI-User-Id', 'ann'] as const;

  test('the true ones get through', async () => {
    expect(await send(plain, [KEY, ANN])).toEqual({ status: 200, reached: 1 });
    const token = ['X-OpenWebUI-User-Jwt', await sign()] as const;
    expect(await send(signed, [KEY, token])).toEqual({ status: 200, reached: 1 });
    expect(await send(plain, [['api-key', ACCESS_KEY], ANN])).toEqual({ status: 200, reached: 1 });
    expect(await send(plain, [['x-api-key', ACCESS_KEY], ANN])).toEqual({ status: 200, reached: 1 });
  });

  test('the key that mAI has for an organization opens nothing, not even with a signed user', async () => {
    for (const door of [plain, signed]) door.database.addClientOrganization('acme', 1);
    const key = ['Authorization', 'Bearer provider-key-of-acme'] as const;
    const token = ['X-OpenWebUI-User-Jwt', await sign()] as const;
    expect(await send(plain, [key, ANN])).toEqual({ status: 401, reached: 0 });
    expect(await send(signed, [key, token])).toEqual({ status: 401, reached: 0 });
    expect(await send(signed, [KEY, token])).toEqual({ status: 200, reached: 1 });
  });

  test.each<[what: string, lines: [string, string][]]>([
    ['no key', []],
    ['an empty key', [['Authorization', 'Bearer ']]],
    ['a wrong key', [['Authorization', 'Bearer wrong']]],
    ['the beginning of the key', [['Authorization', `Bearer ${ACCESS_KEY.slice(0, -1)}`]]],
    ['the key with more behind it', [['Authorization', `Bearer ${ACCESS_KEY}x`]]],
    ['the key in capitals', [['Authorization', `Bearer ${ACCESS_KEY.toUpperCase()}`]]],
    ['the key without a scheme', [['Authorization', ACCESS_KEY]]],
    ['the key by Basic', [['Authorization', `Basic ${Buffer.from(`:${ACCESS_KEY}`).toString('base64')}`]]],
    ['the key in a cookie', [['Cookie', `token=${ACCESS_KEY}`]]],
    ['the key in another header', [['X-Access-Key', ACCESS_KEY]]],
    ['the key as a proxy credential', [['Proxy-Authorization', `Bearer ${ACCESS_KEY}`]]],
    ['a session of the backend', [['Authorization', 'Bearer eyJhbGciOiJIUzI1NiJ9.eyJpZCI6ImFubiJ9.x']]],
    ['an API key of the backend', [['Authorization', 'Bearer sk-ann']]],
    [
      'a right and a wrong key',
      [
        ['Authorization', `Bearer ${ACCESS_KEY}`],
        ['x-api-key', 'wrong'],
      ],
    ],
    [
      'a wrong and a right key',
      [
        ['api-key', 'wrong'],
        ['x-api-key', ACCESS_KEY],
      ],
    ],
    [
      'the key twice',
      [
        ['Authorization', `Bearer ${ACCESS_KEY}`],
        ['Authorization', `Bearer ${ACCESS_KEY}`],
      ],
    ],
    ['the key with a scheme where none belongs', [['x-api-key', `Bearer ${ACCESS_KEY}`]]],
  ])('%s reaches nothing', async (_, lines) => {
    for (const door of [plain, signed]) {
      expect(await send(door, [...lines, ANN])).toEqual({ status: 401, reached: 0 });
    }
  });

  test.each(['?key=', '?api_key=', '?access_token=', '?api-key='])(
    'the key in the query (%s) reaches nothing',
    async (query) => {
      expect(await send(plain, [ANN], `/chat/completions${query}${ACCESS_KEY}`)).toEqual({ status: 401, reached: 0 });
    },
  );

  test.each<[what: string, status: number, lines: [string, string][]]>([
    ['no user', 403, []],
    ['an empty user', 403, [['X-OpenWebUI-User-Id', '']]],
    ['an unknown user', 403, [['X-OpenWebUI-User-Id', 'eve']]],
    ['a user in other letters', 403, [['X-OpenWebUI-User-Id', 'ANN']]],
    ['a user who is pending', 403, [['X-OpenWebUI-User-Id', 'pen']]],
    ['a user without an organization', 403, [['X-OpenWebUI-User-Id', 'dan']]],
    ['an e-mail address alone', 403, [['X-OpenWebUI-User-Email', 'ann@example.com']]],
    ['an e-mail address as the id', 403, [['X-OpenWebUI-User-Id', 'ann@example.com']]],
    ['a role alone', 403, [['X-OpenWebUI-User-Role', 'admin']]],
    ['a user in a cookie', 403, [['Cookie', 'X-OpenWebUI-User-Id=ann']]],
    ['a user with an underscore', 403, [['X_OpenWebUI_User_Id', 'ann']]],
    ['the header of another name', 403, [['X-User-Id', 'ann']]],
    ['SQL for a user', 403, [['X-OpenWebUI-User-Id', "ann' OR '1'='1"]]],
    [
      'two users',
      400,
      [
        ['X-OpenWebUI-User-Id', 'dan'],
        ['X-OpenWebUI-User-Id', 'ann'],
      ],
    ],
    [
      'one user twice',
      400,
      [
        ['X-OpenWebUI-User-Id', 'ann'],
        ['X-OpenWebUI-User-Id', 'ann'],
      ],
    ],
    [
      'a user and a token',
      400,
      [
        ['X-OpenWebUI-User-Id', 'ann'],
        ['X-OpenWebUI-User-Jwt', 'x.y.z'],
      ],
    ],
    ['a token that nothing can verify', 403, [['X-OpenWebUI-User-Jwt', 'x.y.z']]],
  ])('%s reaches nothing', async (_, status, lines) => {
    expect(await sendRaw(plain, [KEY, ...lines])).toEqual({ status, reached: 0 });
  });

  test.each<[what: string, status: number, lines: [string, string][]]>([
    ['no token', 403, []],
    ['the plain header in its place', 403, [['X-OpenWebUI-User-Id', 'ann']]],
    [
      'all plain headers',
      403,
      [
        ['X-OpenWebUI-User-Id', 'ann'],
        ['X-OpenWebUI-User-Role', 'admin'],
        ['X-OpenWebUI-User-Email', 'a@b'],
      ],
    ],
    ['an empty token', 403, [['X-OpenWebUI-User-Jwt', '']]],
    ['garbage', 403, [['X-OpenWebUI-User-Jwt', 'garbage']]],
  ])('with a secret, %s reaches nothing', async (_, status, lines) => {
    expect(await sendRaw(signed, [KEY, ...lines])).toEqual({ status, reached: 0 });
  });

  test('with a secret, no token of another form reaches anything', async () => {
    const { privateKey } = await generateKeyPair('RS256');
    const rsa = new SignJWT({ ...CLAIMS }).setProtectedHeader({ alg: 'RS256' }).sign(privateKey);
    const { exp: _exp, ...endless } = CLAIMS;
    const { iat: _iat, ...undated } = CLAIMS;
    const { sub: _sub, ...nameless } = CLAIMS;
    const { iss: _iss, ...unissued } = CLAIMS;
    const unsigned = new UnsecuredJWT({ ...CLAIMS }).encode();
    const signedOtherwise = await Promise.all([
      rsa,
      sign(CLAIMS, { alg: 'HS384' }),
      sign(CLAIMS, { alg: 'HS512' }),
      sign(CLAIMS, { secret: 'another secret' }),
      sign({ ...CLAIMS, exp: NOW - 31 }),
      sign({ ...CLAIMS, iat: NOW - 900, exp: NOW - 600 }),
      sign({ ...CLAIMS, nbf: NOW + 600 }),
      sign({ ...CLAIMS, iss: 'another' }),
      sign(endless),
      sign(undated),
      sign(nameless),
      sign(unissued),
      sign({ ...CLAIMS, sub: '' }),
      sign({ ...CLAIMS, sub: 'eve' }),
      sign({ ...CLAIMS, sub: 'dan' }),
      sign({ ...CLAIMS, sub: ['ann'] }),
      sign({ ...CLAIMS, sub: { id: 'ann' } }),
      sign({ id: 'ann', iat: NOW, exp: NOW + 300 }),
      sign().then((token) => `Bearer ${token}`),
      sign().then((token) => token.slice(0, -3)),
      sign().then((token) => `${token} ${token}`),
    ]);
    for (const token of [unsigned, `${unsigned}x`, ...signedOtherwise]) {
      expect(await sendRaw(signed, [KEY, ['X-OpenWebUI-User-Jwt', token]])).toEqual({ status: 403, reached: 0 });
    }
    const token = await sign();
    const twice: [string, string][] = [
      ['X-OpenWebUI-User-Jwt', token],
      ['X-OpenWebUI-User-Jwt', token],
    ];
    expect(await sendRaw(signed, [KEY, ...twice])).toEqual({ status: 400, reached: 0 });
    expect(await sendRaw(signed, [KEY, ['X-OpenWebUI-User-Jwt', token], ANN])).toEqual({ status: 400, reached: 0 });
  });

  /** Lines as they stand: a `Headers` object joins two of one name. */
  async function sendRaw(door: TestDoor, lines: readonly (readonly [string, string])[]) {
    door.provider.reset();
    const { host, pathname } = new URL(`${door.base}/chat/completions`);
    const body = JSON.stringify({ model: 'A', messages });
    const head = [['Host', host], ['Content-Length', String(body.length)], ['Connection', 'close'], ...lines];
    const text = `POST ${pathname} HTTP/1.1\r\n${head.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`;
    const connection = await openConnection(Number(new URL(door.url).port));
    connection.send(text);
    const answer = await connection.closes();
    return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]), reached: door.provider.requests.length };
  }
});

describe('models that are forbidden', () => {
  let door: TestDoor;
  beforeAll(async () => {
    door = await startTestDoor();
    // Ollama takes a name without a tag for one with `latest`
    door.database.grant('acme', 'A:latest');
    door.database.addModel({ id: 'over-f', base: 'F' });
    door.database.addModel({ id: 'A-preset', base: 'A', params: { model: 'F' } });
    door.database.grant('acme', 'over-f');
    door.database.withdraw('acme', 'over-f');
  });
  afterAll(() => door[Symbol.asyncDispose]());

  /** @returns what the provider was asked for */
  async function run(path: string, body: unknown, headers?: Record<string, string>) {
    door.provider.reset();
    const response = await door.ask('ann', path, body, headers);
    await response.text();
    return { status: response.status, asked: door.ran() };
  }

  test.each<[what: string, path: string, body: (model: string) => object]>([
    ['chat', '/chat/completions', (model) => ({ model, messages })],
    ['chat with a version', '/v1/chat/completions', (model) => ({ model, messages })],
    ['completions', '/completions', (model) => ({ model, prompt: 'x' })],
    ['responses', '/responses', (model) => ({ model, input: 'x' })],
    ['messages', '/messages', (model) => ({ model, messages, max_tokens: 5 })],
    ['count_tokens', '/messages/count_tokens', (model) => ({ model, messages })],
    ['embeddings', '/embeddings', (model) => ({ model, input: 'x' })],
    ['rerank', '/rerank', (model) => ({ model, query: 'x', documents: ['y'] })],
    ['Ollama chat', '/api/chat', (model) => ({ model, messages })],
    ['Ollama generate', '/api/generate', (model) => ({ model, prompt: 'x' })],
    ['Ollama embed', '/api/embed', (model) => ({ model, input: 'x' })],
    ['Ollama name', '/api/chat', (model) => ({ name: model, messages })],
    ['models', '/chat/completions', (model) => ({ model: 'A', models: [model], messages })],
    ['fallbacks', '/chat/completions', (model) => ({ model: 'A', fallbacks: [{ model }], messages })],
    ['extra_body', '/chat/completions', (model) => ({ model: 'A', extra_body: { model }, messages })],
    ['a guard', '/chat/completions', (model) => ({ model: 'A', safety_model: model, messages })],
    ['capitals', '/chat/completions', (model) => ({ model: 'A', MODEL: model, messages })],
    ['Azure', '/openai/deployments/A/chat/completions?api-version=1', (model) => ({ model, messages })],
    ['a query', '/chat/completions?model=A', (model) => ({ model, messages })],
  ])('%s', async (_, path, body) => {
    const forbidden = await run(path, body('F'));
    expect(forbidden).toEqual({ status: 403, asked: [] });
    const granted = await run(path, body('A'));
    expect(granted.status).toBe(200);
    expect(granted.asked).toContain('A');
  });

  test.each([
    ['/openai/deployments/F/chat/completions?api-version=1', { model: 'A', messages }],
    ['/chat/completions?model=F', { model: 'A', messages }],
    ['/chat/completions?MODEL=F', { model: 'A', messages }],
  ])('%s names one beside the body', async (path, body) => {
    expect(await run(path, body)).toEqual({ status: 403, asked: [] });
  });

  test.each([
    ['a repeated key', '{"model":"A","model":"F","messages":[]}'],
    ['a repeated key, escaped', '{"model":"A","mod\\u0065l":"F","messages":[]}'],
    ['NaN', '{"model":"A","temperature":NaN,"messages":[]}'],
    ['a byte order mark', '\ufeff{"model":"A","messages":[]}'],
    ['two documents', '{"model":"A"}{"model":"F"}'],
    ['UTF-16', Buffer.from('{"model":"F"}', 'utf16le')],
  ])('a body with %s is refused', async (_, body) => {
    door.provider.reset();
    const response = await fetch(`${door.base}/chat/completions`, {
      method: 'POST',
      body,
      headers: {
        authorization: `Bearer ${ACCESS_KEY}`,
        'x-openwebui-user-id': 'ann',
        'content-type': 'application/json',
      },
    });
    await response.text();
    expect([response.status, door.provider.requests.length]).toEqual([400, 0]);
  });

  test('a row of the user leads to no base, whatever grant its id has', async () => {
    door.database.addModel({ id: 'acme/of-ann', base: 'F', owner: 'ann' });
    door.database.addModel({ id: 'acme/of-nobody', base: 'F', owner: '6f1c2a34-0000-4000-8000-000000000000' });
    expect(await run('/chat/completions', { model: 'F', messages })).toEqual({ status: 403, asked: [] });
    const asked = { 'x-modelgate-model': 'acme/of-ann' };
    expect(await run('/chat/completions', { model: 'F', messages }, asked)).toEqual({ status: 403, asked: [] });
    door.database.addModel({ id: 'acme/of-adm', base: 'D', owner: 'adm' });
    expect((await run('/chat/completions', { model: 'D', messages })).status).toBe(200);
  });

  test('a preset whose grant was withdrawn leads nowhere', async () => {
    expect(await run('/chat/completions', { model: 'F', messages })).toEqual({ status: 403, asked: [] });
  });

  test('a preset that the backend names must be granted, and stand on this model', async () => {
    for (const asked of ['P', 'over-f', 'A', 'nothing']) {
      const ran = await run('/chat/completions', { model: 'F', messages }, { 'x-modelgate-model': asked });
      expect(ran).toEqual({ status: 403, asked: [] });
    }
    const ran = await run('/chat/completions', { model: 'B', messages }, { 'x-modelgate-model': 'P' });
    expect(ran).toEqual({ status: 200, asked: ['B'] });
  });

  test.each(['GET', 'PUT', 'PATCH', 'DELETE', 'HEAD'])('%s runs nothing', async (method) => {
    door.provider.reset();
    const response = await fetch(`${door.base}/chat/completions`, {
      method,
      ...(method === 'GET' || method === 'HEAD' ? {} : { body: JSON.stringify({ model: 'A', messages }) }),
      headers: { authorization: `Bearer ${ACCESS_KEY}`, 'x-openwebui-user-id': 'ann' },
    });
    await response.text();
    expect([response.status, door.provider.requests.length]).toEqual([404, 0]);
  });
});

describe('what a provider may read otherwise', () => {
  let door: TestDoor;
  beforeAll(async () => {
    door = await startTestDoor({ MODELGATE_MEDIA_MODELS: 'whisper-1' });
  });
  afterAll(() => door[Symbol.asyncDispose]());

  async function send(body: string | Buffer, headers: Record<string, string>, path = '/chat/completions') {
    door.provider.reset();
    const base = { authorization: `Bearer ${ACCESS_KEY}`, 'x-openwebui-user-id': 'ann' };
    const response = await fetch(`${door.base}${path}`, { method: 'POST', body, headers: { ...base, ...headers } });
    await response.text();
    return { status: response.status, reached: door.provider.requests.length };
  }

  const BODY = JSON.stringify({ model: 'A', messages });
  const REFUSED = { status: 400, reached: 0 };

  test.each([
    'application/json',
    'application/json; charset=utf-8',
    'application/json;charset="UTF-8"',
    'application/x+json',
  ])('%s is JSON', async (type) =>
    expect(await send(BODY, { 'content-type': type })).toEqual({ status: 200, reached: 1 }),
  );

  test.each([
    'application/x-www-form-urlencoded',
    'text/plain',
    'application/json; charset=utf-7',
    'application/json; charset=utf-16',
    'multipart/form-data; boundary=x',
  ])('%s is not', async (type) => expect(await send(BODY, { 'content-type': type })).toEqual(REFUSED));

  test.each(['gzip', 'deflate', 'br', 'identity, gzip'])('a body coded as %s is not judged', async (coding) => {
    expect(await send(BODY, { 'content-type': 'application/json', 'content-encoding': coding })).toEqual(REFUSED);
  });

  test('a form has one boundary', async () => {
    const form = (model: string) => `--a\r\nContent-Disposition: form-data; name="model"\r\n\r\n${model}\r\n--a--\r\n`;
    const to = (type: string, body: string) => send(body, { 'content-type': type }, '/audio/transcriptions');
    expect(await to('multipart/form-data; boundary=a', form('whisper-1'))).toEqual({ status: 200, reached: 1 });
    expect(await to('multipart/form-data; boundary=a; boundary=b', form('whisper-1'))).toEqual(REFUSED);
    expect(await to('application/x-www-form-urlencoded', 'model=whisper-1')).toEqual(REFUSED);
    // of which Go makes another boundary than browsers do
    expect(await to('multipart/form-data; boundary="\\a"', form('whisper-1'))).toEqual(REFUSED);
  });

  test.each(['mod\\el', ' model', 'model[]', 'MODEL'])(
    'a field of a form that may be read as a model is judged: %s',
    async (name) => {
      const part = (of: string, value: string) =>
        `--a\r\nContent-Disposition: form-data; name="${of}"\r\n\r\n${value}\r\n`;
      const body = `${part('model', 'whisper-1')}${part(name, 'F')}--a--\r\n`;
      const sent = await send(body, { 'content-type': 'multipart/form-data; boundary=a' }, '/audio/transcriptions');
      expect(sent).toEqual({ status: 403, reached: 0 });
    },
  );

  test.each([
    { prompt_id: 'of-another' },
    { PROMPT_ID: 'of-another' },
    { prompt: { id: 'pmpt_1' } },
    { prompt: { prompt_id: 'x', override: true } },
    { agent: { name: 'x', type: 'agent_reference' } },
    { agent_reference: { name: 'x' } },
    { preset: 'x' },
    { Preset: 'x' },
  ])('%j stands for a model that cannot be judged', async (more) => {
    const body = JSON.stringify({ model: 'A', messages, ...more });
    expect(await send(body, { 'content-type': 'application/json' })).toEqual(REFUSED);
  });

  test('a text to complete is none of these', async () => {
    const body = JSON.stringify({ model: 'A', prompt: 'Once upon a time' });
    expect(await send(body, { 'content-type': 'application/json' }, '/completions')).toEqual({
      status: 200,
      reached: 1,
    });
  });

  test('a preset whose name cannot be read is no preset', async () => {
    const body = JSON.stringify({ model: 'B', messages });
    const headers = { 'content-type': 'application/json', 'x-modelgate-model': 'x'.repeat(1_025) };
    expect(await send(body, headers)).toEqual(REFUSED);
  });
});

describe('what leaves the door', () => {
  test('no redirect takes the keys of the backend elsewhere', async () => {
    await using upstream = await startRecordingUpstream((_incoming, outgoing, { path }) => {
      outgoing.writeHead(path.endsWith('models') ? 302 : 307, { location: 'http://127.0.0.1:9/elsewhere' }).end();
    });
    await using door = await startTestDoor({ MODELGATE_PROVIDERS: upstream.origin });
    const base = `${door.url}/127.0.0.1:${upstream.port}`;
    const headers = { 'api-key': ACCESS_KEY, 'x-openwebui-user-id': 'ann', 'content-type': 'application/json' };
    const init = { headers, redirect: 'manual' } as const;
    const chat = await fetch(`${base}/chat/completions`, { ...init, method: 'POST', body: '{"model":"A"}' });
    const list = await fetch(`${base}/models`, init);
    for (const answer of [chat, list]) {
      expect([answer.status, answer.headers.get('location')]).toEqual([502, null]);
      await answer.text();
    }
    expect(upstream.requests).toHaveLength(2);
  });

  test('headers that the backend has renamed stay here', async () => {
    await using door = await startTestDoor({
      FORWARD_USER_INFO_HEADER_USER_NAME: 'X-Who',
      FORWARD_USER_INFO_HEADER_USER_EMAIL: 'X-Mail',
      FORWARD_USER_INFO_HEADER_USER_ROLE: 'X-Role',
      FORWARD_SESSION_INFO_HEADER_MESSAGE_ID: 'X-Message',
      FORWARD_SESSION_INFO_HEADER_CHAT_ID: 'X-Chat',
    });
    const said = { 'x-who': 'Ann', 'x-mail': 'a@b.c', 'x-role': 'user', 'x-message': 'm', 'x-chat': 'c' };
    const answer = await door.ask('ann', '/chat/completions', { model: 'A', messages }, { ...said, via: '1.1 inside' });
    await answer.text();
    const sent = door.provider.last();
    expect(Object.keys(said).filter((name) => sent.has(name))).toEqual([]);
    expect(sent.all('via').join()).not.toContain('inside');
  });

  test('a list is whole, and each organization has its own', async () => {
    await using upstream = await startRecordingUpstream((incoming, outgoing) => {
      const { 'if-none-match': known, 'openai-organization': organization = 'none' } = incoming.headers;
      outgoing.writeHead(known === undefined ? 200 : 304, { 'set-cookie': 'a=b', 'content-type': 'application/json' });
      outgoing.end(JSON.stringify({ data: [organization] }));
    });
    await using door = await startTestDoor({ MODELGATE_PROVIDERS: upstream.origin });
    const ask = async (headers: Record<string, string>) => {
      const answer = await fetch(`${door.url}/127.0.0.1:${upstream.port}/models`, {
        headers: { authorization: `Bearer ${ACCESS_KEY}`, ...headers },
      });
      return [answer.status, await answer.text(), answer.headers.get('set-cookie')];
    };
    expect(await ask({ 'if-none-match': '"x"' })).toEqual([200, '{"data":["none"]}', 'a=b']);
    expect(await ask({ 'openai-organization': 'org-1' })).toEqual([200, '{"data":["org-1"]}', 'a=b']);
    expect(await ask({ 'openai-organization': 'org-2' })).toEqual([200, '{"data":["org-2"]}', 'a=b']);
    expect(await ask({})).toEqual([200, '{"data":["none"]}', null]);
    expect(upstream.requests).toHaveLength(3);
  });
});

describe('what the settings of the backend say', () => {
  const configure = ({ database }: TestDoor, key: string, value: unknown) =>
    database.run(
      'INSERT INTO config ("key", value) VALUES (?, ?) ON CONFLICT ("key") DO UPDATE SET value = excluded.value',
      ...[key, JSON.stringify(value)],
    );
  const statusOf = async (door: TestDoor, model: string, path = '/chat/completions') => {
    const response = await door.ask('ann', path, { model, messages });
    await response.text();
    return response.status;
  };

  test('counts however the address of a connection is spelled', async () => {
    await using door = await startTestDoor();
    const host = new URL(door.provider.url).host;
    await using whole = await startTestDoor({ MODELGATE_PROVIDERS: `http://${host}` });
    configure(whole, 'openai.api_configs', { 0: { prefix_id: 'ol' } });
    for (const url of [
      `http://modelgate:8081/${host}/v1`,
      `http://modelgate:8081/${host}`,
      `http://modelgate:8081/${host}/`,
    ]) {
      configure(whole, 'openai.api_base_urls', [url]);
      const answer = await fetch(`${whole.url}/${host}/v1/chat/completions`, {
        method: 'POST',
        body: JSON.stringify({ model: 'A', messages }),
        headers: { 'x-api-key': ACCESS_KEY, 'x-openwebui-user-id': 'ann', 'content-type': 'application/json' },
      });
      await answer.text();
      expect(answer.status).toBe(403);
    }
  });

  test('a task model is listed with its prefix', async () => {
    await using door = await startTestDoor();
    configure(door, 'openai.api_base_urls', [`http://modelgate:8081${new URL(door.base).pathname}`]);
    configure(door, 'openai.api_configs', { 0: { prefix_id: 'or' } });
    configure(door, 'task.model.external', 'or.T');
    configure(door, 'task.model.default', 'of-another-connection');
    configure(door, 'rag.embedding_model', 'embedder');
    expect(await statusOf(door, 'T')).toBe(200);
    expect(await statusOf(door, 'of-another-connection')).toBe(403);
    expect(await statusOf(door, 'embedder', '/embeddings')).toBe(200);
    expect(await statusOf(door, 'F')).toBe(403);
  });

  test('a preset that is switched off opens nothing', async () => {
    await using door = await startTestDoor();
    expect(await statusOf(door, 'B')).toBe(200);
    door.database.run('UPDATE model SET is_active = ? WHERE id = ?', 0, 'P');
    expect(await statusOf(door, 'B')).toBe(403);
  });
});
