/** Statements that SQLite runs in one piece, however long they take. */
import type { Connection } from '../store/database.ts';
import { openForReading, openForWriting } from '../store/database.ts';

export type Statement = 'integrity' | 'analyze' | 'vacuum' | 'checkpoint';

export interface Order {
  readonly path: string;
  readonly statement: Statement;
  /** How long one attempt waits for a lock. */
  readonly busyMs: number;
}

const OPEN = {
  integrity: openForReading,
  analyze: openForWriting,
  vacuum: openForWriting,
  checkpoint: openForWriting,
} as const;

const RUN: Record<Statement, (connection: Connection) => readonly string[]> = {
  integrity: (connection) => connection.prepare<[], string>('PRAGMA integrity_check(20)').pluck().all(),
  analyze: (connection) => nothing(connection.exec('ANALYZE')),
  vacuum: (connection) => nothing(connection.exec('VACUUM')),
  // the pages in the log: the second of three columns (https://sqlite.org/pragma.html#pragma_wal_checkpoint)
  checkpoint: (connection) =>
    connection
      .prepare<[], [number, number, number]>('PRAGMA wal_checkpoint(PASSIVE)')
      .raw()
      .all()
      .map(([, log]) => String(log)),
};

const nothing = (_connection: Connection): readonly string[] => [];

/** @returns rows of one column @throws SqliteError */
export function runStatement({ path, statement, busyMs }: Order): readonly string[] {
  const connection = OPEN[statement](path, busyMs);
  try {
    return RUN[statement](connection);
  } finally {
    connection.close();
  }
}
