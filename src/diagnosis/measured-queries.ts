/** What `bench-queries` times: the queries of the deployment guide and of the gate, and how each is run on PostgreSQL. */
import type { PostgresAddress } from '../config/postgres-url.ts';
import { type PostgresConnection, connectPostgres } from '../store/postgres/connect.ts';
import { translate } from '../store/postgres/dialect.ts';
import { gateQueries } from '../store/queries.ts';
import type { Schema } from '../store/schema.ts';

const ofGuide = (name: string, asks: 'user' | 'organization', column: string, table: string, condition: string) => ({
  name,
  asks,
  sql: `
            SELECT DISTINCT ${column} 
            FROM ${table} 
            WHERE ${condition}
        `,
});

/** The three queries that the deployment guide's monitor_performance.py times, word for word; `asks` is their parameter. */
export const GUIDE_QUERIES = [
  ofGuide('user_orgs', 'user', 'organization_id', 'organization_members', 'user_id = ? AND is_active = 1'),
  ofGuide('org_models', 'organization', 'model_id', 'organization_models', 'organization_id = ? AND is_active = 1'),
  ofGuide('user_models_view', 'user', 'model_id', 'user_available_models', 'user_id = ?'),
];

export type Query = ReturnType<typeof gateQueries>[number] | (typeof GUIDE_QUERIES)[number];

/** One query. What `prepare` returns makes a turn ready before the clock runs, and returns what is timed. */
export interface Run {
  readonly name: string;
  readonly from: 'guide' | 'gate' | 'decision' | 'floor';
  readonly prepare: () => (turn: number) => () => unknown;
}

/** Long enough for any commit of the backend; the wait is part of what is measured. */
export const BUSY_MS = 5_000;

export const connectToMeasure = (postgres: PostgresAddress) =>
  connectPostgres(postgres, {
    connectTimeoutMs: BUSY_MS,
    queryTimeoutMs: BUSY_MS,
    applicationName: 'modelgate bench-queries',
  });

export const inTurn = <T>(values: readonly T[], turn: number): T | undefined => values[turn % values.length];

/** The same statements, prepared where no pooler is in between, one round trip each; and a round trip alone. */
export function runsOnPostgres(
  connection: PostgresConnection,
  { schema: place = 'public' }: PostgresAddress,
  schema: Schema,
  subjects: Readonly<Record<Query['asks'], readonly string[]>>,
): readonly Run[] {
  const ofQueries = (from: 'guide' | 'gate', queries: readonly Query[]): readonly Run[] =>
    queries.map(({ name, sql, asks }) => {
      const { text } = translate(sql, place);
      const ask = (turn: number) => () =>
        connection.table(text, [inTurn(subjects[asks], turn) ?? ''], `${from}_${name}`);
      return { name, from, prepare: () => ask };
    });
  const floor = {
    name: 'select 1',
    from: 'floor',
    prepare: () => () => () => connection.table('SELECT 1', [], 'floor'),
  } as const;
  return [floor, ...ofQueries('guide', GUIDE_QUERIES), ...ofQueries('gate', gateQueries(schema))];
}
