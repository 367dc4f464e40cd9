/**
 * What a killed writer leaves behind: a journal that has to be rolled back before anybody can read. SQLite does so by
 * itself for whoever may write; a connection for reading cannot, and would say that the file needs a recovery.
 */
import { failureCode, isBusy, openForWriting } from '../store/database.ts';

const BUSY_MS = 250;

const RECOVERABLE: ReadonlySet<string> = new Set([
  'SQLITE_READONLY_ROLLBACK',
  'SQLITE_READONLY_RECOVERY',
  'SQLITE_READONLY_CANTINIT',
]);

/** Runs `attempt`, and once more after the recovery that it asked for. @throws what it threw, where it cannot be done */
export async function recovering<T>(path: string, attempt: () => T | Promise<T>): Promise<T> {
  try {
    return await attempt();
  } catch (error) {
    if (!RECOVERABLE.has(failureCode(error))) throw error;
    try {
      recover(path);
    } catch (trouble) {
      throw isBusy(trouble) ? trouble : error;
    }
    return attempt();
  }
}

/** Rolls back what was never committed. @throws SqliteError where this process may not, or somebody holds the lock */
export function recover(path: string): void {
  const connection = openForWriting(path, BUSY_MS);
  try {
    connection.prepare('SELECT count(*) FROM sqlite_schema').get();
  } finally {
    connection.close();
  }
}
