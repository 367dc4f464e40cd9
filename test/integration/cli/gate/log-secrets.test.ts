import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { createDatabase } from '../../../support/database/database.ts';
import { serveModelgate } from '../../../support/gate/gate-process.ts';
import { mintSession } from '../../../support/gate/session.ts';
import { startSlowUpstream } from '../../../support/upstream/upstreams.ts';
import { runCommand } from '../../../support/process/command.ts';
import { until } from '../../../support/process/with-timeout.ts';

const KEY = 'a-long-enough-key-for-this-test';
const API_KEY = 'sk-11112222333344445555666677778888';

/** The settings of the deployment guide's debug mode, and everything that pino has. */
const LEVELS = [{ LOG_LEVEL: 'DEBUG', SRC_LOG_LEVELS_MODELS: 'DEBUG' }, { LOG_LEVEL: 'trace' }];

test.each(LEVELS)('no secret of a whole run is found in its output with %o', async (levels) => {
  using database = createDatabase();
  database.addUser({ id: 'alice', apiKey: API_KEY });
  database.addMember('acme', 'alice');
  database.grant('acme', 'A');
  const token = await mintSession('alice', { secretKey: KEY });
  const forged = await mintSession('alice', { secretKey: 'another-key-altogether' });
  await using backend = await startSlowUpstream();
  await using gate = await serveModelgate({
    MODELGATE_UPSTREAM_URL: backend.origin,
    DATABASE_URL: `sqlite:///${database.path}`,
    WEBUI_SECRET_KEY: KEY,
    CUSTOM_API_KEY_HEADER: 'X-Own-Key',
    ...levels,
  });

  const chat = (body: unknown): RequestInit => ({ method: 'POST', body: JSON.stringify(body) });
  const requests: [string, RequestInit][] = [
    ['/api/models', { headers: { authorization: `Bearer ${token}` } }],
    ['/api/models', { headers: { cookie: `token=${token}` } }],
    ['/api/models', { headers: { authorization: `Bearer ${forged}` } }],
    ['/api/models', { headers: { 'x-own-key': API_KEY } }],
    ['/api/models?token=query-secret-0001', { headers: { authorization: 'Basic cGFzc3dvcmQtMDAwMQ==' } }],
    [`/${token}/${API_KEY}?${KEY}`, {}],
    [`/ollama/${KEY}`, {}],
    ['/api/v1/auths/signin', chat({ email: 'alice@example.org', password: 'body-secret-0001' })],
    [
      '/api/chat/completions',
      {
        ...chat({ model: 'A', messages: [{ content: 'body-secret-0002' }] }),
        headers: { authorization: `Bearer ${API_KEY}` },
      },
    ],
    ['/api/chat/completions', { ...chat({ model: API_KEY }), headers: { authorization: `Bearer ${token}` } }],
    [
      '/api/chat/completions',
      { method: 'POST', body: '{"model": "body-secret-0003', headers: { authorization: `Bearer ${token}` } },
    ],
    [
      '/api/chat/completions',
      {
        ...chat({ model: 'A' }),
        headers: { authorization: `Bearer ${token}`, 'x-own-key': 'sk-99998888777766665555444433332222' },
      },
    ],
  ];
  for (const [path, init] of requests) await (await fetch(`${gate.url}${path}`, init)).arrayBuffer();
  await until(
    () => gate.lines().filter(({ msg }) => msg === 'request').length === requests.length,
    10_000,
    'an access line each',
  );
  gate.kill('SIGTERM');
  const { stdout, stderr, code } = await gate.ended();
  expect(code).toBe(0);
  const output = stdout + stderr;
  const secrets = [KEY, token, forged, API_KEY, 'sk-99998888777766665555444433332222', 'cGFzc3dvcmQtMDAwMQ'];
  const signatures = [token, forged].map((jwt) => jwt.split('.')[2] ?? '');
  const contents = ['query-secret', 'body-secret', 'alice@example.org'];
  for (const secret of [...secrets, ...signatures, ...contents]) expect(output).not.toContain(secret);
  expect(output).toContain('alice');
  // the lines of the guide's search are there, so that this has looked at them too
  expect(
    gate.lines().filter(({ level, msg }) => level === 'debug' && /access/.test(String(msg))).length,
  ).toBeGreaterThan(1);
});

test('no key of the provider door is found in its output, wherever a client writes it', async () => {
  const keys = {
    access: 'access-key-of-the-backend-in-this-test',
    provider: 'gsk_key_of_the_provider_in_this_test',
    signing: 'signs-the-users-of-this-test',
    sealing: 'seals-the-keys-of-organizations-in-this-test',
  };
  using database = createDatabase();
  await using backend = await startSlowUpstream();
  const host = new URL(backend.origin).host;
  writeFileSync(join(database.directory, 'access'), `another-access-key-of-the-same-length\n${keys.access}\n`);
  writeFileSync(join(database.directory, 'keys.yaml'), `${host}: ${keys.provider}\n`);
  await using gate = await serveModelgate({
    MODELGATE_UPSTREAM_URL: backend.origin,
    DATABASE_URL: `sqlite:///${database.path}`,
    WEBUI_SECRET_KEY: KEY,
    MODELGATE_PROVIDER_HOST: '127.0.0.1',
    MODELGATE_PROVIDER_PORT: '0',
    MODELGATE_PROVIDERS: backend.origin,
    MODELGATE_PROVIDER_ACCESS_KEY_FILE: join(database.directory, 'access'),
    MODELGATE_PROVIDER_KEYS_FILE: join(database.directory, 'keys.yaml'),
    FORWARD_USER_INFO_HEADER_JWT_SECRET: keys.signing,
    MODELGATE_KEYS_SECRET: keys.sealing,
    ...LEVELS[0],
  });
  const door = String(gate.lines().find(({ provider_url: url }) => url !== undefined)?.['provider_url']);
  const targets = Object.values(keys).flatMap((key) => [
    [`${gate.url}/${key}`, {}],
    [`${door}/${host}/${key}`, { headers: { authorization: `Bearer ${keys.access}` } }],
    [`${door}/${key}/models`, { headers: { 'api-key': key } }],
    [
      `${door}/${host}/chat/completions`,
      {
        method: 'POST',
        headers: { 'x-api-key': keys.access, 'x-openwebui-user-id': key },
        body: JSON.stringify({ model: key, messages: [] }),
      },
    ],
  ]) as [string, RequestInit][];
  for (const [url, init] of targets) await (await fetch(url, init)).arrayBuffer();
  await until(
    () => gate.lines().filter(({ msg }) => msg === 'request').length === targets.length,
    10_000,
    'an access line each',
  );
  gate.kill('SIGTERM');
  const { stdout, stderr } = await gate.ended();
  expect(stdout).toContain('[redacted]');
  for (const key of Object.values(keys)) expect(stdout + stderr).not.toContain(key);
});

describe('no secret is found in what a command prints', () => {
  const PROVIDER_KEY = 'sk-or-v1-5555666677778888999900001111222';
  const ACCESS_KEY = 'access-key-of-the-backend-in-this-test';
  const SIGNING_KEY = 'signs-the-users-of-this-test';
  const SEALING_SECRET = 'seals-the-keys-of-organizations-in-this-test';
  const PASSWORD_HASH = '$2b$12$abcdefghijklmnopqrstuuKd8mF0Q1w2e3r4t5y6u7i8o9p0a1s2';
  const TOKEN_FILE = 'admin-key.txt';

  const commands: readonly (readonly string[])[] = [
    ['serve', '--check-config'],
    ['doctor', '--user', 'alice'],
    ['doctor', '--json'],
    ['explain', '--user', 'alice', '--model', 'A', '--json'],
    ['audit', '--json'],
    ['org', 'show', 'acme', '--json'],
    ['model', 'sync', '--org', 'acme', '--from', 'config', '--dry-run'],
    ['model', 'sync', '--org', 'acme', '--from', 'live', '--token-file', TOKEN_FILE, '--dry-run'],
    ['migrate', '--org', 'acme', '--name', 'Acme', '--dry-run'],
    ['backup', 'copies'],
    ['key', 'list', '--json'],
    ['key', 'set', 'acme', '--provider', 'openrouter.ai'],
    ['key', 'set', 'acme', '--provider', PROVIDER_KEY],
  ];

  test.each(commands.map((words) => [words.join(' '), words] as const))('modelgate %s', async (_name, words) => {
    using database = createDatabase();
    database.addUser({ id: 'alice', apiKey: API_KEY });
    database.addMember('acme', 'alice');
    database.grant('acme', 'A');
    database.sql
      .prepare("INSERT INTO auth (id, email, password, active) VALUES ('alice', 'a@x', ?, 1)")
      .run(PASSWORD_HASH);
    database.sql
      .prepare("INSERT INTO config (key, value) VALUES ('openai.api_keys', ?)")
      .run(JSON.stringify([PROVIDER_KEY]));
    writeFileSync(join(database.directory, TOKEN_FILE), `${API_KEY}\n`);
    await using backend = await startSlowUpstream();
    const environment = {
      MODELGATE_UPSTREAM_URL: backend.origin,
      DATABASE_URL: `sqlite:///${database.path}`,
      WEBUI_SECRET_KEY: KEY,
      OPENROUTER_API_KEY: PROVIDER_KEY,
      MODELGATE_PROVIDER_PORT: '0',
      MODELGATE_PROVIDER_ACCESS_KEY: ACCESS_KEY,
      FORWARD_USER_INFO_HEADER_JWT_SECRET: SIGNING_KEY,
      MODELGATE_KEYS_SECRET: SEALING_SECRET,
      ...LEVELS[0],
    };
    const { stdout, stderr } = await runCommand(words, {
      environment,
      directory: database.directory,
      input: () => Readable.from([PROVIDER_KEY]),
    });
    expect(stdout + stderr).not.toBe('');
    for (const secret of [KEY, API_KEY, PROVIDER_KEY, ACCESS_KEY, SIGNING_KEY, SEALING_SECRET, PASSWORD_HASH]) {
      expect(stdout + stderr).not.toContain(secret);
    }
  });
});
