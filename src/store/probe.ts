/**
 * Reads what a request would read, for a few users, organizations and models. A look at the file (`freshness.ts`) sees
 * its header and the counters alone: the pages behind them may be damaged all the same.
 */
import type { Connection } from './database.ts';
import { isBusy } from './database.ts';
import type { Statements } from './reader.ts';

type Reads = Pick<
  Statements,
  'roleOf' | 'membershipsOf' | 'isActive' | 'patternsOf' | 'preset' | 'composites' | 'connectionPrefixes'
>;

/** @returns a function that throws the SqliteError which no request would be spared; of one page that is damaged, some are */
export function prepareProbe(connection: Connection, reads: Reads): () => void {
  const ends = (table: string, column: string): (() => readonly string[]) => {
    const statements = ['min', 'max'].map((end) =>
      connection.prepare<[], string | null>(`SELECT ${end}(${column}) FROM ${table}`).pluck(),
    );
    return () => statements.map((statement) => statement.get() ?? null).filter((end) => end !== null);
  };
  const [users, organizations, models] = [
    ends('"user"', 'id'),
    ends('organization_models', 'organization_id'),
    ends('model', 'id'),
  ];
  return () => {
    reads.composites();
    reads.connectionPrefixes();
    readSome(users(), (user) => [reads.roleOf(user), reads.membershipsOf(user)]);
    readSome(organizations(), (id) => [reads.isActive(id), reads.patternsOf(id)]);
    readSome(models(), (id) => reads.preset(id as Parameters<typeof reads.preset>[0]));
  };
}

/** @throws what all of the reads have thrown, or a lock, for which there is no need to try them all */
function readSome(ids: readonly string[], read: (id: string) => unknown): void {
  let [failures, first] = [0, undefined as unknown];
  for (const id of ids) {
    try {
      read(id);
    } catch (error) {
      if (isBusy(error)) throw error;
      first ??= error;
      failures += 1;
    }
  }
  if (failures > 0 && failures === ids.length) throw first;
}
