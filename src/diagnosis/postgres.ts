/** What `doctor` finds in the backend's PostgreSQL: what it is, what the gate may do there, and what is in its way. */
import type { PostgresAddress } from '../config/postgres-url.ts';
import { type PostgresConnection, connectPostgres } from '../store/postgres/connect.ts';
import { toBackendRelease } from '../store/backend-releases.ts';
import { PostgresFailure, grantLines, identifier } from '../store/postgres/failure.ts';
import { OBSTACLES } from '../store/postgres/tables.ts';
import { type Finding, type Verdict, findingsOf, ok, problem, unknown, warning } from './finding.ts';
import { checkRelease } from './journal.ts';

const CONNECT_MS = 5_000;
const QUERY_MS = 10_000;

/** Of the backend what each decision reads, and what is modelgate's own. */
const READ = ['user', 'auth', 'api_key', 'model', 'config', 'chat', 'organization_members', 'organization_models'];
const OWN = [
  'organization_members',
  'organization_models',
  'organization_budgets',
  'modelgate_organization_version',
  'modelgate_chat_saves',
];

/** How a decision finds its rows. */
const ASKED_BY = { organization_members: 'user_id', organization_models: 'organization_id' };

type Check = (connection: PostgresConnection, address: PostgresAddress) => Promise<Verdict>;

/** @returns what there is to say of it; never rejects */
export async function checkPostgres(address: PostgresAddress): Promise<readonly Finding[]> {
  let connection: PostgresConnection;
  try {
    const options = { connectTimeoutMs: CONNECT_MS, queryTimeoutMs: QUERY_MS, applicationName: 'modelgate doctor' };
    connection = await connectPostgres(address, options);
  } catch (error) {
    if (!(error instanceof PostgresFailure)) throw error;
    return findingsOf({ server: problem(error.message, 'Look at DATABASE_URL, or at the DATABASE_… settings.') });
  }
  try {
    const findings: Finding[] = [];
    for (const [name, check] of Object.entries(CHECKS)) {
      const verdict = await check(connection, address).catch((error: unknown) => {
        if (error instanceof PostgresFailure) return unknown(`Not checked: ${error.message}`);
        throw error;
      });
      findings.push(...findingsOf({ [name]: verdict }));
      // what cannot be used says nothing of itself
      if (name === 'server' && verdict.status === 'problem') break;
    }
    return findings;
  } finally {
    await connection.close();
  }
}

const refusalOf = (act: () => Promise<unknown>): Promise<string | undefined> =>
  act().then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
const schemaOf = ({ schema = 'public' }: PostgresAddress): string => schema;
const named = (names: readonly unknown[]): string => names.join(', ');

const CHECKS: Readonly<Record<string, Check>> = {
  async server({ host, serverVersion, isPooled, query }) {
    // the pooler may pool statements
    const refused = isPooled ? await refusalOf(() => query('BEGIN').then(() => query('COMMIT'))) : undefined;
    if (refused !== undefined) return problem(refused, 'Restart the pooler then, and run it again.');
    const version = `${Math.floor(serverVersion / 10_000)}.${serverVersion % 10_000}`;
    const way = isPooled
      ? 'through a pooler: decisions are as exact, and take up to twice as long'
      : 'without a pooler in between';
    return ok(`${host} is PostgreSQL ${version}, a primary, reached ${way}.`);
  },

  async tables(connection, address) {
    const rows = await connection.query<{ name: string }>(
      `SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(format('%I.%I', $2::text, name)) IS NULL`,
      [['user', ...OWN], schemaOf(address)],
    );
    const missing = rows.map(({ name }) => name);
    const place = `the schema ${schemaOf(address)} of ${address.shown}`;
    if (missing.includes('user'))
      return problem(
        `There is no table "user" in ${place}: it is not the database of Open WebUI.`,
        'Give the gate the DATABASE_URL and DATABASE_SCHEMA of the backend; one that has never run must be started once.',
      );
    const [found] = await connection.query<{ obstacle: string }>(OBSTACLES, [schemaOf(address)]);
    if (found !== undefined)
      return problem(
        `In ${place} ${found.obstacle}: nothing can be decided.`,
        'Make the column text; or show the role all rows: `CREATE POLICY … FOR SELECT TO ROLE USING (true)`',
      );
    if (missing.length === 0) return ok(`All tables of modelgate are in ${place}.`);
    return problem(`Missing in ${place}: ${named(missing)}.`, 'Make them: `modelgate init`');
  },

  async release(connection, address) {
    const at = identifier(schemaOf(address));
    const [row] = await connection.query<{ revision: string }>(
      `SELECT version_num AS revision FROM ${at}.alembic_version`,
    );
    return checkRelease(row === undefined ? { kind: 'unmarked' } : toBackendRelease(row.revision), 'database');
  },

  async rights(connection, address) {
    const [found] = await connection.query<{ unread: string[] | null; create: boolean }>(
      `SELECT has_schema_privilege($2, 'CREATE') AS create,
         (SELECT array_agg(name) FROM unnest($1::text[]) AS name
          WHERE to_regclass(format('%I.%I', $2::text, name)) IS NOT NULL
            AND NOT has_table_privilege(format('%I.%I', $2::text, name), 'SELECT')) AS unread`,
      [READ, schemaOf(address)],
    );
    const unread = found?.unread ?? [];
    const remedy = `As the role of the backend, run: ${grantLines(address).join(' ')}`;
    if (unread.length > 0) return problem(`The role ${address.user} may not read ${named(unread)}.`, remedy);
    if (found?.create === true) return ok(`The role ${address.user} may read what decisions need, and make tables.`);
    return warning(`The role ${address.user} may make no tables: those of a later release will be missing.`, remedy);
  },

  async 'index use'(connection, address) {
    const scanned: string[] = [];
    for (const [table, column] of Object.entries(ASKED_BY)) {
      const { rows } = await connection.table(
        `EXPLAIN SELECT 1 FROM ${identifier(schemaOf(address))}.${table} WHERE ${column} = 'of no user'`,
      );
      // of a few rows an index is no help
      const [size] = await connection.query<{ rows: number }>(
        `SELECT reltuples AS rows FROM pg_class WHERE oid = to_regclass(format('%I.%I', $1::text, $2::text))`,
        [schemaOf(address), table],
      );
      if ((size?.rows ?? 0) > 1_000 && rows.some(([line]) => String(line).includes('Seq Scan'))) scanned.push(table);
    }
    if (scanned.length === 0) return ok('Decisions find memberships and grants by an index.');
    return warning(
      `Each decision reads the whole of ${named(scanned)}.`,
      'Make its indexes, and let it count: `modelgate init` and `modelgate maintain`',
    );
  },

  async statistics(connection, address) {
    const rows = await connection.query<{ name: string }>(
      `SELECT relname AS name FROM pg_stat_user_tables WHERE schemaname = $2 AND relname = ANY ($1)
         AND n_live_tup > 1000 AND coalesce(last_analyze, last_autoanalyze) IS NULL ORDER BY 1`,
      [READ, schemaOf(address)],
    );
    if (rows.length === 0) return ok('The planner has statistics of every table that is large.');
    const names = named(rows.map(({ name }) => name));
    return warning(
      `The planner has no statistics of ${names}, and may scan whole tables.`,
      'Let it count: `modelgate maintain`',
    );
  },

  async 'dead rows'(connection, address) {
    const rows = await connection.query<{ name: string; dead: number }>(
      `SELECT relname AS name, n_dead_tup AS dead FROM pg_stat_user_tables
       WHERE schemaname = $2 AND relname = ANY ($1) AND n_dead_tup > 10000 AND n_dead_tup > n_live_tup ORDER BY 1`,
      [READ, schemaOf(address)],
    );
    if (rows.length === 0) return ok('No table that decisions read is full of dead rows.');
    const names = named(rows.map(({ name, dead }) => `${name} (${dead.toLocaleString('en')})`));
    return warning(
      `More rows are dead than live: ${names}.`,
      'Look why autovacuum does not come: an old transaction may hold it.',
    );
  },

  async sessions(connection) {
    const rows = await connection.query<{ text: string }>(
      `SELECT format('process %s (%s as %s, %s for %s s%s)', pid, coalesce(nullif(application_name, ''), 'no name'), usename, state,
         extract(epoch FROM now() - state_change)::int, CASE WHEN waiting > 0 THEN format(', %s wait for it', waiting) ELSE '' END) AS text
       FROM (SELECT *, (SELECT count(*) FROM pg_stat_activity w WHERE a.pid = ANY (pg_blocking_pids(w.pid))) AS waiting
             FROM pg_stat_activity a WHERE datname = current_database() AND pid <> pg_backend_pid()) AS sessions
       WHERE waiting > 0 OR (state LIKE 'idle in transaction%' AND state_change < now() - interval '60 s') ORDER BY pid`,
    );
    if (rows.length === 0) return ok('No session blocks another, and none is idle in a transaction.');
    const [found, remedy] = [named(rows.map(({ text }) => text)), 'End it there, or with pg_terminate_backend(PID).'];
    return warning(`Sessions that hold others up, or may: ${found}.`, remedy);
  },

  async 'database connections'(connection) {
    const [found] = await connection.query<{ used: number; most: number }>(
      `SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used,
         current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS most`,
    );
    const { used = 0, most = 0 } = found ?? {};
    const room = `${used} of ${most} connections are taken; each gate needs up to 4`;
    if (used < most * 0.8) return ok(`${room}.`);
    return warning(`${room}.`, 'Raise max_connections, shrink the pools of the backend, or put a pooler in between.');
  },

  async standbys(connection) {
    const [found] = await connection.query<{ names: string; standbys: number }>(
      `SELECT current_setting('synchronous_standby_names') AS names, (SELECT count(*) FROM pg_stat_replication) AS standbys`,
    );
    const { names = '', standbys = 0 } = found ?? {};
    if (names !== '') return ok(`Standbys are synchronous (${names}): a failover loses no withdrawal.`);
    if (standbys === 0) return ok('No standby follows it.');
    return warning(
      `${standbys} standby${standbys === 1 ? '' : 's'} may be behind: after a failover, a grant that was just withdrawn may be back.`,
      'Set synchronous_standby_names, or accept it.',
    );
  },
};
