/** What one user may make long: names in a request, parameters of a preset. No other request waits for it, or is answered late. */
import { expect, test } from 'vitest';
import { type ServingProcess, chatStatus } from '../support/gate/gate-process.ts';
import { mintSession } from '../support/gate/session.ts';
import { gateOnPolicy } from './gate-on-policy.ts';
import { TIMED } from './timed.ts';

const NAMES = 4_990;

/** Eve sends one request with all these names. @returns its status, and those of what ada sends meanwhile */
async function askMany(gate: ServingProcess, models: readonly string[]) {
  const [ada, eve] = [await mintSession('ada'), await mintSession('eve')];
  const sent = { isUnderWay: true };
  const long = fetch(`${gate.url}/api/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${eve}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'gpt', messages: [], models }),
  }).finally(() => (sent.isUnderWay = false));
  const others = new Set<number>();
  while (sent.isUnderWay) others.add(await chatStatus(gate, 'gpt', ada));
  return { status: (await long).status, others: [...others] };
}

const expectReadable = (gate: ServingProcess): void =>
  expect(gate.lines().filter(({ msg }) => msg === 'the policy database cannot be read')).toEqual([]);

test('thousands of names do not let what was withdrawn pass, and cost the others no answer', TIMED, async () => {
  const { gate, policy } = await gateOnPolicy(async ({ run }) => {
    // without its index each name costs as much as on a machine that is ten times slower
    await run('ALTER TABLE model DROP CONSTRAINT model_pkey CASCADE');
    await run(`INSERT INTO model (id, user_id, base_model_id, name, params, meta, is_active, created_at, updated_at)
      SELECT 'preset-' || n, 'ada', 'gpt', 'Preset', '{}', '{}', true, 1, 1 FROM generate_series(1, 800) n`);
    await run('ANALYZE');
  });
  for (const user of ['ada', 'eve']) expect(await chatStatus(gate, 'gpt', await mintSession(user))).toBe(200);
  await policy.withdraw('acme', 'gpt');
  const models = Array.from({ length: NAMES }, (_none, at) => `none-${at}`);
  expect(await askMany(gate, models)).toEqual({ status: 403, others: [403] });
  expectReadable(gate);
});

test('a preset with parameters of 60 MB is not read, and cannot be used through its base', TIMED, async () => {
  const { gate } = await gateOnPolicy(async (policy) => {
    await policy.addModel('long', 'gpt', { system: 'long '.repeat(12_000_000) }, 'ada');
    await policy.addModel('short', 'gpt', { system: 'short '.repeat(10_000) }, 'ada');
  });
  const ada = await mintSession('ada');
  const found: number[] = [];
  for (const model of ['gpt', 'short', 'long', 'gpt', 'long']) found.push(await chatStatus(gate, model, ada));
  expect(found).toEqual([200, 200, 403, 200, 403]);
  expectReadable(gate);
});

test('presets whose parameters are long together are read in parts, and cost the others no answer', TIMED, async () => {
  const models = Array.from({ length: 80 }, (_none, at) => `long-${at}`);
  const { gate } = await gateOnPolicy(async (policy) => {
    for (const id of models) await policy.addModel(id, 'gpt', { system: 'long '.repeat(98_000) }, 'eve');
  });
  expect(await askMany(gate, models)).toEqual({ status: 200, others: [200] });
  expectReadable(gate);
});
