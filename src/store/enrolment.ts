/**
 * New users join the organization of this installation when they are first seen. A row that exists in any state means
 * that somebody has decided already. A file that cannot be written costs the membership, never the request.
 */
import { describeFailure, openForWriting } from './database.ts';
import type { Organization } from './initialize.ts';
import { nowInSeconds } from './initialize.ts';

export interface EnrolmentOptions {
  readonly path: string;
  readonly organization: Organization;
  readonly busyTimeoutMs: number;
  readonly now: () => number;
  readonly warn: (message: string, fields: Record<string, unknown>) => void;
}

/** After a failed write nobody is enrolled for this long: a read-only file would cost every request an attempt. */
const RETRY_AFTER_MS = 5_000;

/** @returns a function that enrols a user, and tells whether a row was written */
export function createEnrolment(options: EnrolmentOptions): (user: string) => boolean {
  const { path, organization, busyTimeoutMs, now, warn } = options;
  let retryAt = Number.NEGATIVE_INFINITY;
  return (user) => {
    if (now() < retryAt) return false;
    try {
      return enrol(path, busyTimeoutMs, organization.id, user);
    } catch (error) {
      retryAt = now() + RETRY_AFTER_MS;
      warn('a new user could not be enrolled', {
        user,
        organization: organization.id,
        problem: describeFailure(error, path),
      });
      return false;
    }
  };
}

function enrol(path: string, busyTimeoutMs: number, organization: string, user: string): boolean {
  const connection = openForWriting(path, busyTimeoutMs);
  try {
    const written = connection
      .prepare(
        `INSERT OR IGNORE INTO organization_members (id, organization_id, user_id, role, is_active, joined_at)
         SELECT 'om_' || id || '_' || $organization, $organization, id,
           CASE WHEN role = 'admin' THEN 'admin' ELSE 'member' END, 1, $seconds
         FROM "user" WHERE id = $user AND role NOT IN ('pending', 'banned') AND NOT EXISTS (
           SELECT 1 FROM organization_members WHERE organization_id = $organization AND user_id = $user)`,
      )
      .run({ organization, user, seconds: nowInSeconds() });
    return written.changes > 0;
  } finally {
    connection.close();
  }
}
