/** Every command on the ledger does in PostgreSQL what it does in a file: the same words, and the same JSON. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { expect, onTestFinished, test } from 'vitest';
import { openBlocking } from '../../src/store/postgres/blocking.ts';
import type { Connection } from '../../src/store/database.ts';
import { makeLedgerTables, openUsageFile } from '../../src/usage/schema.ts';
import { createDatabase, rowsThrough } from '../support/database/database.ts';
import { addressOf } from '../support/database/postgres-policy.ts';
import { writesCalls } from '../support/database/settled-calls.ts';
import { TEST_SECRET } from '../support/gate/session.ts';
import { startPostgres } from '../support/postgres.ts';
import { runCommand } from '../support/process/command.ts';
import { sendJson, startRecordingUpstream } from '../support/upstream/upstreams.ts';

const PRICES = {
  'gpt-4o': { litellm_provider: 'openai', mode: 'chat', input_cost_per_token: 2e-6, output_cost_per_token: 8e-6 },
};

const COMMANDS: readonly string[] = [
  'price list',
  'price set openrouter.ai openai/gpt-4o --input 0.15 --output 0.60',
  'price set openrouter.ai openai/* --input 0.1 --output 0.2 --from 2030-01-01',
  'price set ollama:11434 * --free',
  'price import FILE',
  'price import FILE',
  'price list --model openai/*',
  'budget set acme --usd 50 --period month',
  'budget set acme --user-usd 5',
  'budget raise acme --usd 20 --until 2099-11-30',
  'budget list',
  'usage --month 2026-10',
  'usage --month 2026-10 --by user',
  'usage --month 2026-10 --by day --time-zone Europe/Warsaw',
  'usage --month 2026-10 --by kind --csv',
  'usage --month 2026-10 --org nobody',
  'usage invoice --month 2026-10 --markup 1.3 --currency PLN --rate 4.02 --csv',
  'usage reconcile --since 900d',
  'usage close --month 2026-10 --markup 1.3 --org globex',
  'usage close --month 2026-10 --markup 1.3',
  'usage close --month 2026-10',
  'usage invoice --month 2026-10',
  'key set acme --provider openrouter.ai',
  'key list',
  'key remove acme --provider openrouter.ai',
  'key remove acme --provider openrouter.ai',
  'explain --user ann --model openai/gpt-4o --door provider --provider openrouter.ai',
  'price remove ollama:11434 *',
  'price list',
];

/** What a month has seen, with sums beyond 32 bits. */
function fill(connection: Connection, provider: string): void {
  const { settle, begin } = writesCalls(connection);
  const usual = { at: '2026-10-05T23:50:00Z', input: 1_000, output: 100, cost: 3_000_000_000 };
  settle(
    usual,
    { ...usual, user: 'Bob', inputCached: 10 },
    { ...usual, user: 'ärger', kind: 'task', measured: 'estimated' },
    { ...usual, organization: 'globex', input: 5_000_000_000, cost: 9_007_199_254_740_991 },
    { ...usual, organization: '', user: '' },
    { ...usual, model: 'other', cost: null },
  );
  begin({ ...usual, provider, generationId: 'gen-cut', state: 'interrupted' });
}

test('the same is printed, and the same is kept', { timeout: 120_000 }, async () => {
  await using upstream = await startRecordingUpstream((_incoming, outgoing) =>
    sendJson(outgoing, { data: { native_tokens_prompt: 7, native_tokens_completion: 3, total_cost: 0.002 } }),
  );
  const host = new URL(upstream.origin).host;
  const directory = mkdtempSync(join(tmpdir(), 'modelgate-ledger-commands-'));
  const prices = join(directory, 'prices.json');
  writeFileSync(prices, JSON.stringify(PRICES));
  const server = await startPostgres();
  const database = await server.createDatabase();
  const connection = await openBlocking(addressOf(database.url));
  const backend = createDatabase({ era: '0.12.4' });
  const file = openUsageFile(join(backend.directory, 'modelgate', 'usage.db'), 1_000);
  onTestFinished(async () => {
    file.close();
    backend.close();
    connection.close();
    await database[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true });
  });
  const common = {
    MODELGATE_UPSTREAM_URL: 'http://127.0.0.1:9',
    WEBUI_SECRET_KEY: TEST_SECRET,
    MODELGATE_PROVIDER_PORT: '8081',
    MODELGATE_PROVIDER_ACCESS_KEY: 'the-access-key-of-the-backend-under-test',
    MODELGATE_PROVIDERS: `https://openrouter.ai/api/v1 ${upstream.origin}/v1`,
    OPENROUTER_API_KEY: 'sk-or-of-the-provider',
    MODELGATE_KEYS_SECRET: 'a secret of some more than 32 characters',
  };
  const places = [`sqlite:///${backend.path}`, database.url].map((DATABASE_URL) => ({ ...common, DATABASE_URL }));
  for (const environment of places) expect(await runCommand(['init'], { environment })).toMatchObject({ code: 0 });
  makeLedgerTables(connection);
  const onPostgres = rowsThrough('0.12.4', (sql, ...values) => {
    connection.prepare(sql.replace('IF NOT EXISTS ', 'IF NOT EXISTS public.')).run(...values);
  });
  for (const rows of [backend, onPostgres]) {
    rows.addUser({ id: 'ann', email: 'ann@example.org' });
    rows.addMember('acme', 'ann');
    rows.grant('acme', 'openai/gpt-4o');
  }
  const setting = `INSERT INTO config ("key", value) VALUES ('openai.api_base_urls', '["https://openrouter.ai/api/v1"]')`;
  backend.run(setting);
  connection.prepare(setting).run();
  // of 0.12.4: without it each command doubts the database
  connection.prepare('DELETE FROM alembic_version').run();
  connection.prepare('INSERT INTO alembic_version (version_num) VALUES (?)').run('0bd252b206fb');
  fill(file, host);
  fill(connection, host);
  const masked = (text: string) =>
    text
      .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
      .replaceAll(backend.path, 'DATABASE')
      .replaceAll(addressOf(database.url).shown, 'DATABASE')
      .replace(/[^ "]*usage\.db/g, 'DATABASE');
  const words = (command: string, environment: Record<string, string>, ...more: string[]) =>
    runCommand([...command.replace('FILE', prices).split(' '), ...more], {
      environment,
      input: () => Readable.from(['sk-or-a-key-of-the-organization\n']),
    }).then(({ stdout, stderr, code }) => ({ code, stdout: masked(stdout), stderr: masked(stderr) }));
  for (const command of COMMANDS) {
    const more = command.includes('--csv') ? [] : ['--json'];
    const [ofFile, ofPostgres] = await Promise.all(places.map((environment) => words(command, environment, ...more)));
    expect(ofPostgres, command).toEqual(ofFile);
    expect(ofFile?.code, `${command}: ${ofFile?.stderr}`).toBeLessThanOrEqual(1);
  }
  for (const table of ['usage_slot', 'usage_closing', 'usage_price', 'usage_model', 'usage_key']) {
    const sql = `SELECT * FROM ${table} ORDER BY 1, 2, 3, 4`;
    const plain = (rows: unknown) => masked(JSON.stringify(rows)).replace(/"(\w+_at|valid_from)":\d{13}/g, '"$1":0');
    expect(plain(connection.prepare(sql).all()), table).toBe(plain(file.prepare(sql).all()));
  }
  const [ofFile = [], checks = []] = await Promise.all(
    places.map(async (environment) => {
      const { stdout } = await words('doctor --quick --json', environment);
      return (JSON.parse(stdout) as { checks: { name: string; status: string; finding: string }[] }).checks;
    }),
  );
  const ofTables = ['admins', 'connections', 'arenas', 'service models', 'environment', 'foreign rows', 'prices'];
  expect(checks).toContainEqual(expect.objectContaining({ name: 'connections', status: 'problem' }));
  for (const name of ofTables) {
    const [there, here] = [ofFile, checks].map((all) => all.filter((check) => check.name === name));
    expect(here, name).toEqual(there);
    expect(here, name).not.toEqual([]);
  }
  const found = checks.filter(({ name }) => name === 'ledger' || name === 'prices');
  expect(found).toMatchObject([
    { name: 'ledger', status: 'ok', finding: expect.stringContaining('has 7 calls.') as string },
    { name: 'prices', status: 'ok' },
  ]);
});
