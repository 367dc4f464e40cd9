/** Calls that a provider can be asked about by id, and how what it says differs from what the ledger has. */
import type { Connection } from '../store/database.ts';
import type { Book } from './book.ts';
import { type CallRow, firstIdOf } from './statements.ts';
import type { Usage } from './usage.ts';

type Named = Pick<CallRow, 'id' | 'state' | 'startedAt' | 'organization' | 'provider' | 'model'>;
export interface GenerationRow extends Named {
  readonly generationId: string;
  readonly input: number | null;
  readonly output: number | null;
  readonly costNano: number | null;
}

/** As the provider has it. */
export interface FoundUsage {
  readonly row: GenerationRow;
  readonly usage: Usage;
}

/** @param since milliseconds UTC @returns calls that began since, and all that were cut and are not resolved @throws SqliteError */
export const readGenerations = (connection: Connection, since: number): readonly GenerationRow[] =>
  connection
    .prepare<[string], GenerationRow>(
      `SELECT id, state, started_at AS startedAt, organization_id AS organization, provider, model, generation_id AS generationId,
         input, output, cost_nano AS costNano FROM usage_request
       WHERE generation_id IS NOT NULL AND ((id >= ? AND state = 'closed') OR state = 'interrupted') ORDER BY id`,
    )
    .all(firstIdOf(since));

/** What the provider does not say does not differ. Of an embedding no answer says the output, which providers call 0. */
export const differs = (row: GenerationRow, { input, output, costNano }: Usage): boolean =>
  (input ?? row.input ?? 0) !== (row.input ?? 0) ||
  (output ?? row.output ?? 0) !== (row.output ?? 0) ||
  (costNano ?? row.costNano) !== row.costNano;

/** @returns what settles calls that were cut, each by itself, and says whether its figures were not known before */
export const resolving = ({ resolve }: Book, found: readonly FoundUsage[]) =>
  found.map(
    ({ row, usage }) =>
      () =>
        resolve(row.id, usage).measured !== undefined,
  );
