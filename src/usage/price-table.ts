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

type NewRow = Omit<PriceRow, 'id'>;

/** Inside of the caller's transaction. @throws SqliteError */
export function addPrices(connection: Connection, rows: readonly NewRow[]): void {
  const into = 'usage_price (provider, model, valid_from, source, input, cached, cache_write, output, request, free)';
  const values = rows.map(({ provider, model, validFrom, source, price = { free: false } }) => {
    const { input = null, cached = null, cacheWrite = null, output = null, request = null, free } = price;
    return [provider, model, validFrom, source, input, cached, cacheWrite, output, request, Number(free)];
  });
  insertAll(connection, into, values);
}

/**
 * Adds the prices that are others than the newest of their source. A clock that went back cannot hide one.
 * @param known rows of that source, the newest first @returns what has become of each @throws SqliteError
 */
export function updatePrices(connection: Connection, known: readonly PriceRow[], rows: readonly NewRow[]) {
  const last = new Map<string, NewRow>(known.toReversed().map((row) => [keyOf(row), row]));
  const news: NewRow[] = [];
  const outcomes = rows.map((row) => {
    const before = last.get(keyOf(row));
    if (isSamePrice(before?.price, row.price)) return 'same';
    const added = { ...row, validFrom: Math.max(row.validFrom, before?.validFrom ?? 0) };
    last.set(keyOf(row), added);
    news.push(added);
    return before?.price === undefined ? 'new' : 'changed';
  });
  addPrices(connection, news);
  return outcomes;
}

type Limits = Pick<PricedModel, 'model' | 'context' | 'maxOutput'> & { readonly provider: string };

/** What is not known of a model stays as it was. Inside of the caller's transaction. @throws SqliteError */
export function setLimits(connection: Connection, models: readonly Limits[]): void {
  const all = new Map<string, Limits>();
  for (const { context, maxOutput, ...model } of models) {
    const before = all.get(keyOf(model));
    const limits = { context: context ?? before?.context, maxOutput: maxOutput ?? before?.maxOutput };
    if (limits.context !== undefined || limits.maxOutput !== undefined) all.set(keyOf(model), { ...model, ...limits });
  }
  const values = [...all.values()].map(({ provider, model, context = null, maxOutput = null }) => [
    ...[provider, model, context, maxOutput],
  ]);
  insertAll(connection, 'usage_model (provider, model, context, max_output)', values, KEEPING);
}

const KEEPING = `ON CONFLICT (provider, model) DO UPDATE SET context = coalesce(excluded.context, usage_model.context),
  max_output = coalesce(excluded.max_output, usage_model.max_output)`;

/** The same model of the same provider? */
export const keyOf = ({ provider, model }: Pick<PriceRow, 'provider' | 'model'>): string => `${provider}\n${model}`;

/** SQLite takes 32,766 values. */
const MOST_ROWS = 2_048;

/** In few statements: where the database is far away, each takes its time, and all calls wait. Powers of two make few to prepare. */
function insertAll(connection: Connection, into: string, rows: readonly (readonly unknown[])[], rest = ''): void {
  for (let at = 0, size = MOST_ROWS; at < rows.length; at += size) {
    while (at + size > rows.length) size /= 2;
    const some = rows.slice(at, at + size);
    const places = some.map((row) => `(${row.map(() => '?').join(', ')})`);
    connection.prepare(`INSERT INTO ${into} VALUES ${places.join(', ')} ${rest}`).run(...some.flat());
  }
}

export function isSamePrice(one: Price | undefined, other: Price | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  const names = ['input', 'cached', 'cacheWrite', 'output', 'request', 'free'] as const;
  return names.every((name) => one[name] === other[name]);
}
