/**
 * New users join the organization of this installation when they are first seen. A row that exists in any organization
 * and in any state means that somebody has decided already. A file that cannot be written costs the membership, never
 * the request.
 */
import { randomUUID } from 'node:crypto';
import type { Connection } from './database.ts';
import { openForWriting } from './database.ts';
import { nowInSeconds } from './initialize.ts';
import type { WriteFailure } from './file-questions.ts';
import type { ThreadedFile } from './threaded-file.ts';
import { intoTable, MEMBER_VALUES, writtenColumns } from './written-columns.ts';

export interface EnrolmentWrite {
  /** The organization's id. */
  readonly organization: string;
  readonly user: string;
  readonly busyTimeoutMs: number;
}

export interface EnrolmentOptions {
  readonly enrol: (user: string) => ReturnType<ThreadedFile['enrol']>;
  /** The organization's id. */
  readonly organization: string;
  readonly now: () => number;
  readonly warn: (message: string, fields: Record<string, unknown>) => void;
  /** Told of each attempt: what it has run into, or undefined. */
  readonly onAttempt: (failure: WriteFailure | undefined) => void;
}

/** After a failed write nobody is enrolled for this long: a read-only file would cost every request an attempt. */
const RETRY_AFTER_MS = 5_000;

/** @returns a function that enrols a user without any membership, and tells whether the user has one now */
export function createEnrolment(options: EnrolmentOptions): (user: string) => boolean {
  const { enrol, organization, now, warn, onAttempt } = options;
  let retryAt = Number.NEGATIVE_INFINITY;
  return (user) => {
    if (now() < retryAt) return false;
    const { isMember, failure } = enrol(user);
    onAttempt(failure);
    if (failure === undefined) return isMember;
    retryAt = now() + RETRY_AFTER_MS;
    warn('a new user could not be enrolled', { user, organization, problem: failure.problem });
    return false;
  };
}

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
