/** What `doctor` says of a real PostgreSQL. */
import pg from 'pg';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { openBlocking } from '../../src/store/postgres/blocking.ts';
import { makeLedgerTables } from '../../src/usage/schema.ts';
import { ledgerOfTest } from '../support/database/ledger.ts';
import { addressOf } from '../support/database/postgres-policy.ts';
import { writesCalls } from '../support/database/settled-calls.ts';
import { startPgBouncer } from '../support/pgbouncer.ts';
import { PASSWORD, type PostgresDatabase, type PostgresServer, execute, startPostgres } from '../support/postgres.ts';
import { runCommand } from '../support/process/command.ts';
import { until } from '../support/process/with-timeout.ts';

interface Check {
  readonly name: string;
  readonly status: string;
  readonly finding: string;
  readonly remedy: string | null;
}

let server: PostgresServer;
let database: PostgresDatabase;
beforeAll(async () => {
  server = await startPostgres();
  database = await server.createDatabase();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

/** @returns what `doctor` says of the database, by check; never a password */
async function doctor(url: string, more: Record<string, string> = {}): Promise<Map<string, Check>> {
  const environment = { DATABASE_URL: url, ...more };
  const { stdout, stderr } = await runCommand(
    ['doctor', '--json', ...(Object.keys(more).length > 0 ? ['--quick'] : [])],
    { environment },
  );
  expect(stderr).toBe('');
  for (const secret of [PASSWORD, encodeURIComponent(PASSWORD)]) expect(stdout).not.toContain(secret);
  const { checks } = JSON.parse(stdout) as { checks: Check[] };
  return new Map(checks.map((check) => [check.name, check]));
}

test('tables that are missing are a problem until they are made', async () => {
  const before = await doctor(database.url);
  expect(before.get('server')).toMatchObject({
    status: 'ok',
    finding: expect.stringContaining('without a pooler') as string,
  });
  expect(before.get('tables')).toMatchObject({ status: 'problem', remedy: expect.stringContaining('init') as string });
  await database.sql.query(`INSERT INTO alembic_version VALUES ('0bd252b206fb')`);
  const made = await runCommand(['init'], { environment: { DATABASE_URL: database.url } });
  expect(made).toMatchObject({ code: 0 });
  const after = [...(await doctor(database.url))].filter(([name]) => name !== 'settings');
  expect(after.map(([name, { status }]) => `${name} ${status}`)).toEqual([
    ...['server ok', 'tables ok', 'release ok', 'rights ok', 'index use ok', 'statistics ok', 'dead rows ok'],
    ...['sessions ok', 'database connections ok', 'standbys ok', 'admins warning', 'foreign rows ok'],
  ]);
});

test('large tables without their index, without statistics, and full of dead rows', async () => {
  await using large = await server.createDatabase();
  expect(await runCommand(['init'], { environment: { DATABASE_URL: large.url } })).toMatchObject({ code: 0 });
  await large.sql.query(`ALTER TABLE organization_members SET (autovacuum_enabled = off)`);
  await large.sql.query(`INSERT INTO organization_members (id, organization_id, user_id)
    SELECT 'om_' || n, 'acme', 'user-' || n FROM generate_series(1, 30000) AS n`);
  await large.sql.query(`DELETE FROM organization_members WHERE id < 'om_25'`);
  await large.sql.query('DROP INDEX idx_org_members_user_active');
  const isCounted = async (): Promise<boolean> => {
    const text = `SELECT 1 FROM pg_stat_user_tables WHERE relname = 'organization_members' AND n_dead_tup > 16000`;
    return (await large.sql.query(text)).rowCount === 1;
  };
  await until(isCounted, 10_000, 'the server has counted the dead rows');
  const before = await doctor(large.url);
  expect(before.get('statistics')?.finding).toContain('no statistics of organization_members');
  expect(before.get('dead rows')?.finding).toMatch(
    /^More rows are dead than live: organization_members \(1[67],\d{3}\)\.$/,
  );
  await large.sql.query('ANALYZE organization_members');
  const after = await doctor(large.url);
  expect(after.get('index use')?.finding).toBe('Each decision reads the whole of organization_members.');
  expect(after.get('statistics')?.status).toBe('ok');
});

test('calls that other gates count in the database, beside a ledger in a file, are a warning', async () => {
  await using shared = await server.createDatabase();
  expect(await runCommand(['init'], { environment: { DATABASE_URL: shared.url } })).toMatchObject({ code: 0 });
  const connection = await openBlocking(addressOf(shared.url));
  onTestFinished(() => void connection.close());
  makeLedgerTables(connection);
  const ofFile = {
    MODELGATE_PROVIDER_PORT: '8081',
    MODELGATE_PROVIDER_ACCESS_KEY: 'an-access-key-of-the-tests-0123456789',
    OPENROUTER_API_KEY: 'sk-or-of-the-provider',
    MODELGATE_USAGE_DATABASE: ledgerOfTest().path,
  };
  const said = async () => [...(await doctor(shared.url, ofFile)).values()].map(({ finding }) => finding).join('\n');
  expect(await said()).not.toContain('Calls are counted');
  writesCalls(connection).settle({ at: Date.now() - 60_000, input: 1, output: 1 });
  expect(await said()).toMatch(/^Calls are counted in \S+ too, 1 in the last week: budgets there know nothing of /m);
});

test('a pooler is told', async () => {
  await using pooler = await startPgBouncer(server);
  const found = await doctor(pooler.url(database.name));
  expect(found.get('server')?.finding).toContain('through a pooler');
});

test('a pooler that pools statements is no way to write', async () => {
  await using pooler = await startPgBouncer(server, { mode: 'statement' });
  const found = await doctor(pooler.url(database.name));
  expect(found.get('server')).toMatchObject({
    status: 'problem',
    finding: expect.stringContaining('set pool_mode = transaction there') as string,
  });
});

test('an id that is no text, and rows that are hidden, are problems', async () => {
  await using other = await server.createDatabase();
  expect(await runCommand(['init'], { environment: { DATABASE_URL: other.url } })).toMatchObject({ code: 0 });
  await other.sql.query('CREATE TABLE client_organizations (id integer, is_active integer)');
  expect((await doctor(other.url)).get('tables')).toMatchObject({
    status: 'problem',
    finding: expect.stringContaining(
      'the column id of the table client_organizations is of the type integer',
    ) as string,
  });
});

test('a role without rights gets the lines that give them', async () => {
  const admin = server.url(database.name, 'postgres');
  await execute(admin, `CREATE ROLE gate LOGIN PASSWORD '${PASSWORD}'`);
  const url = server.url(database.name, 'gate');
  const rights = (await doctor(url)).get('rights');
  expect(rights?.status).toBe('problem');
  expect(rights?.finding).toContain('may not read user, auth, api_key, model');
  await execute(database.url, rights?.remedy?.split('run: ')[1] ?? '');
  expect((await doctor(url)).get('rights')?.status).toBe('ok');
});

test('a database that is not of Open WebUI, and a server that is not there', async () => {
  const elsewhere = await doctor(server.url('postgres'));
  expect(elsewhere.get('tables')).toMatchObject({ status: 'problem' });
  expect(elsewhere.get('tables')?.finding).toContain('it is not the database of Open WebUI');
  const nowhere = await doctor(server.url('absent'));
  expect(nowhere.get('server')).toMatchObject({ status: 'problem' });
  expect(nowhere.get('server')?.finding).toContain('has no database "absent"');
});

test('a session that holds another up is named', async () => {
  const client = new pg.Client({ connectionString: database.url, application_name: 'migration' });
  const waiting = new pg.Client({ connectionString: database.url });
  await Promise.all([client.connect(), waiting.connect()]);
  try {
    await client.query('BEGIN; LOCK TABLE "user" IN ACCESS EXCLUSIVE MODE');
    const waits = waiting.query('SELECT count(*) FROM "user"');
    const isWaiting = async (): Promise<boolean> => {
      const { rowCount } = await database.sql.query(`SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'`);
      return rowCount === 1;
    };
    await until(isWaiting, 5_000, 'a session waits');
    const sessions = (await doctor(database.url)).get('sessions');
    expect(sessions?.status).toBe('warning');
    expect(sessions?.finding).toMatch(/\(migration as openwebui, idle in transaction for \d+ s, 1 wait for it\)/);
    await client.query('ROLLBACK');
    await waits;
  } finally {
    await Promise.all([client.end(), waiting.end()]);
  }
});

test('a standby that may be behind is a warning', async () => {
  await using _standby = await startPostgres({ standbyOf: server });
  const isFollowed = async (): Promise<boolean> =>
    (await database.sql.query('SELECT 1 FROM pg_stat_replication')).rowCount === 1;
  await until(isFollowed, 10_000, 'the standby follows');
  expect((await doctor(database.url)).get('standbys')?.status).toBe('warning');
});
