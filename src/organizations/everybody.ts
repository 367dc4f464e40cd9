/** Everybody whom the backend lets in becomes a member, with the deployment guide's own statement. */
import { hearStop } from '../backend-file/transaction.ts';
import type { Connection } from '../store/database.ts';
import { nowInSeconds } from '../store/initialize.ts';
import { activeCondition, columnsOf } from '../store/schema-reader.ts';
import { MEMBER_VALUES, intoTable, writtenColumns } from '../store/written-columns.ts';
import { MEMBERS, createRowWriter, explaining } from './rows.ts';

export interface Everybody {
  readonly added: number;
  /** Had a membership already; it stays as it is. */
  readonly kept: number;
  /** Those of `kept` whose membership is switched off. */
  readonly keptOff: number;
  /** Pending or banned in the backend, or without any role. */
  readonly skipped: number;
  /** Of those added, users who had no membership at all before, and whom no gate enrols from now on. */
  readonly firstTime: number;
}

export interface EverybodyOptions {
  readonly organization: string;
  /** On new rows; the guide's is `member`. */
  readonly role: string;
  readonly onProgress: (done: number, total: number) => void;
  readonly signal: AbortSignal;
}

/** How many users one statement adds: one for each of them takes five times as long, and one for all tells nothing. */
const STEP = 2_000;

/** Inside of a transaction. @throws OperationFailure where a rule of the table forbids a row, and after Ctrl-C */
export async function enrolEverybody(connection: Connection, options: EverybodyOptions): Promise<Everybody> {
  const { organization, role, onProgress, signal } = options;
  const { total, ...kept } = countUsers(connection, organization);
  const firstTime = countOutside(connection);
  keepInMemory(connection);
  const missing = findMissing(connection, organization);
  const insert = explaining(MEMBERS.name, () => connection.prepare(statementFor(connection)));
  const seconds = nowInSeconds();
  for (let at = 0; at < missing.length; at += STEP) {
    const users = JSON.stringify(missing.slice(at, at + STEP));
    explaining(MEMBERS.name, () => insert.run({ users, organization, role, seconds }));
    onProgress(Math.min(at + STEP, missing.length), missing.length);
    await hearStop(signal);
  }
  addLeftOver(connection, organization, role);
  return { ...kept, added: missing.length, skipped: total - kept.kept - missing.length, firstTime };
}

/**
 * What does not fit into the cache is written before the end of the transaction, and outside of WAL mode nobody can
 * read from then on: with 100,000 users that was seconds instead of the moment of the commit. Within a transaction only
 * the number of pages that may wait is heeded, and `cache_spill = off` is not.
 */
function keepInMemory(connection: Connection): void {
  connection.pragma(`cache_spill = ${PAGES_IN_MEMORY}`);
  connection.pragma(`cache_size = -${CACHE_KILOBYTES}`);
}

/** More than any file of a backend's users needs. */
const PAGES_IN_MEMORY = 1_000_000;
const CACHE_KILOBYTES = 64 * 1024;

/** The guide's condition; a role that is NULL does not fulfil it. */
const ELIGIBLE = `role NOT IN ('pending', 'banned')`;

const MEMBERS_OF =
  'SELECT user_id FROM organization_members WHERE organization_id = $organization AND user_id IS NOT NULL';

/** @returns ids in the order of the indexes that they will fill, which halves the time */
const findMissing = (connection: Connection, organization: string): readonly string[] =>
  connection
    .prepare<[object], string>(`SELECT id FROM "user" WHERE ${ELIGIBLE} AND id NOT IN (${MEMBERS_OF}) ORDER BY id`)
    .pluck()
    .all({ organization });

/** The guide's, for some of its users, with as many of its columns as the table of this file has. */
function statementFor(connection: Connection): string {
  const columns = writtenColumns(connection, 'organization_members');
  return `INSERT ${intoTable('organization_members', columns, { ...MEMBER_VALUES, role: '$role' })}
    FROM json_each($users) CROSS JOIN "user" u ON u.id = value
    ON CONFLICT DO NOTHING`;
}

const countOutside = (connection: Connection): number =>
  connection
    .prepare<[], number>(
      `SELECT count(*) FROM "user" WHERE ${ELIGIBLE} AND id NOT IN (
         SELECT user_id FROM organization_members WHERE user_id IS NOT NULL)`,
    )
    .pluck()
    .get() ?? 0;

function countUsers(
  connection: Connection,
  organization: string,
): Pick<Everybody, 'kept' | 'keptOff'> & { readonly total: number } {
  const active = activeCondition(columnsOf(connection, MEMBERS.name).has('is_active'));
  const counts = connection
    .prepare<[object], { total: number; kept: number; active: number }>(
      `SELECT count(*) AS total,
         count(CASE WHEN ${ELIGIBLE} AND id IN (${MEMBERS_OF}) THEN 1 END) AS kept,
         count(CASE WHEN ${ELIGIBLE} AND id IN (${MEMBERS_OF} AND ${active}) THEN 1 END) AS active
       FROM "user"`,
    )
    .get({ organization });
  const { total, kept, active: on } = counts ?? { total: 0, kept: 0, active: 0 };
  return { total, kept, keptOff: kept - on };
}

/** Whose id as the guide makes it belongs to somebody else's row; the guide's own statement leaves them out. */
function addLeftOver(connection: Connection, organization: string, role: string): void {
  const rows = createRowWriter(connection, MEMBERS, organization);
  for (const id of findMissing(connection, organization)) rows.add(id, role);
}
