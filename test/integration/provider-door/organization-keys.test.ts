import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createOrganizationKeys } from '../../../src/usage/keys.ts';
import { openUsageFile } from '../../../src/usage/schema.ts';
import { ACCESS_KEY, PROVIDER_KEY, type TestDoor, startTestDoor } from '../../support/gate/provider-door.ts';
import { until } from '../../support/process/with-timeout.ts';
import { startMeteredProvider } from '../../support/upstream/metered-provider.ts';
import { type RecordingUpstream, sendJson, startRecordingUpstream } from '../../support/upstream/upstreams.ts';

const SECRET = 'seals-the-keys-of-organizations-32';
const OWN = { acme: 'gsk_0123456789abcdef_of_acme', globex: 'gsk_0123456789abcdef_of_globex' } as const;
const ALL = [...Object.values(OWN), PROVIDER_KEY, SECRET];
const messages = [{ role: 'user', content: 'hello' }];

async function doorOfTest(settings: Record<string, string> = {}): Promise<TestDoor> {
  const door = await startTestDoor({ MODELGATE_KEYS_SECRET: SECRET, ...settings });
  onTestFinished(() => door[Symbol.asyncDispose]());
  return door;
}

/** A door to a provider of the test's own, for which there is a key that all share. */
async function doorTo(provider: RecordingUpstream): Promise<TestDoor> {
  const directory = mkdtempSync(join(tmpdir(), 'modelgate-keys-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  onTestFinished(() => provider.close());
  const file = join(directory, 'keys.yaml');
  writeFileSync(file, `${new URL(provider.origin).host}: ${PROVIDER_KEY}\n`);
  return doorOfTest({ MODELGATE_PROVIDERS: `${provider.origin}/v1`, MODELGATE_PROVIDER_KEYS_FILE: file });
}

/** As `modelgate key set` and `key remove` do it, in a connection of their own. */
function change({ database }: TestDoor, organization: string, key: string | undefined, provider: string): void {
  const connection = openUsageFile(join(database.directory, 'modelgate', 'usage.db'), 5_000);
  try {
    const keys = createOrganizationKeys(connection, SECRET);
    if (key === undefined) keys.remove(organization, provider);
    else keys.set(organization, provider, key, Date.now());
  } finally {
    connection.close();
  }
}

const hostOf = (door: TestDoor): string => new URL(door.provider.url).host;

async function chat(door: TestDoor, user: 'ann' | 'bob', headers: Record<string, string> = {}) {
  const response = await door.ask(user, '/chat/completions', { model: user === 'ann' ? 'A' : 'F', messages }, headers);
  return { status: response.status, text: await response.text() };
}

/** With which keys the provider was asked since the last call. */
function sent({ provider }: TestDoor): string[] {
  const keys = provider.requests.map((request) =>
    ['authorization', 'api-key', 'x-api-key'].flatMap((name) => request.all(name)).join(' '),
  );
  provider.reset();
  return keys;
}

function expectNoSecretIn(text: string): void {
  for (const secret of ALL) expect(text).not.toContain(secret);
}

describe('the provider is asked with', () => {
  test("the paying organization's key where it has one, and with the shared one where it has none", async () => {
    const door = await doorOfTest();
    change(door, 'acme', OWN.acme, hostOf(door));
    await chat(door, 'ann');
    await chat(door, 'bob');
    expect(sent(door)).toEqual([`Bearer ${OWN.acme}`, `Bearer ${PROVIDER_KEY}`]);
  });

  test.each(['api-key', 'x-api-key'])('it in %s, where that connection has its key', async (place) => {
    const door = await doorOfTest();
    change(door, 'acme', OWN.acme, hostOf(door));
    await fetch(`${door.base}/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ model: 'A', messages }),
      headers: { [place]: ACCESS_KEY, 'x-openwebui-user-id': 'ann', 'content-type': 'application/json' },
    });
    expect(door.provider.last().all(place)).toEqual([OWN.acme]);
    expect(door.provider.last().has('authorization')).toBe(false);
  });

  test('the key of this moment: set, changed and taken away by another process between two calls', async () => {
    const door = await doorOfTest();
    for (const key of [undefined, OWN.acme, `${OWN.acme}_new`, undefined]) {
      change(door, 'acme', key, hostOf(door));
      await chat(door, 'ann');
      expect(sent(door)).toEqual([`Bearer ${key ?? PROVIDER_KEY}`]);
    }
  });

  test('the shared one, where the own key is with another provider', async () => {
    const door = await doorOfTest();
    change(door, 'acme', OWN.acme, 'openrouter.ai');
    await chat(door, 'ann');
    expect(sent(door)).toEqual([`Bearer ${PROVIDER_KEY}`]);
  });

  test('the shared one for lists, which are the same for all', async () => {
    const door = await doorOfTest();
    change(door, 'acme', OWN.acme, hostOf(door));
    await (await door.ask('ann', '/models')).text();
    await (await door.ask(undefined, '/models')).text();
    expect(new Set(sent(door))).toEqual(new Set([`Bearer ${PROVIDER_KEY}`]));
  });

  test('never the key of another organization, however calls run into each other while keys change', async () => {
    const door = await doorOfTest();
    change(door, 'acme', OWN.acme, hostOf(door));
    change(door, 'globex', OWN.globex, hostOf(door));
    const calls = Array.from({ length: 100 }, (_, at) => chat(door, at % 2 === 0 ? 'ann' : 'bob'));
    for (const round of Array.from({ length: 10 }).keys()) change(door, 'acme', `${OWN.acme}_${round}`, hostOf(door));
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(calls.map(() => 200));
    const asked = door.provider.requests.map((request) => [request.models[0], request.all('authorization')[0]]);
    expect(asked).toHaveLength(100);
    for (const [model, key] of asked) {
      expect(key).toMatch(model === 'A' ? /^Bearer gsk_\w+_of_acme(?:_\d)?$/ : /^Bearer gsk_\w+_of_globex$/);
    }
  });
});

describe('a key that cannot be read', () => {
  test.each([
    ['with another secret', { MODELGATE_KEYS_SECRET: `${SECRET}-another` }, /^MODELGATE_KEYS_SECRET is another one/],
    ['without the secret', { MODELGATE_KEYS_SECRET: '' }, /^MODELGATE_KEYS_SECRET is not set/],
  ])('%s refuses the call, and is never replaced by that of others', async (_, settings, why) => {
    const door = await doorOfTest(settings);
    change(door, 'acme', OWN.acme, hostOf(door));
    const refused = await chat(door, 'ann');
    expect(refused.status).toBe(503);
    expect(refused.text).toContain('set it again with `modelgate key set`');
    expect(sent(door)).toEqual([]);
    expect(door.calls()).toMatchObject([{ organization_id: 'acme', state: 'failed', measured: 'none' }]);
    const line = door.lines.find(({ status }) => status === 503);
    expect(line).toMatchObject({ organization: 'acme', code: 'organization_key_unusable' });
    expect(line?.['cause']).toMatch(why);
    expect((await chat(door, 'bob')).status).toBe(200);
    expect(sent(door)).toEqual([`Bearer ${PROVIDER_KEY}`]);
    expectNoSecretIn(refused.text + JSON.stringify(door.lines) + (await door.figures('')).join('\n'));
    change(door, 'acme', undefined, hostOf(door));
    expect((await chat(door, 'ann')).status).toBe(200);
  });
});

test('what the provider says of an own key is passed on, and the log names its organization', async () => {
  const provider = await startRecordingUpstream((_incoming, outgoing) =>
    sendJson(outgoing, { error: { message: 'No auth credentials found', code: 401 } }, 401),
  );
  const door = await doorTo(provider);
  const host = new URL(provider.origin).host;
  change(door, 'acme', OWN.acme, host);
  const response = await fetch(`${door.url}/${host}/v1/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({ model: 'A', messages }),
    headers: {
      authorization: `Bearer ${ACCESS_KEY}`,
      'x-openwebui-user-id': 'ann',
      'content-type': 'application/json',
    },
  });
  expect([response.status, await response.text()]).toEqual([401, expect.stringContaining('No auth credentials found')]);
  expect(provider.last().all('authorization')).toEqual([`Bearer ${OWN.acme}`]);
  const answered = () => door.lines.find(({ msg, status }) => msg === 'request' && status === 401);
  await until(() => answered() !== undefined, 5_000, 'the access line');
  expect(answered()).toMatchObject({ organization: 'acme', key: 'organization' });
  expectNoSecretIn(JSON.stringify(door.lines));
});

test('a call that was cut is asked for with the key that made it', { timeout: 60_000 }, async () => {
  const provider = await startMeteredProvider({ tokens: 1_000, gapMs: 20 });
  const door = await doorTo(provider);
  const host = new URL(provider.url).host;
  change(door, 'acme', OWN.acme, host);
  for (const [user, model] of [
    ['ann', 'A'],
    ['bob', 'F'],
  ] as const) {
    const leaving = new AbortController();
    const response = await fetch(`${door.url}/${host}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ model, messages, stream: true }),
      headers: {
        authorization: `Bearer ${ACCESS_KEY}`,
        'x-openwebui-user-id': user,
        'content-type': 'application/json',
      },
      signal: leaving.signal,
    });
    await response.body?.getReader().read();
    leaving.abort();
  }
  await until(() => door.calls().every(({ measured }) => measured === 'reconciled'), 30_000, 'both are reconciled');
  const tokens = await door.figures('modelgate_usage_requests_total');
  expect(tokens.filter((line) => line.includes('measured="reconciled"'))).toHaveLength(2);
  const asked = provider.requests.filter(({ path }) => path === '/v1/generation');
  const keyOf = new Map(
    asked.map((request) => [new URL(request.url, provider.origin).searchParams.get('id'), request]),
  );
  expect(provider.charged.map(({ generation, model }) => [model, keyOf.get(generation)?.all('authorization')])).toEqual(
    [
      ['A', [`Bearer ${OWN.acme}`]],
      ['F', [`Bearer ${PROVIDER_KEY}`]],
    ],
  );
  expect(asked).toHaveLength(2);
});
