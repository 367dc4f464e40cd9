/** Every command on organizations does on PostgreSQL what it does on a file: the same words, and the same JSON. */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { parsePostgresUrl } from '../../src/config/postgres-url.ts';
import { openBlocking } from '../../src/store/postgres/blocking.ts';
import { openUsageFile } from '../../src/usage/schema.ts';
import { type Era, ERAS, createDatabase, rowsThrough } from '../support/database/database.ts';
import { type PostgresDatabase, type PostgresServer, PASSWORD, startPostgres } from '../support/postgres.ts';
import { runCommand } from '../support/process/command.ts';

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

type Rows = ReturnType<typeof rowsThrough>;

/** A database with its address, as the backend's environment has it. */
interface Place {
  readonly environment: Record<string, string>;
  readonly rows: Rows;
}

function onFile(era: Era): Place & { readonly directory: string; readonly path: string } {
  const database = createDatabase({ era, organizationTables: 'none' });
  onTestFinished(() => database.close());
  // on PostgreSQL `init` makes it
  openUsageFile(join(database.directory, 'modelgate', 'usage.db'), 1_000).close();
  const environment = { DATABASE_URL: `sqlite:///${database.path}` };
  return { environment, rows: database, directory: database.directory, path: database.path };
}

async function onPostgres(era: Era, schema?: string): Promise<Place & { readonly database: PostgresDatabase }> {
  const database = await server.createDatabase({ era, ...(schema !== undefined && { schema }) });
  const address = parsePostgresUrl(database.url);
  if (typeof address === 'string') throw new Error(address);
  const connection = await openBlocking({ ...address, schema });
  onTestFinished(async () => {
    connection.close();
    await database[Symbol.asyncDispose]();
  });
  const environment = { DATABASE_URL: database.url, ...(schema !== undefined && { DATABASE_SCHEMA: schema }) };
  const made = `IF NOT EXISTS ${database.schema}.`;
  const rows = rowsThrough(era, (sql, ...values) => {
    connection.prepare(sql.replace('IF NOT EXISTS ', made)).run(...values);
  });
  const revision = { '0.6.18': 'd31026856c01', '0.12.4': '0bd252b206fb' }[era];
  connection.prepare('DELETE FROM alembic_version').run();
  connection.prepare('INSERT INTO alembic_version (version_num) VALUES (?)').run(revision);
  return { environment, rows, database };
}

/** Users and models of each kind, and an organization that mAI has switched off. */
function inhabit(rows: Rows): void {
  rows.addUser({ id: 'root', role: 'admin', email: 'Root@example.org' });
  for (const id of ['ada', 'bob', 'Cyd', 'ärger', "o'brien"]) rows.addUser({ id, email: `${id}@Example.org` });
  rows.addUser({ id: 'pen', role: 'pending' });
  rows.addUser({ id: 'ban', role: 'banned' });
  rows.addModel({ id: 'openai/gpt-4o', name: 'GPT-4o' });
  rows.addModel({ id: 'Z/last', name: 'zz' });
  rows.addModel({ id: 'switched-off', active: 0 });
  rows.addModel({ id: 'of-a-user', owner: 'ada' });
  rows.addModel({ id: 'b*' });
  rows.addModel({ id: 'preset', base: 'openai/gpt-4o', params: { temperature: 1 } });
  rows.addClientOrganization('off_org', 0);
}

/** Each is a command; the state that one leaves is what the next one finds. */
const SCENARIO: readonly string[] = [
  'migrate --org acme --name Acme --dry-run',
  'migrate --org acme --name Acme --no-backup',
  'init --org acme --name Acme',
  'member list --org acme',
  'member remove ADA@example.org --org acme',
  'member remove bob --org acme --purge',
  'member add ada bob --org acme --role admin',
  'member add bob --org acme --role member',
  'member add --all --org globex --create',
  'member add nobody pen ban --org acme',
  'member add ada --org off_org',
  'model list --org acme',
  'model allow openai/* preset nonesuch --org acme',
  'model allow nonesuch --org off_org',
  'model deny openai/gpt-4o --org acme',
  'model deny Z/last --org acme --purge',
  'model deny nothing --org acme',
  'model list --org acme',
  'model sync --from table --org acme --remove --presets --yes',
  'model sync --from config --org globex --yes',
  'budget set acme --usd 12.5 --period month',
  'budget set acme --requests 100 --period day --soft 50',
  'budget raise acme --usd 5 --until 2099-01-31',
  'budget clear acme --requests',
  'budget list',
  'org list',
  'org show acme',
  'report',
  'report --org acme',
  'audit',
  'explain --user ada --model openai/gpt-4o',
  'explain --user ada --model nonesuch',
  'explain --user bob@example.org',
  'explain --user pen --model preset',
  'member add ada --org nowhere',
];

/** What differs from run to run, and the objects that each engine needs for itself. */
function comparable(text: string): unknown {
  return JSON.parse(text, (name, value: unknown) => {
    if (name === 'ledger_problem') return undefined;
    if (['objects', 'made', 'schema', 'joined_at', 'seconds', 'path'].includes(name)) return typeof value;
    return value;
  });
}

/** The record of a command that ends well, whatever it notes beside. */
async function ask<T>(words: readonly string[], { environment }: Pick<Place, 'environment'>): Promise<T> {
  const { code, stdout, stderr } = await runCommand([...words, '--json'], { environment });
  expect([code, stderr]).toEqual([0, stderr]);
  return JSON.parse(stdout) as T;
}

async function outcomeOf(words: string, { environment }: Place): Promise<unknown> {
  const { code, stdout, stderr } = await runCommand([...words.split(' '), '--json'], { environment });
  return { words, code, record: stdout === '' ? stderr : comparable(stdout) };
}

describe.each([
  ['0.12.4', undefined],
  ['0.6.18', undefined],
  ['0.12.4', 'chat'],
] as const)('on the schema of %s in %s', (era, schema) => {
  test('each command has the code and the record that it has on a file', async () => {
    const [file, postgres] = [onFile(era), await onPostgres(era, schema)];
    inhabit(file.rows);
    inhabit(postgres.rows);
    const codes: number[] = [];
    for (const words of SCENARIO) {
      const expected = (await outcomeOf(words, file)) as { code: number };
      expect(await outcomeOf(words, postgres)).toEqual(expected);
      codes.push(expected.code);
    }
    expect(codes.filter((code) => code === 0).length).toBeGreaterThan(25);
  }, 180_000);
});

const count = async ({ sql }: PostgresDatabase, from: string): Promise<number> => {
  const { rows } = await sql.query<{ count: string }>(`SELECT count(*) FROM ${from}`);
  return Number(rows[0]?.count);
};

describe.each(ERAS)('the policy of a database of %s', (era) => {
  const backUp = async ({ environment }: Place, folder: string) =>
    await ask<{ path: string; members: number; grants: number; budgets: number }>(['backup', folder, '--policy'], {
      environment,
    });
  const rowsIn = (path: string): unknown =>
    (JSON.parse(gunzipSync(readFileSync(path)).toString()) as { rows: unknown }).rows;
  const folderOfTest = (): string => {
    const folder = mkdtempSync(join(tmpdir(), 'modelgate-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    return folder;
  };

  test('goes from a file to PostgreSQL and back, and is the same', async () => {
    const folder = folderOfTest();
    const [file, postgres] = [onFile(era), await onPostgres(era)];
    inhabit(file.rows);
    for (const words of SCENARIO.slice(0, 25)) await runCommand(words.split(' '), { environment: file.environment });
    const first = await backUp(file, join(folder, '1'));
    expect(first).toMatchObject({ members: 14, budgets: 2 });
    const restored = await ask<object>(['restore', first.path, '--yes'], { environment: postgres.environment });
    expect(restored).toMatchObject({ members: 14, grants: first.grants, budgets: 2, unknown_users: 7 });
    const second = await backUp(postgres, join(folder, '2'));
    expect(rowsIn(second.path)).toEqual(rowsIn(first.path));
    expect(await count(postgres.database, 'modelgate_organization_version')).toBeGreaterThan(1);
    await runCommand(['member', 'remove', 'bob', '--org', 'acme'], { environment: file.environment });
    await ask<object>(['restore', second.path, '--yes'], { environment: file.environment });
    expect(rowsIn((await backUp(file, join(folder, '3'))).path)).toEqual(rowsIn(first.path));
    // what was replaced is kept beside what replaced it
    expect(readdirSync(join(folder, '2'))).toHaveLength(2);
  });

  test('leaves out what no engine but SQLite can hold, so that it can be restored', async () => {
    const folder = folderOfTest();
    const [file, postgres] = [onFile(era), await onPostgres(era)];
    await runCommand(['init'], { environment: file.environment });
    await runCommand(['member', 'add', 'ada', '--org', 'acme'], { environment: file.environment });
    const database = new Database(file.path);
    // a table made by hand, without keys
    database.exec(`DROP VIEW user_available_models; DROP VIEW user_model_access_report; DROP TABLE organization_models;
      CREATE TABLE organization_models (id, organization_id, model_id, is_active, created_at, updated_at);
      INSERT INTO organization_models VALUES ('twice', 'acme', 'gpt', 1, 9e999, -0.5), ('twice', 'acme', 'mistral', 1, 1, 1),
        ('x', '', 'gpt', 1, 1, 1), ('y', 'acme', '', 1, 1, 1), ('z', 'a' || char(0) || 'b', 'gpt', 1, 1, 1),
        ('', 'globex', 'quote''d \\ {gpt}', 1, 1, 1)`);
    database.close();
    const { path, ...counts } = await backUp(file, folder);
    expect(counts).toMatchObject({ grants: 3, meaningless: 3 });
    const restored = await ask<object>(['restore', path, '--yes'], { environment: postgres.environment });
    expect(restored).toMatchObject({ grants: 3 });
    const { rows } = await postgres.database.sql.query(
      'SELECT model_id, created_at FROM organization_models ORDER BY 1',
    );
    expect(rows).toEqual([
      { model_id: 'gpt', created_at: null },
      { model_id: 'mistral', created_at: '1' },
      { model_id: "quote'd \\ {gpt}", created_at: '1' },
    ]);
  });

  test('is refused where it does not fit, and then nothing is changed', async () => {
    const folder = folderOfTest();
    const postgres = await onPostgres(era);
    inhabit(postgres.rows);
    await runCommand(['init', '--org', 'acme'], { environment: postgres.environment });
    const { path } = await backUp(postgres, folder);
    const whole = gunzipSync(readFileSync(path)).toString();
    for (const [wrong, said] of [
      [whole.replace('modelgate policy 1', 'modelgate policy 9'), 'has the format "modelgate policy 9"'],
      [whole.replace('"om_ada_acme","acme"', '"om_ada_acme",7'), 'has in row'],
      [whole.replace('"om_ada_acme","acme","ada"', '"om_ada_acme","acme","bob"'), 'names twice'],
      [whole.replace('"user_id"', '"user"'), 'has other columns'],
    ] as const) {
      expect(wrong).not.toBe(whole);
      const file = join(folder, 'wrong.json.gz');
      writeFileSync(file, gzipSync(wrong));
      const { code, stderr } = await runCommand(['restore', file, '--yes'], { environment: postgres.environment });
      expect([code, stderr]).toEqual([1, expect.stringContaining(said)]);
    }
    expect(await count(postgres.database, 'organization_members')).toBe(6);
  });

  test('is what a migration backs up; whole databases are left to pg_dump, without a password', async () => {
    const folder = folderOfTest();
    const { environment, database, rows } = await onPostgres(era);
    inhabit(rows);
    const words = ['migrate', '--org', 'acme', '--name', 'Acme', '--backup-dir', folder];
    const { backup } = await ask<{ backup: string }>(words, { environment });
    expect(readdirSync(folder)).toEqual([expect.stringMatching(/^policy_\d{8}_\d{6}\.json\.gz$/)]);
    expect(backup).toBe(join(folder, readdirSync(folder)[0] ?? ''));
    const printed = (await runCommand(['backup', folder], { environment })).stdout;
    expect(printed).toContain(`pg_dump -Fc -f ${folder}/openwebui.dump -d `);
    expect(printed).toContain(database.name);
    writeFileSync(join(folder, 'whole.dump'), 'PGDMP');
    const { code, stderr } = await runCommand(['restore', join(folder, 'whole.dump'), '--yes'], { environment });
    expect([code, stderr]).toEqual([2, expect.stringContaining('pg_restore --clean --if-exists --single-transaction')]);
    for (const text of [printed, stderr]) {
      expect(text).not.toContain(PASSWORD);
      expect(text).not.toContain(encodeURIComponent(PASSWORD));
    }
  });
});

test('a lock that lasts is waited for, and who holds it is named', async () => {
  const { environment, database, rows } = await onPostgres('0.12.4');
  inhabit(rows);
  await runCommand(['init', '--org', 'acme'], { environment });
  await database.sql.query(`SET application_name = 'psql of an operator'; BEGIN`);
  await database.sql.query(`UPDATE organization_members SET role = 'x' WHERE user_id = 'ada'`);
  const words = ['member', 'remove', 'ada', '--org', 'acme'];
  const { code, stderr } = await runCommand([...words, '--wait', '1s'], { environment });
  expect([code, stderr]).toEqual([1, expect.stringContaining('psql of an operator as openwebui, idle in transaction')]);
  const waiting = runCommand(words, { environment, onError: () => void database.sql.query('ROLLBACK') });
  expect((await waiting).code).toBe(0);
});

test('maintain refreshes the statistics of our tables, and bench-queries measures beside a floor', async () => {
  const { environment, rows } = await onPostgres('0.12.4');
  inhabit(rows);
  await runCommand(['init', '--org', 'acme'], { environment });
  const { tables } = await ask<{ tables: { name: string; rows: number }[] }>(['maintain'], { environment });
  expect(tables.map(({ name, rows: many }) => [name, many])).toContainEqual(['organization_members', 6]);
  const { stdout } = await runCommand(['bench-queries', '--iterations', '20', '--json'], { environment });
  const { limit_p95_ms: limit, queries } = JSON.parse(stdout) as {
    limit_p95_ms: number;
    queries: { name: string; times_ms: object | null }[];
  };
  expect(limit).toBe(2);
  expect(queries.filter(({ times_ms: times }) => times === null)).toEqual([]);
  expect(queries.map(({ name }) => name)).toEqual(expect.arrayContaining(['select 1', 'user_models_view', 'grants']));
});
