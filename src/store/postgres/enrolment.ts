/** Enrols a user without any membership, on a connection of its own: no other request waits for it. */
import { randomUUID } from 'node:crypto';
import type { Warn } from '../file-thread.ts';
import { type Organization, enrolmentInto, nowInSeconds } from '../initialize.ts';
import { translate } from './dialect.ts';
import { PostgresFailure } from './failure.ts';
import type { RenewedLane } from './renewed-lane.ts';
import type { Layout } from './layout.ts';

interface EnrolmentOptions {
  readonly slow: RenewedLane<Layout>;
  readonly organization?: Organization | undefined;
  readonly autoEnroll: boolean;
  readonly warn: Warn;
  readonly now: () => number;
  readonly failed: (write: string) => void;
}

/** After a failed write: a database that cannot be written would cost every request an attempt. */
const AGAIN_MS = 5_000;
const TOLD_MS = 15 * 60_000;
const LOCK_TIMEOUT = "SET LOCAL lock_timeout = '100ms'";

export function createEnrolment({ slow, organization, autoEnroll, warn, now, failed }: EnrolmentOptions) {
  let last: { readonly problem: string; readonly isLocked: boolean; readonly metAt: number } | undefined;
  const isTooSoon = (): boolean => last !== undefined && now() < last.metAt + AGAIN_MS;

  async function write(user: string, { id }: Organization): Promise<void> {
    await slow.alone(async ({ query }, { writable, schema }) => {
      const { text, names } = translate(enrolmentInto(writable('organization_members'), 'INSERT OR IGNORE'), schema);
      const values = new Map<string | undefined, unknown>([
        ['user', user],
        ['organization', id],
        ['seconds', nowInSeconds()],
        ['random', randomUUID()],
      ]);
      await query('BEGIN');
      try {
        await query(LOCK_TIMEOUT);
        await query(
          text,
          names.map((name) => values.get(name)),
        );
        await query('COMMIT');
      } catch (error) {
        await query('ROLLBACK').catch(() => undefined);
        throw error;
      }
    });
  }

  return {
    /** @returns whether it was tried, so that the memberships are to be read again; never rejects for what PostgreSQL says */
    async enrol(user: string): Promise<boolean> {
      if (organization === undefined || !autoEnroll || isTooSoon()) return false;
      try {
        await write(user, organization);
        last = undefined;
        return true;
      } catch (error) {
        if (!(error instanceof PostgresFailure)) throw error;
        last = { problem: error.message, isLocked: error.code === '55P03', metAt: now() };
        failed(`enrolment ${error.code}`);
        warn('a new user could not be enrolled', { user, organization: organization.id, problem: error.message });
        return false;
      }
    },
    /** Why no user can be enrolled. A lock is over when the user comes again. */
    problem(): string | undefined {
      if (last === undefined || last.isLocked || now() - last.metAt >= TOLD_MS) return undefined;
      return `a new user could not be enrolled ${Math.round((now() - last.metAt) / 1_000)} s ago: ${last.problem}`;
    },
  };
}
