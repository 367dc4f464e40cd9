/** What is known of the backend's file, and what reads of it go through: in the file's own thread, and beside it. */
import { randomInt } from 'node:crypto';
import type { PointRead, PointReads } from './queries.ts';

/** May go from thread to thread. */
export type FileStatus = ReturnType<typeof unread>;

/** What reads of the file go through. */
export interface Source {
  readonly status: Readonly<Pick<FileStatus, 'generation' | 'epochs'>>;
  /** When the file last agreed, in milliseconds of its clock. */
  readonly goodAt: number;
  /** Why the file cannot be read, or undefined while it can. */
  readonly problem: string | undefined;
  /** @returns what the file answers, or undefined where it cannot be read now: then `problem` says why */
  read<N extends PointRead>(name: N, key: string): Found<ReturnType<PointReads[N]>> | undefined;
}

interface Found<T> {
  readonly value: T;
}

/** The status of a file at which nothing has looked yet. */
export function unread() {
  // from a random start: a thread that takes the place of another one never comes to its numbers
  const start = randomInt(2 ** 47);
  return {
    /** Changes whenever the file may hold something else: what was read before must be read again. */
    generation: start,
    /** Change where memberships or grants may be others. */
    epochs: { members: start, models: start },
    problem: 'the database has not been read yet' as string | undefined,
    /** Is the trouble only that another process holds the lock? */
    isLocked: false,
    /** Grows when another file may stand at the path, so that it may have to be initialized. */
    file: 0,
    missing: undefined as readonly string[] | undefined,
    /** How often the file could not be read, looks that were not tried again yet included. */
    failures: 0,
    /** How often reading failed, by SQLite's code: the file is away, locked, foreign or damaged. */
    errors: new Map<string, number>(),
    /** A page that a read has met last, and when, where all that every request reads can be read. */
    damage: undefined as { readonly problem: string; readonly metAt: number } | undefined,
    /** Why the last user without a membership could not be enrolled. */
    enrolment: undefined as
      { readonly problem: string; readonly isLocked: boolean; readonly metAt: number } | undefined,
    /** Why tables, indexes, views and triggers could not be made, and which of them. */
    obstacle: undefined as string | undefined,
    notMade: [] as readonly string[],
    /** How often writing failed, by operation and SQLite's code. */
    writeErrors: {} as Readonly<Record<string, number>>,
  };
}
