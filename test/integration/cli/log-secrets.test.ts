import { expect, test } from 'vitest';
import { createDatabase } from '../../support/database.ts';
import { serveModelgate } from '../../support/gate-process.ts';
import { mintSession } from '../../support/session.ts';
import { startSlowBackend } from '../../support/slow-backend.ts';
import { until } from '../../support/with-timeout.ts';

const KEY = 'a-long-enough-key-for-this-test';
const API_KEY = 'sk-11112222333344445555666677778888';

test('no secret of a whole run is found in its output, whatever the level', async () => {
  using database = createDatabase();
  database.addUser({ id: 'alice', apiKey: API_KEY });
  database.addMember('acme', 'alice');
  database.grant('acme', 'A');
  const token = await mintSession('alice', { secretKey: KEY });
  const forged = await mintSession('alice', { secretKey: 'another-key-altogether' });
  await using backend = await startSlowBackend();
  await using gate = await serveModelgate({
    MODELGATE_UPSTREAM_URL: backend.url,
    DATABASE_URL: `sqlite:///${database.path}`,
    WEBUI_SECRET_KEY: KEY,
    CUSTOM_API_KEY_HEADER: 'X-Own-Key',
    LOG_LEVEL: 'trace',
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
});
