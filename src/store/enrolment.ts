/** New users join the organization of this installation when they are first seen. */
import { randomUUID } from 'node:crypto';
import type { Connection } from './database.ts';
import { openForWriting } from './database.ts';
import { nowInSeconds } from './initialize.ts';
import { intoTable, MEMBER_VALUES, writtenColumns } from './written-columns.ts';

export interface EnrolmentWrite {
  /** The organization's id. */
  readonly organization: string;
  readonly user: string;
  readonly busyTimeoutMs: number;
}

/** Whom the backend itself lets nowhere near a model. */
export const ROLES_NOT_ENROLLED: ReadonlySet<string> = new Set(['pending', 'banned']);

/** @returns whether the user has a membership now @throws SqliteError where the file cannot be written */
export function enrol(path: string, { organization, user, busyTimeoutMs }: EnrolmentWrite): boolean {
  const connection = openForWriting(path, busyTimeoutMs);
  try {
    return insert(connection, organization, user) || hasMembership(connection, user);
  } finally {
    connection.close();
  }
}

/** Whether a user is enrolled is asked where it is written: another gate may have been quicker. */
function insert(connection: Connection, organization: string, user: string): boolean {
  const columns = writtenColumns(connection, 'organization_members');
  const statement = connection.prepare(
    `INSERT ${intoTable('organization_members', columns, { ...MEMBER_VALUES, id: '$id' })}
     FROM "user" u WHERE id = $user AND role NOT IN ('pending', 'banned')
       AND NOT EXISTS (SELECT 1 FROM organization_members WHERE user_id = $user)`,
  );
  const id = freeId(connection, columns.includes('id'), `om_${user}_${organization}`);
  return statement.run({ id, organization, user, seconds: nowInSeconds() }).changes > 0;
}

/** The guide's id, unless the row of another pair has it (`a` of `b_c`, `a_b` of `c`). */
function freeId(connection: Connection, hasId: boolean, guides: string): string {
  const isTaken =
    hasId && connection.prepare('SELECT 1 FROM organization_members WHERE id = ?').get(guides) !== undefined;
  return isTaken ? `${guides}_${randomUUID()}` : guides;
}

const hasMembership = (connection: Connection, user: string): boolean =>
  connection.prepare('SELECT 1 FROM organization_members WHERE user_id = ?').get(user) !== undefined;
