/** Statements that SQLite runs in one piece, however long they take. */
import type { Connection } from '../../store/database.ts';
import { openForReading, openForWriting } from '../../store/database.ts';

export type Statement = 'integrity' | 'analyze' | 'vacuum';

export interface Order {
  readonly path: string;
  readonly statement: Statement;
  /** How long one attempt waits for a lock. */
  readonly busyMs: number;
}

const OPEN = { integrity: openForReading, analyze: openForWriting, vacuum: openForWriting } as const;

const RUN: Record<Statement, (connection: Connection) => readonly string[]> = {
  integrity: (connection) => connection.prepare<[], string>('PRAGMA integrity_check(20)').pluck().all(),
  analyze: (connection) => nothing(connection.exec('ANALYZE')),
  vacuum: (connection) => nothing(connection.exec('VACUUM')),
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
