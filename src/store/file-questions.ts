/** What goes to and fro between `threaded-file.ts` and its thread, `file-thread.ts`. */
import type { EnrolmentWrite } from './enrolment.ts';
import type { Damage, Source } from './freshness.ts';
import type { InitializeOptions } from './initialize.ts';
import type { PointCall } from './reader.ts';

/** What is known of the file. */
export interface FileStatus {
  readonly generation: number;
  readonly epochs: Source['epochs'];
  readonly problem: string | undefined;
  /** The trouble is only that another process holds the lock. */
  readonly isLocked: boolean;
  /** Objects of ours that the file lacks, as last seen; undefined while no file was seen. */
  readonly missing: readonly string[] | undefined;
  /** What was met last where a page could not be read though the file could be opened. */
  readonly damage: Damage | undefined;
  /** Grows with each read that failed. */
  readonly failures: number;
  /** How often reading failed, by SQLite's code. */
  readonly errors: ReadonlyMap<string, number>;
  /** Grows when another file may stand at the path. */
  readonly file: number;
}

export type FileTask =
  | { readonly kind: 'look'; readonly anew?: boolean }
  | { readonly kind: 'read'; readonly calls: readonly PointCall[] }
  | ({ readonly kind: 'initialize' } & InitializeOptions)
  | ({ readonly kind: 'enrol' } & EnrolmentWrite)
  | { readonly kind: 'space' }
  | { readonly kind: 'close' };

export interface FileQuestion {
  /** Which of the files of this process. */
  readonly file: number;
  readonly path: string;
  readonly busyTimeoutMs: number;
  /** The caller's clock. */
  readonly now: number;
  /** What the caller knows: a thread that takes the place of another one goes on from here. */
  readonly known: Pick<FileStatus, 'generation' | 'epochs'>;
  readonly task: FileTask;
}

/** Nothing of it: the file could not be read, and the status says why. */
export interface Outcome {
  readonly value?: unknown;
  readonly failure?: WriteFailure;
  readonly mistake?: string;
}

export interface FileAnswer {
  readonly outcome: Outcome;
  readonly goodAt: number;
  /** Absent where nothing else is new. */
  readonly status: FileStatus | undefined;
}

/** Why the file could not be written. */
export interface WriteFailure {
  readonly code: string;
  /** SQLite's code, our sentence, SQLite's words. */
  readonly problem: string;
  /** Another process holds the lock. */
  readonly isLocked: boolean;
  /** The backend has not made its own tables yet. */
  readonly isBackendMissing: boolean;
}
