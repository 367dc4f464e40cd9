/**
 * The `-wal` and `-shm` files of WAL mode. SQLite makes them for whoever opens the file and removes them with the last
 * connection, but not with one that only reads: it leaves them behind.
 */
import { existsSync } from 'node:fs';
import { openForWriting } from './database.ts';

/**
 * To be called before a connection for reading is opened.
 * @returns a function that removes what was not there before; to be called when that connection is closed
 */
export function noteCompanions(path: string): () => void {
  const log = `${path}-wal`;
  const wasThere = existsSync(log);
  return () => {
    if (wasThere || !existsSync(log)) return;
    try {
      const last = openForWriting(path, 0);
      try {
        last.prepare('SELECT 1 FROM sqlite_schema LIMIT 1').get();
      } finally {
        last.close();
      }
    } catch {
      // not ours to write, or somebody else's by now: the backend's next end removes them
    }
  };
}
