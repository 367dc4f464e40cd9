/** Which models have run with and without a cost, for `doctor`. */
import type { Connection } from '../store/database.ts';
import { firstIdOf } from './statements.ts';

/** What was asked for at a provider. */
export interface CalledModel {
  readonly provider: string;
  readonly wireModel: string;
  readonly calls: number;
  /** Of these, whose cost is not known. */
  readonly unpriced: number;
}

/** @param since milliseconds UTC @returns those with the most calls without a cost first @throws SqliteError */
export const readCallCosts = (connection: Connection, since: number): readonly CalledModel[] =>
  connection
    .prepare<[string], CalledModel>(
      `SELECT provider, wire_model AS wireModel, count(*) AS calls, count(*) - count(cost_nano) AS unpriced FROM usage_request
       WHERE id >= ? AND measured <> 'none' GROUP BY 1, 2 ORDER BY unpriced DESC, provider, wireModel`,
    )
    .all(firstIdOf(since));
