/** The two databases that are copied: the backend's own, and modelgate's ledger. */
import { unchanged } from '../backend-file/failure.ts';
import { requireTables } from '../backend-file/transaction.ts';
import type { Connection } from '../store/database.ts';
import { readSchema } from '../store/schema.ts';

/** What a copy must hold as well. */
export interface Facts {
  readonly tables: readonly string[];
}

export interface Kind<F extends Facts> {
  /** What the names of its backups begin with. */
  readonly prefix: 'webui' | 'usage';
  /** To be called in one transaction. @throws OperationFailure where it is no such database, naming `path` */
  readonly read: (connection: Connection, path: string) => F;
  readonly whenDamaged: string;
}

const BRING_BACK = 'Keep a plain copy of it (cp), then bring back a backup: `modelgate restore FILE`';

export const BACKEND = {
  prefix: 'webui',
  whenDamaged: BRING_BACK,
  read(connection: Connection, path: string) {
    requireTables(path, readSchema(connection), 'backend');
    const { tables, count } = rowsOf(connection);
    const [members, grants] = [count('organization_members'), count('organization_models')];
    return { users: count('user'), models: count('model'), members, grants, tables };
  },
} satisfies Kind<Facts>;

export const LEDGER = {
  prefix: 'usage',
  whenDamaged: `${BRING_BACK} The backend's file alone: --no-ledger`,
  read(connection: Connection, path: string) {
    const { tables, count } = rowsOf(connection);
    if (!tables.includes(`table ${CALLS}`))
      throw unchanged(`${path} is no ledger of modelgate: it has no table ${CALLS}.`);
    return { calls: count(CALLS), sums: count('usage_slot'), tables };
  },
} satisfies Kind<Facts>;

const CALLS = 'usage_request';

function rowsOf(connection: Connection) {
  const named = connection.prepare<[], string>("SELECT type || ' ' || name FROM sqlite_schema ORDER BY 1").pluck();
  const tables = named.all();
  const count = (table: string): number => {
    if (!tables.includes(`table ${table}`)) return 0;
    return connection.prepare<[], number>(`SELECT count(*) FROM "${table}"`).pluck().get() ?? 0;
  };
  return { tables, count };
}
