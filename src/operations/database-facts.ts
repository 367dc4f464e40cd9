/** What a copy must have in common with what it was copied from, and what operators recognise their database by. */
import type { Connection } from '../store/database.ts';
import { readSchema } from '../store/schema-reader.ts';
import { requireTables } from './backend-file.ts';
import { OperationFailure } from './failure.ts';

export interface DatabaseFacts {
  /** Every table, index, view and trigger, as `kind name`. */
  readonly objects: readonly string[];
  readonly users: number;
  readonly models: number;
  /** Rows of `organization_members`; 0 where there is no such table. */
  readonly members: number;
  /** Rows of `organization_models`; 0 where there is no such table. */
  readonly grants: number;
}

/** To be called in one transaction. @throws OperationFailure where it is no database of Open WebUI, naming `path` */
export function readFacts(connection: Connection, path: string): DatabaseFacts {
  requireTables(path, readSchema(connection), 'backend');
  const objects = connection
    .prepare<[], string>("SELECT type || ' ' || name FROM sqlite_schema ORDER BY 1")
    .pluck()
    .all();
  const count = (sql: string): number => connection.prepare<[], number>(sql).pluck().get() ?? 0;
  const has = (table: string): boolean => objects.includes(`table ${table}`);
  return {
    objects,
    users: count('SELECT count(*) FROM "user"'),
    models: count('SELECT count(*) FROM model'),
    members: has('organization_members') ? count('SELECT count(*) FROM organization_members') : 0,
    grants: has('organization_models') ? count('SELECT count(*) FROM organization_models') : 0,
  };
}

/** @throws OperationFailure where the copy is not what was read */
export function requireSame(original: DatabaseFacts, copy: DatabaseFacts, path: string): void {
  const differing = (['users', 'models', 'members', 'grants'] as const).find((what) => original[what] !== copy[what]);
  if (differing === undefined && original.objects.join('\n') === copy.objects.join('\n')) return;
  throw new OperationFailure(
    `The copy of ${path} does not hold what was read (${differing ?? 'tables'} differ), and was thrown away. Nothing was changed. Try again; if it stays so, look into the log of the system for errors of the disk.`,
  );
}
