/**
 * Where the gates of a test have their policy: in the file that a test makes, or, in the project
 * `on-postgres`, in PostgreSQL. There the file is what the sample backend alone reads: each of its rows, and each
 * that is written later, stands in a database of PostgreSQL too.
 */
import Database from 'better-sqlite3';
import { inject, onTestFinished, test } from 'vitest';
import type { Connection } from '../../../src/store/connection.ts';
import { SCHEMA_OBJECTS } from '../../../src/store/schema.ts';
import { openBlocking } from '../../../src/store/postgres/blocking.ts';
import { execute } from '../postgres.ts';
import type { Run, TestDatabase } from './database.ts';
import { WITHOUT_FOREIGN_KEYS, addressOf } from './postgres-policy.ts';

interface PolicyServer {
  /** What makes databases. */
  readonly superuser: string;
  /** Of the role that owns them, and the name of a database to put behind it: to the server itself, and through PgBouncer. */
  readonly direct: string;
  readonly pooled: string;
  readonly owner: string;
  /** By the release and its `organizationTables`; with those of the guide is everything else of modelgate. */
  readonly templates: Readonly<Record<string, string>>;
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
}

/**
 * What a request waits for it, in milliseconds. On a busy machine a thread or a server may take its time, and there is none
 * of a user's last good state to go on with. One thread reads the files of all tests: what it is late with, the next gate
 * would start without.
 */
export const PATIENCE_MS = 10_000;

export async function placePolicy(database: TestDatabase): Promise<PolicyPlace> {
  const server = inject('policyServer');
  if (server !== undefined) return inPostgres(database, server);
  return {
    url: `sqlite:///${database.path}`,
    write: undefined,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

const places = new WeakMap<TestDatabase, Promise<PolicyPlace>>();

/** The one place of a database, until the running test ends. */
export function policyPlaceOf(database: TestDatabase): Promise<PolicyPlace> {
  const known = places.get(database);
  if (known !== undefined) return known;
  const place = placePolicy(database);
  places.set(database, place);
  onTestFinished(async () => (await place)[Symbol.asyncDispose]());
  return place;
}

/** Cases for a column that takes a value of every type, as those of SQLite do: there are none of them on PostgreSQL. */
export const onlyInFile = <Case>(...cases: Case[]): Case[] => (inject('policyServer') === undefined ? cases : []);

/** A test of what only a file does, or holds. On PostgreSQL there is no such test: neither one that passes, nor one that is skipped. */
export function testOfFile(name: string, run: () => unknown): void {
  if (inject('policyServer') === undefined) test(name, async () => void (await run()));
}

interface Emptied {
  readonly url: string;
  readonly connection: Connection;
}

let made = 0;
/** By template: those that a test has left with the tables that they had. Two stay, so that both ways are used in turn. */
const emptied = new Map<string, Emptied[]>();

async function inPostgres(database: TestDatabase, server: PolicyServer): Promise<PolicyPlace> {
  const kind = `${database.era} ${database.organizationTables}`;
  const free = emptied.get(kind) ?? [];
  emptied.set(kind, free);
  const place = (free.length > 1 ? free.shift() : undefined) ?? (await make(server, server.templates[kind] ?? ''));
  const { url, connection } = place;
  let isReusable = database.organizationTables === 'guide';
  const write: Run = (statement, ...values) => {
    if (/^\s*(?:CREATE|ALTER|DROP)\b/i.test(statement)) isReusable = false;
    connection.prepare(statement).run(...values);
  };
  if (copy(database.path, connection) === 'other tables') isReusable = false;
  // no gate makes them in the file
  for (const { kind: what, sql } of SCHEMA_OBJECTS) if (what === 'table') database.sql.exec(sql);
  database.follow(connection, write);
  return {
    ...{ url, write },
    async [Symbol.asyncDispose]() {
      if (isReusable) {
        connection.exec(EMPTY);
        free.push(place);
        return;
      }
      connection.close();
      await execute(server.superuser, `DROP DATABASE ${new URL(url).pathname.slice(1)} WITH (FORCE)`);
    },
  };
}

async function make({ superuser, owner, direct, pooled }: PolicyServer, template: string): Promise<Emptied> {
  const name = `policy_${process.pid}_${++made}`;
  await execute(superuser, `CREATE DATABASE ${name} TEMPLATE ${template} OWNER ${owner}`);
  // every other one is behind PgBouncer
  return {
    url: `${made % 2 === 0 ? pooled : direct}${name}`,
    connection: await openBlocking(addressOf(`${direct}${name}`)),
  };
}

/** The versions last: what is deleted is counted. */
const EMPTY = `DO $$ DECLARE one record; BEGIN
  FOR one IN SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename = 'modelgate_organization_version'
  LOOP EXECUTE format('DELETE FROM public.%I', one.name); END LOOP;
END $$`;

/** What SQLite makes of `INTEGER PRIMARY KEY`. */
const NUMBERED = 'integer PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY (START WITH 1000)';

/** @returns whether a table was made for it */
function copy(path: string, to: Connection): 'other tables' | 'the same' {
  const file = new Database(path, { readonly: true });
  const tables = file.prepare<[], { name: string; sql: string }>(
    "SELECT name, sql FROM sqlite_schema WHERE type = 'table'",
  );
  const made = to.postgres?.ask("SELECT tablename FROM pg_tables WHERE schemaname = 'public'") ?? [];
  let isOther = false;
  const present = new Set(made.map(({ tablename }) => tablename));
  for (const { name, sql } of tables.all()) {
    if (!present.has(name)) isOther = true;
    if (!present.has(name)) to.exec(`${sql.replace('INTEGER PRIMARY KEY', NUMBERED)}; ${WITHOUT_FOREIGN_KEYS}`);
    for (const row of file.prepare<[], Record<string, unknown>>(`SELECT * FROM "${name}"`).all()) {
      const columns = Object.keys(row).map((column) => `"${column}"`);
      const places = columns.map(() => '?');
      to.prepare(`INSERT INTO "${name}" (${columns.join(', ')}) VALUES (${places.join(', ')})`).run(
        ...Object.values(row),
      );
    }
  }
  file.close();
  return isOther ? 'other tables' : 'the same';
}
