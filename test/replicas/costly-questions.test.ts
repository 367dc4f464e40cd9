/** What one user may make long: names in a request, parameters of a preset. No other request waits for it, or is answered late. */
import { expect, test } from 'vitest';
import { policyOf } from '../support/database/postgres-policy.ts';
import { chatStatus, serveModelgate } from '../support/gate/gate-process.ts';
import { TEST_SECRET, mintSession } from '../support/gate/session.ts';
import { startPostgres } from '../support/postgres.ts';
import { sendJson, startUpstream } from '../support/upstream/upstreams.ts';

const NAMES = 4_990;

test('thousands of names do not let what was withdrawn pass, and cost the others no answer', async () => {
  await using server = await startPostgres();
  await using upstream = await startUpstream((_incoming, outgoing) => sendJson(outgoing, { choices: [] }));
  await using database = await server.createDatabase();
  const policy = policyOf(database);
  await policy.initialize();
  for (const user of ['ada', 'eve']) {
    await policy.addUser(user);
    await policy.addMember('acme', user);
  }
  await policy.grant('acme', 'gpt');
  // without its index each name costs as much as on a machine that is ten times slower
  await policy.run('ALTER TABLE model DROP CONSTRAINT model_pkey CASCADE');
  await policy.run(`INSERT INTO model (id, user_id, base_model_id, name, params, meta, is_active, created_at, updated_at)
    SELECT 'preset-' || n, 'ada', 'gpt', 'Preset', '{}', '{}', true, 1, 1 FROM generate_series(1, 800) n`);
  await policy.run('ANALYZE');
  await using gate = await serveModelgate({
    MODELGATE_UPSTREAM_URL: upstream.origin,
    DATABASE_URL: database.url,
    WEBUI_SECRET_KEY: TEST_SECRET,
  });
  const [ada, eve] = [await mintSession('ada'), await mintSession('eve')];
  expect([await chatStatus(gate, 'gpt', ada), await chatStatus(gate, 'gpt', eve)]).toEqual([200, 200]);
  await policy.withdraw('acme', 'gpt');
  const models = Array.from({ length: NAMES }, (_none, at) => `none-${at}`);
  const sent = { isUnderWay: true };
  const long = fetch(`${gate.url}/api/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${eve}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'gpt', messages: [], models }),
  }).finally(() => (sent.isUnderWay = false));
  const others = new Set<number>();
  while (sent.isUnderWay) others.add(await chatStatus(gate, 'gpt', ada));
  expect((await long).status).toBe(403);
  expect([...others]).toEqual([403]);
  expect(gate.lines().filter(({ msg }) => msg === 'the policy database cannot be read')).toEqual([]);
});

test('a preset with parameters of 60 MB is not read, and cannot be used through its base', async () => {
  await using server = await startPostgres();
  await using upstream = await startUpstream((_incoming, outgoing) => sendJson(outgoing, { choices: [] }));
  await using database = await server.createDatabase();
  const policy = policyOf(database);
  await policy.initialize();
  await policy.addUser('ada');
  await policy.addMember('acme', 'ada');
  await policy.grant('acme', 'gpt');
  await policy.addModel('long', 'gpt', { system: 'long '.repeat(12_000_000) }, 'ada');
  await policy.addModel('short', 'gpt', { system: 'short '.repeat(10_000) }, 'ada');
  await using gate = await serveModelgate({
    MODELGATE_UPSTREAM_URL: upstream.origin,
    DATABASE_URL: database.url,
    WEBUI_SECRET_KEY: TEST_SECRET,
  });
  const ada = await mintSession('ada');
  const found: number[] = [];
  for (const model of ['gpt', 'short', 'long', 'gpt', 'long']) found.push(await chatStatus(gate, model, ada));
  expect(found).toEqual([200, 200, 403, 200, 403]);
  expect(gate.lines().filter(({ msg }) => msg === 'the policy database cannot be read')).toEqual([]);
});

test('presets whose parameters are long together are read in parts, and cost the others no answer', async () => {
  await using server = await startPostgres();
  await using upstream = await startUpstream((_incoming, outgoing) => sendJson(outgoing, { choices: [] }));
  await using database = await server.createDatabase();
  const policy = policyOf(database);
  await policy.initialize();
  for (const user of ['ada', 'eve']) {
    await policy.addUser(user);
    await policy.addMember('acme', user);
  }
  await policy.grant('acme', 'gpt');
  const models = Array.from({ length: 80 }, (_none, at) => `long-${at}`);
  for (const id of models) await policy.addModel(id, 'gpt', { system: 'long '.repeat(98_000) }, 'eve');
  await using gate = await serveModelgate({
    MODELGATE_UPSTREAM_URL: upstream.origin,
    DATABASE_URL: database.url,
    WEBUI_SECRET_KEY: TEST_SECRET,
  });
  const [ada, eve] = [await mintSession('ada'), await mintSession('eve')];
  const sent = { isUnderWay: true };
  const long = fetch(`${gate.url}/api/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${eve}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'gpt', messages: [], models }),
  }).finally(() => (sent.isUnderWay = false));
  const others = new Set<number>();
  while (sent.isUnderWay) others.add(await chatStatus(gate, 'gpt', ada));
  expect((await long).status).toBe(200);
  expect([...others]).toEqual([200]);
  expect(gate.lines().filter(({ msg }) => msg === 'the policy database cannot be read')).toEqual([]);
});
