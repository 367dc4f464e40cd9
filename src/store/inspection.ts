/**
 * The database as commands look at it: read once, nothing cached beyond the command, nothing created or changed.
 */
import { performance } from 'node:perf_hooks';
import type { UserPrincipal } from '../identity/principal.ts';
import { toUserId } from '../identity/principal.ts';
import { CachedView } from './cached-view.ts';
import { describeFailure, openForReading } from './database.ts';
import { Freshness } from './freshness.ts';
import type { StoreView } from './store-view.ts';

/** Long enough for any writer of the backend: nobody else waits for a command. */
const BUSY_MS = 5_000;

export interface KnownUser {
  readonly principal: UserPrincipal;
  readonly email: string | undefined;
}

export interface Inspection {
  readonly view: StoreView;
  /** @returns every user with this id, or with this e-mail address in any letter case */
  usersBy(idOrEmail: string): readonly KnownUser[];
  close(): void;
}

/** @returns the open database, or a sentence that says why it cannot be read */
export function openInspection(path: string): Inspection | { readonly problem: string } {
  const now = (): number => performance.now();
  const freshness = new Freshness({
    path,
    busyTimeoutMs: BUSY_MS,
    maxStaleMs: BUSY_MS,
    now,
    onChange: () => undefined,
  });
  freshness.look();
  const { problem } = freshness;
  if (problem !== undefined) {
    freshness.close();
    return { problem };
  }
  try {
    const connection = openForReading(path, BUSY_MS);
    const users = connection.prepare<[string, string], { id: string; email: string | null }>(
      'SELECT id, email FROM "user" WHERE id = ? OR lower(email) = lower(?)',
    );
    const view = new CachedView(freshness, { maxStaleMs: BUSY_MS, now, enrolment: undefined });
    return {
      view,
      usersBy: (text) =>
        users.all(text, text).flatMap(({ id, email }) => {
          const principal = view.user(toUserId(id));
          return principal === undefined ? [] : [{ principal, email: email ?? undefined }];
        }),
      close() {
        connection.close();
        freshness.close();
      },
    };
  } catch (error) {
    freshness.close();
    return { problem: describeFailure(error) };
  }
}
