/**
 * The database as commands look at it: inside of somebody's transaction, with the very code that answers the gate's
 * requests, and nothing kept beyond it.
 */
import { CachedView } from './cached-view.ts';
import type { Connection } from './database.ts';
import { prepareStatements } from './reader.ts';
import type { StoreView } from './store-view.ts';

/**
 * @returns what the gate would see of the file in this moment; valid as long as the transaction lasts
 * @throws UnreadableSchema where tables are missing or have another shape
 */
export function inspect(connection: Connection): StoreView {
  const statements = prepareStatements(connection);
  const moment = { generation: 1, goodAt: 0, problem: undefined };
  return new CachedView(
    { ...moment, read: (query) => ({ value: query(statements) }) },
    { maxStaleMs: 0, now: () => 0, enrolment: undefined },
  );
}
