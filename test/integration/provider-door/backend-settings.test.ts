import { describe, expect, onTestFinished, test } from 'vitest';
import { ACCESS_KEY, type TestDoor, startTestDoor } from '../../support/gate/provider-door.ts';
import { startOllama } from '../../support/upstream/providers.ts';

const messages = [{ role: 'user', content: 'hello' }];

async function doorOfTest(settings: Record<string, string> = {}): Promise<TestDoor> {
  const door = await startTestDoor(settings);
  onTestFinished(() => door[Symbol.asyncDispose]());
  return door;
}

/** As the backend's admin page stores it, from 0.10. */
const configure = ({ database }: TestDoor, key: string, value: unknown) =>
  database.run(
    'INSERT INTO config ("key", value) VALUES (?, ?) ON CONFLICT ("key") DO UPDATE SET value = excluded.value',
    ...[key, JSON.stringify(value)],
  );

async function statusOf(door: TestDoor, user: string | undefined, model: string, path = '/chat/completions') {
  const response = await door.ask(user, path, { model, messages, input: 'x' });
  await response.text();
  return response.status;
}

describe('the prefix of a connection', () => {
  test('is that of the connection whose address leads through this door', async () => {
    const door = await doorOfTest();
    const behind = new URL(door.base).pathname;
    configure(door, 'openai.api_base_urls', ['https://api.openai.com/v1', `http://modelgate:8081${behind}`]);
    configure(door, 'openai.api_configs', { 0: { prefix_id: 'wrong' }, 1: { enable: true, prefix_id: 'or' } });
    door.database.grant('acme', 'or.M');
    door.database.grant('acme', 'wrong.N');
    expect(await statusOf(door, 'ann', 'M')).toBe(200);
    expect(await statusOf(door, 'ann', 'N')).toBe(403);
    expect(await statusOf(door, 'ann', 'A')).toBe(403);
    configure(door, 'openai.api_configs', {});
    expect(await statusOf(door, 'ann', 'M')).toBe(403);
    expect(await statusOf(door, 'ann', 'A')).toBe(200);
  });

  test('may be a setting of the door', async () => {
    const first = await doorOfTest();
    const { host } = new URL(first.provider.url);
    const door = await doorOfTest({ MODELGATE_PROVIDERS: first.provider.url, MODELGATE_PROVIDER_PREFIX: `${host}=or` });
    door.database.grant('acme', 'or.M');
    const response = await fetch(`${door.url}/${host}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ model: 'M', messages }),
      headers: {
        authorization: `Bearer ${ACCESS_KEY}`,
        'x-openwebui-user-id': 'ann',
        'content-type': 'application/json',
      },
    });
    await response.text();
    expect([response.status, first.ran()]).toEqual([200, ['M']]);
  });
});

describe('models that the backend runs for itself', () => {
  test('are those that its settings name', async () => {
    const door = await doorOfTest();
    expect(await statusOf(door, 'ann', 'task')).toBe(403);
    configure(door, 'task.model.external', 'task');
    configure(door, 'rag.embedding_model', 'embedder');
    expect(await statusOf(door, 'ann', 'task')).toBe(200);
    expect(await statusOf(door, 'ann', 'embedder', '/embeddings')).toBe(200);
    expect(await statusOf(door, 'dan', 'task')).toBe(403);
    expect(await statusOf(door, 'pen', 'embedder', '/embeddings')).toBe(403);
    expect(await statusOf(door, 'ann', 'F', '/embeddings')).toBe(403);
  });

  test('are those of a list', async () => {
    const door = await doorOfTest({ MODELGATE_PROVIDER_SERVICE_MODELS: 'one, two' });
    configure(door, 'task.model.external', 'task');
    expect([await statusOf(door, 'ann', 'two'), await statusOf(door, 'ann', 'task')]).toEqual([200, 403]);
  });

  test('run without a user only where an organization answers for it, and never as a chat', async () => {
    const settings = { MODELGATE_PROVIDER_SERVICE_MODELS: 'embedder' };
    const refusing = await doorOfTest(settings);
    expect(await statusOf(refusing, undefined, 'embedder', '/embeddings')).toBe(403);
    const door = await doorOfTest({ ...settings, MODELGATE_PROVIDER_UNATTRIBUTED: 'acme' });
    expect(await statusOf(door, undefined, 'embedder', '/embeddings')).toBe(200);
    expect(await statusOf(door, undefined, 'A', '/embeddings')).toBe(403);
    expect(await statusOf(door, undefined, 'embedder')).toBe(403);
  });
});

test('speech is sent as a form, whose model is judged', async () => {
  const door = await doorOfTest({ MODELGATE_MEDIA_MODELS: 'whisper-1' });
  const send = async (model: string) => {
    const form = new FormData();
    form.set('model', model);
    form.set('file', new Blob([Buffer.alloc(400_000, 1)]), 'speech.mp3');
    const response = await fetch(`${door.base}/audio/transcriptions`, {
      method: 'POST',
      body: form,
      headers: { authorization: `Bearer ${ACCESS_KEY}`, 'x-openwebui-user-id': 'ann' },
    });
    await response.text();
    return response.status;
  };
  expect([await send('whisper-1'), await send('F')]).toEqual([200, 403]);
  expect(door.provider.requests).toHaveLength(1);
  expect(door.provider.last().bytes.length).toBeGreaterThan(400_000);
});

test('Ollama is behind the door by its own address, and needs no key', async () => {
  const ollama = await startOllama({ models: ['llama3:latest'] });
  onTestFinished(() => ollama.close());
  const door = await doorOfTest({ MODELGATE_PROVIDERS: ollama.url });
  door.database.grant('acme', 'llama3:latest');
  const base = `${door.url}/${new URL(ollama.url).host}`;
  const headers = {
    authorization: `Bearer ${ACCESS_KEY}`,
    'x-openwebui-user-id': 'ann',
    'content-type': 'application/json',
  };
  const ask = async (path: string, body?: object) => {
    const init = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
    const response = await fetch(`${base}${path}`, { ...init, headers });
    return { status: response.status, text: await response.text() };
  };
  expect((await ask('/api/tags')).text).toContain('llama3:latest');
  expect((await ask('/api/chat', { model: 'llama3', messages })).status).toBe(200);
  expect(ollama.last().has('authorization')).toBe(false);
  expect((await ask('/v1/chat/completions', { model: 'llama3:latest', messages })).status).toBe(200);
  const denied = await ask('/api/chat', { model: 'mistral', messages });
  expect([denied.status, typeof (JSON.parse(denied.text) as { error: unknown }).error]).toEqual([403, 'string']);
  expect((await ask('/api/pull', { model: 'llama3' })).status).toBe(404);
});

test('an endpoint that is not judged is for admins, where the operator has named it', async () => {
  const door = await doorOfTest({ MODELGATE_PROVIDER_EXTRA_PATHS: '/batches' });
  const statuses = [
    await statusOf(door, 'adm', 'A', '/batches'),
    await statusOf(door, 'adm', 'A', '/v1/batches'),
    await statusOf(door, 'ann', 'A', '/batches'),
    await statusOf(door, undefined, 'A', '/batches'),
    await statusOf(door, 'adm', 'A', '/files'),
    await statusOf(door, 'adm', 'A', '/batches/1'),
  ];
  expect(statuses).toEqual([200, 200, 404, 404, 404, 404]);
});

test('in report mode nothing is refused but what cannot be sent on', async () => {
  const door = await doorOfTest({ MODELGATE_MODE: 'report' });
  expect([await statusOf(door, 'bob', 'A'), await statusOf(door, undefined, 'A')]).toEqual([200, 200]);
  expect(await statusOf(door, 'ann', 'A', '/batches')).toBe(200);
  const response = await door.ask('ann', '/chat/completions', { model: 'A' }, { authorization: 'Bearer wrong' });
  expect(response.status).toBe(401);
  await expect
    .poll(() => door.lines.find(({ msg, user }) => msg === 'request' && user === 'bob'))
    .toMatchObject({ decision: 'deny', enforced: false, status: 200 });
});

test('figures tell provider, endpoint, status and decision, and no user', async () => {
  const door = await doorOfTest();
  await statusOf(door, 'ann', 'A');
  await statusOf(door, 'ann', 'F');
  const { host } = new URL(door.provider.url);
  const line = (status: string, decision: string) =>
    `modelgate_provider_requests_total{provider="${host}",endpoint="chat/completions",status="${status}",decision="${decision}"} 1`;
  await expect.poll(() => door.figures()).toEqual(expect.arrayContaining([line('2xx', 'permit'), line('4xx', 'deny')]));
  expect(await door.figures()).toContain('modelgate_provider_denials_total{reason="not_granted",enforced="true"} 1');
  expect((await door.figures()).join()).not.toContain('ann');
});

describe('where something is not there', () => {
  test('a provider that cannot be reached is said to be one', async () => {
    const door = await doorOfTest();
    await door.provider.close();
    const response = await door.ask('ann', '/chat/completions', { model: 'A', messages });
    expect(response.status).toBe(502);
    const text = await response.text();
    expect(text).toContain('The provider cannot be reached at the moment.');
    expect(text).not.toContain('127.0.0.1');
  });

  test('without policy nothing runs, and lists go on', async () => {
    const door = await doorOfTest({ MODELGATE_POLICY_MAX_STALE: '0ms' });
    door.database.run('ALTER TABLE organization_models RENAME TO gone');
    const response = await door.ask('ann', '/chat/completions', { model: 'A', messages });
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '2']);
    expect((await door.ask('ann', '/models')).status).toBe(200);
  });
});
