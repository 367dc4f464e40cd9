/** What the slots of `usage.db` add up to. Money is a bigint: a sum of SQLite has 64 bits, a number of JavaScript 53. */
import type { Span } from '../policy/period.ts';
import type { Connection } from '../store/database.ts';
import { UNSETTLED } from './schema.ts';

/** Tokens; `input` holds `cached`, `output` holds `reasoning`. */
export interface Sums {
  requests: number;
  input: number;
  cached: number;
  output: number;
  reasoning: number;
  costNano: bigint;
  /** Requests without a price: no part of `costNano`. */
  unpriced: number;
}

const KEYS = {
  ...{ organization: 'organization_id', user: 'user_id', model: 'model', kind: 'kind' },
  ...{ provider: 'provider', measured: 'measured' },
} as const;
type SlotKey = keyof typeof KEYS;

const SUMMED = Object.entries({
  ...{ requests: 'requests', input: 'input', cached: 'input_cached' },
  ...{ output: 'output', reasoning: 'output_reasoning', unpriced: 'unpriced' },
})
  .map(([name, column]) => `CAST(sum(s.${column}) AS BIGINT) AS ${name}`)
  .join(', ');

type Summed<K extends SlotKey> = Sums & Readonly<Record<K, string>>;

/** @returns a row for each value of the keys, in the order of the keys @throws SqliteError */
export function sumSlots<K extends SlotKey>(
  connection: Connection,
  organizations: readonly string[],
  { from, to }: Span,
  keys: readonly K[],
): Summed<K>[] {
  const columns = keys.map((key) => `${KEYS[key]} AS "${key}"`).join(', ');
  // organization by organization: the key of the table begins with it
  const order = keys.map((_, at) => at + 1).join(', ');
  const sql = `
    SELECT ${columns}, ${SUMMED}, sum(cost_nano) || '' AS cost
    FROM json_each($organizations) CROSS JOIN usage_slot s ON organization_id = value AND slot >= $from AND slot < $to
    GROUP BY ${order} ORDER BY ${order}`;
  const rows = connection.prepare<[object], Summed<K> & { readonly cost: string }>(sql);
  const values = { organizations: JSON.stringify(organizations), from, to };
  return rows.all(values).map(({ cost, ...row }) => ({ ...row, costNano: BigInt(cost) }));
}

export const noSums = (): Sums => ({
  ...{ requests: 0, input: 0, cached: 0, output: 0, reasoning: 0, costNano: 0n, unpriced: 0 },
});

const COUNTS = ['requests', 'input', 'cached', 'output', 'reasoning', 'unpriced'] as const;

export function add(sums: Sums, more: Sums): void {
  for (const name of COUNTS) sums[name] += more[name];
  sums.costNano += more.costNano;
}

const ORGANIZATIONS = ['usage_slot', 'usage_request', 'usage_closing'].map(
  // from one to the next through the index: DISTINCT would read every row
  (table) => `SELECT id FROM (
    WITH RECURSIVE found(id) AS (SELECT min(organization_id) FROM ${table} UNION ALL
      SELECT (SELECT min(organization_id) FROM ${table} WHERE organization_id > found.id) FROM found WHERE id IS NOT NULL)
    SELECT id FROM found WHERE id IS NOT NULL) AS ids`,
);

/** @returns every organization that a row names, sorted; the empty one stands for calls that no organization pays */
export const organizationsIn = (connection: Connection): readonly string[] =>
  connection
    .prepare<[], string>(`${ORGANIZATIONS.join(' UNION ')} ORDER BY id`)
    .pluck()
    .all();

/** @returns by organization how many calls that began in this time are not in any sum yet */
export function unresolvedIn(connection: Connection, organizations: readonly string[], { from, to }: Span) {
  // of all calls these are few, and SQLite would read all
  const sql = `
    SELECT organization_id, count(*) FROM usage_request INDEXED BY usage_request_unsettled
    WHERE ${UNSETTLED} AND started_at >= $from AND started_at < $to
      AND organization_id IN (SELECT value FROM json_each($organizations))
    GROUP BY 1 ORDER BY 1`;
  const rows = connection.prepare<[object], [organization: string, count: number]>(sql).raw();
  return new Map(rows.all({ organizations: JSON.stringify(organizations), from, to }));
}
