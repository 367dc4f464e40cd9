import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createDatabase } from '../support/database/database.ts';
import { callsIn, readUsage } from '../support/database/usage.ts';
import { chatAs, serveDoor } from '../support/gate/door-process.ts';
import { startMeteredProvider } from '../support/upstream/metered-provider.ts';

const CHATS = 10_000;
const AT_ONCE = 64;
const KILLS = 8;

async function chat(base: string, user: string): Promise<boolean> {
  const messages = [{ role: 'user', content: user.repeat(20) }];
  const answer = await chatAs(base, user, { model: 'A', stream: true, messages });
  return (await answer.text()).includes('[DONE]');
}

test(`${CHATS} streamed chats through a gate that is killed ${KILLS} times are in the ledger exactly as the provider has charged them`, async () => {
  using database = createDatabase({ era: '0.12.4' });
  const users = ['ann', 'bob', 'cat'];
  for (const user of users) {
    database.addUser({ id: user });
    database.addMember('acme', user);
  }
  database.grant('acme', 'A');
  const path = join(database.directory, 'usage.db');
  // by it the provider is asked later: what is charged before the ledger has it can only be estimated
  const known = 'SELECT id FROM usage_request WHERE id = ? AND generation_id IS NOT NULL';
  const mayWrite = (request: string): boolean => readUsage(path, known, request).length > 0;
  await using provider = await startMeteredProvider({ thinkMs: 300, gapMs: 5, mayWrite });
  let gate = await serveDoor(database, provider);
  let [begun, whole, kills] = [0, 0, 0];
  const client = async (): Promise<void> => {
    while (begun < CHATS) {
      const user = users[begun++ % users.length] ?? '';
      while (!(await chat(gate.base, user).catch(() => false))) await sleep(50);
      whole++;
    }
  };
  const killer = async (): Promise<void> => {
    while (kills < KILLS) {
      const next = Math.round(((kills + 1) * CHATS) / (KILLS + 1)) + Math.round(Math.random() * 100);
      while (whole < next) await sleep(5);
      gate.kill('SIGKILL');
      await gate.ended();
      kills++;
      gate = await serveDoor(database, provider);
    }
  };
  await Promise.all([killer(), ...Array.from({ length: AT_ONCE }, client)]);
  const unsettled = () =>
    readUsage<{ n: number }>(path, "SELECT count(*) AS n FROM usage_request WHERE state IN ('open', 'interrupted')")[0]
      ?.n;
  const deadline = Date.now() + 60_000;
  while (unsettled() !== 0 && Date.now() < deadline) await sleep(500);
  await gate[Symbol.asyncDispose]();

  expect(unsettled(), 'calls that are not resolved after a minute').toBe(0);
  const rows = callsIn(path);
  const byId = new Map(rows.map((row) => [row.id, row]));
  const charged = provider.charged;
  expect(new Set(charged.map(({ request }) => request)).size, 'ids that the provider was given').toBe(charged.length);
  const missing = charged.filter(({ request }) => !byId.has(request));
  expect(missing, 'charged by the provider and not in the ledger').toEqual([]);
  const wrong = charged.flatMap((one) => {
    const row = byId.get(one.request);
    const isRight = row?.input === one.input && row.output === one.output && row.cost_nano === one.costNano;
    return isRight ? [] : [{ one, row }];
  });
  expect(wrong, 'charged otherwise than the ledger has it').toEqual([]);
  const cut = rows.filter(({ measured }) => measured === 'reconciled' || measured === 'interrupted');
  expect(cut.length).toBeLessThanOrEqual(AT_ONCE * KILLS);
  const sum = (numbers: readonly (number | null)[]): number =>
    numbers.reduce<number>((all, one) => all + (one ?? 0), 0);
  const [slots] = readUsage<{ input: number; output: number; cost: number }>(
    path,
    'SELECT sum(input) AS input, sum(output) AS output, sum(cost_nano) AS cost FROM usage_slot',
  );
  expect(slots).toEqual({
    input: sum(charged.map(({ input }) => input)),
    output: sum(charged.map(({ output }) => output)),
    cost: sum(charged.map(({ costNano }) => costNano)),
  });
  expect(whole).toBe(CHATS);
}, 300_000);
