/** What `doctor` says of the growth of the ledger and the room on its disk. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { firstIdOf } from '../../../src/usage/statements.ts';
import { createHealthyDatabase, findingsOf, withName } from '../../support/database/diagnosis.ts';
import { ledgerOfTest } from '../../support/database/ledger.ts';

const DAY_MS = 86_400_000;

async function look(path: string) {
  using database = createHealthyDatabase();
  const found = withName(await findingsOf(database, { quick: true, ledger: { path, unpriced: 'refuse' } }), 'ledger');
  return found.map(({ status, finding }) => `${status}: ${finding}`);
}

/** @param atDay how many calls so many days ago */
function ledgerOf(atDay: Readonly<Record<number, number>>) {
  const ledger = ledgerOfTest();
  const add = ledger.connection.prepare(
    `INSERT INTO usage_request (id, instance, state, started_at, organization_id, user_id, provider, endpoint, kind, model, wire_model, is_streamed, bytes_in)
     VALUES (?, 'i', 'closed', ?, 'acme', 'alice', 'openrouter.ai', 'chat/completions', 'chat', 'A', 'A', 0, 9)`,
  );
  let calls = 0;
  ledger.connection.transaction(() => {
    for (const [daysAgo, count] of Object.entries(atDay)) {
      const at = Date.now() - Number(daysAgo) * DAY_MS;
      for (let call = 0; call < count; call++) {
        add.run(`${firstIdOf(at)}-7000-8000-${String(calls++).padStart(12, '0')}`, at);
      }
    }
  })();
  return ledger;
}

test('a ledger that is not there yet is no fault', async () => {
  const path = join(ledgerOfTest().directory, 'other.db');
  expect(await look(path)).toEqual([`ok: There is no ledger at ${path} yet: the gate makes it.`]);
});

test('a file that is no ledger is a problem: no call is counted in it', async () => {
  const path = join(ledgerOfTest().directory, 'other.db');
  writeFileSync(path, 'nothing that SQLite would read '.repeat(100));
  expect(await look(path)).toEqual([
    expect.stringContaining(`problem: No call is counted: the ledger ${path} cannot be read, SQLITE_NOTADB`),
  ]);
});

test('an empty ledger has no rate', async () => {
  const { path } = ledgerOf({});
  expect((await look(path))[0]).toMatch(/^ok: .*usage\.db \([\d.]+ KB\) has no call yet\.$/);
});

test('its growth is that of the last week: older calls count for the bytes of one alone', async () => {
  const { path } = ledgerOf({ 1: 700, 5: 700, 20: 1_400 });
  const [said = ''] = await look(path);
  const [, bytes = '', rate = '', megabytes = ''] =
    /2,800 calls, (\d+) bytes a call\. At the rate of the last week \((\d+) a day\) it grows by ([\d.]+) MB a year/.exec(
      said,
    ) ?? expect.fail(said);
  expect(Number(rate)).toBe(200);
  expect(Number(bytes)).toBeGreaterThan(100);
  expect(Number(bytes)).toBeLessThan(700);
  expect(Number(megabytes)).toBeCloseTo((200 * 365 * Number(bytes)) / 1024 ** 2, 0);
});

test('no calls of the last week are no growth', async () => {
  const { path } = ledgerOf({ 20: 1_000 });
  expect((await look(path))[0]).toContain('(0 a day) it grows by 0.0 KB a year');
});
