/**
 * The rows of `usage_price` and `usage_model`. A price that has ever held stays: it explains what calls have cost. A row
 * without any price ends the ones before it. Every change adds a row, so that the highest id is the version of the whole.
 */
import type { Connection } from '../store/database.ts';
import type { Price } from './price.ts';
import type { PricedModel } from './price-sources.ts';

export interface PriceRow {
  readonly id: number;
  readonly provider: string;
  /** Of the operator's also a prefix that ends in `*`. */
  readonly model: string;
  /** Milliseconds UTC. */
  readonly validFrom: number;
  readonly source: 'operator' | 'provider' | 'import';
  /** Undefined: from here on this source has none. */
  readonly price: Price | undefined;
}

type Amounts = Record<'input' | 'cached' | 'cacheWrite' | 'output' | 'request', number | null>;
type StoredRow = Omit<PriceRow, 'price'> & Readonly<Amounts & { free: number }>;

const ROWS = `SELECT id, provider, model, valid_from AS validFrom, source, input, cached, cache_write AS cacheWrite, output, request, free
  FROM usage_price`;
const NEWEST_FIRST = 'ORDER BY valid_from DESC, id DESC';

function toRow({ id, provider, model, validFrom, source, free, ...amounts }: StoredRow): PriceRow {
  const { input, output, request } = amounts;
  const isNone = free !== 1 && input === null && output === null && request === null;
  const known = Object.fromEntries(Object.entries(amounts).filter(([, amount]) => amount !== null));
  return { id, provider, model, validFrom, source, price: isNone ? undefined : { ...known, free: free === 1 } };
}

/** @returns a reader of the rows that meet a condition, the newest first @throws SqliteError where there is no such table */
export function preparePrices(connection: Connection, condition: string) {
  const rows = connection.prepare<string[], StoredRow>(`${ROWS} WHERE ${condition} ${NEWEST_FIRST}`);
  return (...given: string[]): readonly PriceRow[] => rows.all(...given).map(toRow);
}

/** @returns what writes; the transaction is the caller's */
export function preparePriceWriter(connection: Connection) {
  const newest = preparePrices(connection, 'model = ? AND provider = ? AND source = ?');
  const insert = connection.prepare(
    `INSERT INTO usage_price (provider, model, valid_from, source, input, cached, cache_write, output, request, free)
     VALUES ($provider, $model, $validFrom, $source, $input, $cached, $cacheWrite, $output, $request, $free)`,
  );
  const limits = connection.prepare(
    `INSERT INTO usage_model (provider, model, context, max_output) VALUES ($provider, $model, $context, $maxOutput)
     ON CONFLICT (provider, model) DO UPDATE SET context = coalesce(excluded.context, usage_model.context),
       max_output = coalesce(excluded.max_output, usage_model.max_output)`,
  );
  const add = ({ price, ...row }: Omit<PriceRow, 'id'>): void => {
    const { input = null, cached = null, cacheWrite = null, output = null, request = null } = price ?? {};
    insert.run({ ...row, input, cached, cacheWrite, output, request, free: Number(price?.free === true) });
  };
  return {
    add,
    /** Adds a price where it is another than the newest of this source. A clock that went back cannot hide it. */
    update(row: Omit<PriceRow, 'id'>): 'new' | 'changed' | 'same' {
      const [last] = newest(row.model, row.provider, row.source);
      if (last !== undefined && isSamePrice(last.price, row.price)) return 'same';
      add({ ...row, validFrom: Math.max(row.validFrom, last?.validFrom ?? 0) });
      return last?.price === undefined ? 'new' : 'changed';
    },
    setLimits(provider: string, { model, context, maxOutput }: PricedModel): void {
      if (context === undefined && maxOutput === undefined) return;
      limits.run({ provider, model, context: context ?? null, maxOutput: maxOutput ?? null });
    },
  };
}

export function isSamePrice(one: Price | undefined, other: Price | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  const names = ['input', 'cached', 'cacheWrite', 'output', 'request', 'free'] as const;
  return names.every((name) => one[name] === other[name]);
}
