/** Links all users or all models of the backend to an organization, with the deployment guide's own statements. */
import { hearStop } from '../backend-file/transaction.ts';
import type { Connection } from '../store/database.ts';
import { insertRows, linkModels as linkStored, nowInSeconds } from '../store/initialize.ts';
import { GRANTS, MEMBERS, explaining } from './rows.ts';

/** SQL for the users of an organization, with the parameter `$organization`. */
export const MEMBERS_OF = keysOf(MEMBERS);

/** SQL for the models of an organization, with the parameter `$organization`. */
export const MODELS_OF = keysOf(GRANTS);

function keysOf({ name, key }: typeof MEMBERS | typeof GRANTS): string {
  return `SELECT ${key} FROM ${name} WHERE organization_id = $organization AND ${key} IS NOT NULL`;
}

/** How many users one statement links: one a user takes five times as long, and one for all hears no Ctrl-C. */
const STEP = 2_000;

interface UserLinks {
  readonly organization: string;
  /** A condition on the backend's table `"user"`. */
  readonly which: string;
  /** In the organization; else as the guide's migration has it: `admin` for admins of the backend. */
  readonly role?: string;
  readonly onProgress: (done: number, total: number) => void;
  readonly signal: AbortSignal;
}

/**
 * Inside of a transaction. Users who have a row of the organization keep it as it is.
 * @returns how many were linked, and the users for whose row the guide's id is that of another row
 * @throws OperationFailure where a rule of the table forbids a row, and after Ctrl-C
 */
export async function linkUsers(
  connection: Connection,
  { organization, which, role, onProgress, signal }: UserLinks,
): Promise<{ readonly linked: number; readonly idTaken: readonly string[] }> {
  keepInMemory(connection);
  // in the order of the indexes that they fill, which halves the time
  const missing = connection
    .prepare<[object], string>(`SELECT id FROM "user" WHERE ${which} AND id NOT IN (${MEMBERS_OF}) ORDER BY id`)
    .pluck();
  const values = role === undefined ? {} : { role: '$role' };
  const insert = explaining(MEMBERS.name, () =>
    connection.prepare(
      `${insertRows(connection, MEMBERS.name, values)} FROM json_each($users) CROSS JOIN "user" u ON u.id = value`,
    ),
  );
  const users = missing.all({ organization });
  const seconds = nowInSeconds();
  let linked = 0;
  for (let at = 0; at < users.length; at += STEP) {
    const row = { organization, role, seconds, users: JSON.stringify(users.slice(at, at + STEP)) };
    linked += explaining(MEMBERS.name, () => insert.run(row).changes);
    onProgress(Math.min(at + STEP, users.length), users.length);
    await hearStop(signal);
  }
  return { linked, idTaken: linked === users.length ? [] : missing.all({ organization }) };
}

/** @returns how many were linked; not `NotLinked` ones @throws OperationFailure as `linkUsers` */
export const linkModels = (connection: Connection, organization: string): number =>
  explaining(GRANTS.name, () => linkStored(connection, organization).models);

/**
 * SQLite writes pages that do not fit into its cache before the end of the transaction, and outside of WAL mode no other
 * process can read from then on: with 100,000 users for seconds instead of the moment of the commit. Within a
 * transaction only the number of pages that may wait has an effect, `cache_spill = off` has none.
 */
function keepInMemory(connection: Connection): void {
  connection.pragma(`cache_spill = ${PAGES_IN_MEMORY}`);
  connection.pragma(`cache_size = -${CACHE_KILOBYTES}`);
}

/** More than any file of a backend's users needs. */
const PAGES_IN_MEMORY = 1_000_000;
const CACHE_KILOBYTES = 64 * 1024;
