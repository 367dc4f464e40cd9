/**
 * Where the gates of a test have their policy: in the file that a test makes, or, in the project
 * `on-postgres`, in PostgreSQL. There the file is what the sample backend alone reads: each of its rows, and each
 * that is written later, stands in a database of PostgreSQL too.
 */
import Database from 'better-sqlite3';
import { inject } from 'vitest';
import type { Connection } from '../../../src/store/connection.ts';
import { SCHEMA_OBJECTS } from '../../../src/store/schema.ts';
import { openBlocking } from '../../../src/store/postgres/blocking.ts';
import { execute } from '../postgres.ts';
import type { Era, Run, TestDatabase } from './database.ts';
import { addressOf } from './postgres-policy.ts';

interface PolicyServer {
  /** What makes databases. */
  readonly superuser: string;
  /** Of the role that owns them, and the name of a database to put behind it: to the server itself, and through PgBouncer. */
  readonly direct: string;
  readonly pooled: string;
  readonly owner: string;
  /** With the tables of the release, and those of modelgate. */
  readonly templates: Readonly<Record<Era, string>>;
}

declare module 'vitest' {
  interface ProvidedContext {
    readonly policyServer?: PolicyServer;
  }
}

export interface PolicyPlace extends AsyncDisposable {
  /** For `DATABASE_URL`. */
  readonly url: string;
  /** What the sample backend writes into its file goes here too; undefined where the gate reads that file. */
  readonly write: Run | undefined;
  /** What the gate waits for it: a busy machine has none of a user's last good state to go on with. */
  readonly patience: { readonly deadlineMs?: number };
}

export async function placePolicy(database: TestDatabase): Promise<PolicyPlace> {
  const server = inject('policyServer');
  if (server !== undefined) return inPostgres(database, server);
  return {
    url: `sqlite:///${database.path}`,
    write: undefined,
    patience: {},
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

let made = 0;

async function inPostgres(database: TestDatabase, server: PolicyServer): Promise<PolicyPlace> {
  const name = `policy_${process.pid}_${++made}`;
  const template = server.templates[database.era];
  await execute(server.superuser, `CREATE DATABASE ${name} TEMPLATE ${template} OWNER ${server.owner}`);
  const connection = await openBlocking(addressOf(`${server.direct}${name}`));
  // every other gate is behind PgBouncer
  const url = `${made % 2 === 0 ? server.pooled : server.direct}${name}`;
  const write: Run = (statement, ...values) => void connection.prepare(statement).run(...values);
  copy(database.path, connection);
  // no gate makes them in the file
  for (const { kind, sql } of SCHEMA_OBJECTS) if (kind === 'table') database.sql.exec(sql);
  database.follow(write);
  return {
    ...{ url, write, patience: { deadlineMs: 10_000 } },
    async [Symbol.asyncDispose]() {
      connection.close();
      await execute(server.superuser, `DROP DATABASE ${name} WITH (FORCE)`);
    },
  };
}

/** Of the backend's release alone. */
const NOT_COPIED = new Set(['alembic_version']);

function copy(path: string, to: Connection): void {
  const file = new Database(path, { readonly: true });
  const tables = file.prepare<[], { name: string; sql: string }>(
    "SELECT name, sql FROM sqlite_schema WHERE type = 'table'",
  );
  for (const { name, sql } of tables.all()) {
    if (NOT_COPIED.has(name)) continue;
    for (const row of file.prepare<[], Record<string, unknown>>(`SELECT * FROM "${name}"`).all()) {
      if (name === 'client_organizations') to.exec(sql.replace('CREATE TABLE', 'CREATE TABLE IF NOT EXISTS'));
      const columns = Object.keys(row).map((column) => `"${column}"`);
      const places = columns.map(() => '?');
      to.prepare(`INSERT INTO "${name}" (${columns.join(', ')}) VALUES (${places.join(', ')})`).run(
        ...Object.values(row),
      );
    }
  }
  file.close();
}
