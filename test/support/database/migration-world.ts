import type Database from 'better-sqlite3';
import { type DatabaseOptions, type TestDatabase, createDatabase } from './database.ts';

export const ACME = { id: 'mai_client_acme', name: 'Acme' };

/** That `addMigrationWorld` has filled, as a backend that never met modelgate unless it is told otherwise. */
export function inhabited(options: DatabaseOptions = {}): TestDatabase {
  const database = createDatabase({ organizationTables: 'none', ...options });
  addMigrationWorld(database);
  return database;
}

/** Rows of both tables; written at another second they are the same. */
export const rowsOf = (sql: Database.Database): object[][] =>
  ['organization_members', 'organization_models'].map((table) =>
    sql
      .prepare<[], object>(`SELECT * FROM ${table} ORDER BY id`)
      .all()
      .map((row) => ({
        ...row,
        ...('joined_at' in row ? { joined_at: 'a time' } : { created_at: 'a time', updated_at: 'a time' }),
      })),
  );

export const objectsOf = (sql: Database.Database): unknown[] =>
  sql.prepare("SELECT type || ' ' || name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'").pluck().all();

/** Each kind of user and model that the guide's migration script distinguishes, and values that are not expected. */
export function addMigrationWorld(database: TestDatabase): void {
  database.addUser({ id: 'root', role: 'admin' });
  database.addUser({ id: 'ada' });
  database.addUser({ id: "o'brien\n\u001b[31m", name: '"; DROP TABLE user; --' });
  database.addUser({ id: `${'x'.repeat(10_000)}\u202e/:` });
  database.addUser({ id: 'outlaw', role: 'banned' });
  database.addUser({ id: 'waiting', role: 'pending' });
  database.addModel({ id: 'openai/gpt-4o:free' });
  database.addModel({ id: 'switched-off', active: 0 });
  database.addModel({ id: 'preset', base: 'openai/gpt-4o:free' });
}
